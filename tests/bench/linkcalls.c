/* Calls over two links that are joined by memory: what the link itself costs.
 *
 *   linkcalls COUNT BATCH BYTES
 *
 * COUNT calls with bodies of BYTES are made and answered with as many, BATCH of them at a time
 * under way.  Prints how many pairs of CALL and RETURN a second both links together manage. */
#include "proto/link.h"
#include "tests/bench/bench.h"

static const uint8_t *body;
static size_t body_length;
static unsigned long asked, answered, wanted, batch;

static void on_call(void *arg, struct link *l, uint32_t id, const uint8_t *bytes, size_t n)
{
    (void)arg;
    if (link_answer_raw(l, id, bytes, n) != 0)
        bench_die("a call could not be answered");
}

static void on_answer(void *arg, int code, const uint8_t *bytes, size_t n, const char *text)
{
    (void)arg;
    (void)bytes;
    if (code != 0 || n != body_length)
        bench_die("a call failed: %d %s", code, text);
    answered++;
}

/* Hands over all that one link has to say. */
static void move(struct link *from, struct link *to, uint64_t now)
{
    const uint8_t *bytes;
    size_t n;

    while (link_output(from, &bytes, &n, now) == 0 && n > 0) {
        size_t part = n < 65536 ? n : 65536;
        if (link_input(to, bytes, part, now) != 0)
            bench_die("%s", link_error(to)->detail);
        link_sent(from, part, now);
    }
}

int main(int argc, char **argv)
{
    const struct link_handler handler = {.call_raw = on_call};
    struct link_options options = {.opener = 1, .calls_max = LINK_CALLS_MOST};

    if (argc != 4)
        bench_die("usage: linkcalls COUNT BATCH BYTES");
    wanted = (unsigned long)bench_number(argv[1], 1);
    batch = (unsigned long)bench_number(argv[2], 1);
    body_length = (size_t)bench_number(argv[3], 1);
    body = calloc(1, body_length);
    struct link *a = link_new(&options, &handler, NULL, 1);
    options.opener = 0;
    struct link *b = link_new(&options, &handler, NULL, 1);
    if (!body || !a || !b)
        bench_die("out of memory");
    uint64_t start = bench_now_ns(), now = 1;
    while (answered < wanted) {
        while (asked < wanted && asked - answered < batch) {
            if (link_call_raw(a, body, body_length, on_answer, NULL, NULL) != 0)
                bench_die("a call could not be made");
            asked++;
        }
        now += 1000;
        move(a, b, now);
        move(b, a, now);
    }
    double seconds = (double)(bench_now_ns() - start) / 1e9;
    printf("%.0f pairs a second, %.0f ns each\n", (double)wanted / seconds,
           seconds * 1e9 / (double)wanted);
    link_free(a);
    link_free(b);
    free((void *)(uintptr_t)body);
    return 0;
}
