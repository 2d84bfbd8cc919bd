/* proto/deflate.h for the worker, whose link never deflates: the launcher's link to the agent does
 * that for all that goes through it.  Without zlib the worker is a tenth smaller. */
#include "proto/deflate.h"

#include "proto/errors.h"

struct deflate_out *deflate_out_new(void)
{
    return NULL;
}

void deflate_out_free(struct deflate_out *d)
{
    (void)d;
}

struct deflate_in *deflate_in_new(void)
{
    return NULL;
}

void deflate_in_free(struct deflate_in *d)
{
    (void)d;
}

int deflate_out_pack(struct deflate_out *d, const uint8_t *in, size_t n, uint8_t *out, size_t room,
                     size_t *used)
{
    (void)d;
    (void)in;
    (void)n;
    (void)out;
    (void)room;
    (void)used;
    return -E_UNSUPPORTED;
}

int deflate_in_unpack(struct deflate_in *d, const uint8_t *in, size_t n, uint8_t *out, size_t room,
                      size_t *used)
{
    (void)d;
    (void)in;
    (void)n;
    (void)out;
    (void)room;
    (void)used;
    return -E_UNSUPPORTED;
}

void deflate_policy_init(struct deflate_policy *p)
{
    *p = (struct deflate_policy){0};
}

void deflate_policy_mark(struct deflate_policy *p, const struct deflate_mark *m)
{
    (void)p;
    (void)m;
}

void deflate_policy_packed(struct deflate_policy *p, size_t in, size_t out)
{
    (void)p;
    (void)in;
    (void)out;
}

int deflate_policy_wants(struct deflate_policy *p, size_t n)
{
    (void)p;
    (void)n;
    return 0;
}
