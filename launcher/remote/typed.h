/* Arguments in the format of grapnel_call, as CBOR. */
#ifndef GRAPNEL_LAUNCHER_REMOTE_TYPED_H
#define GRAPNEL_LAUNCHER_REMOTE_TYPED_H

#include <stdarg.h>

#include "launcher/remote/remote.h"

struct typed_list {
    va_list *at;
    int depth; /* containers of the format around the present value; 0 at first */
};

/* The number of values that a format describes; negative: it is none (*e says where). */
int typed_count(const char *format, struct error *e);

/* Appends them to c->scratch; functions among them are issued.  0 or negative with *e filled. */
int typed_put(struct remote *c, const char *format, struct typed_list *list, struct error *e);
/* One value; NULL is nil.  The same result. */
int typed_put_value(struct remote *c, const struct value *v, struct error *e);

/* Heads and scalars, for those who write the rest of a body.  0 or -E_NOMEM. */
int typed_put_head(struct wire_buf *to, unsigned major, uint64_t n);
int typed_put_text(struct wire_buf *to, const char *text, size_t n);
int typed_put_ref(struct wire_buf *to, int64_t id, const char *kind);

#define TYPED_UINT  0u /* major types of CBOR */
#define TYPED_NINT  1u
#define TYPED_BYTES 2u
#define TYPED_TEXT  3u
#define TYPED_ARRAY 4u
#define TYPED_MAP   5u
#define TYPED_TAG   6u

#endif
