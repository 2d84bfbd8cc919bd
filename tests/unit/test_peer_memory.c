/* Memory that runs out at any point, at either end: an error for someone, and nobody dies. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "peerpair.h"
#include "unit.h"

struct scarce {
    lua_Alloc real;
    void *real_arg;
    long left; /* allocations that still succeed; negative: all */
    int failed;
};

static void *scarce_alloc(void *arg, void *at, size_t old, size_t size)
{
    struct scarce *s = arg;
    bool more = size > 0 && (at == NULL || size > old);
    if (more && s->left >= 0) {
        if (s->left == 0) {
            s->failed++;
            return NULL;
        }
        s->left--;
    }
    return s->real(s->real_arg, at, old, size);
}

static void install(struct scarce *s, lua_State *L)
{
    s->real = lua_getallocf(L, &s->real_arg);
    s->left = -1;
    s->failed = 0;
    lua_setallocf(L, scarce_alloc, s);
}

/* Runs near's function `work` with the k-th allocation of one end and all after it failing, for
 * ever larger k until none fails.  Then everything must still work. */
static void starve(bool near)
{
    for (long k = 0; k < 3000; k++) {
        struct peerpair *p = peerpair_new(NULL);
        struct scarce s;
        lua_State *L = p->near.L;
        peerpair_do(p,
                    "conn.execute([[function f(t, g) local r = {} for i = 1, 20 do r[i] = {} end\n"
                    "  g(r) return {}, r, t .. 'x' end function fail() error({1, {2}}) end]])\n"
                    "local f, fail = conn.eval('f'), conn.eval('fail')\n"
                    "function work() f('abc', function(r) for _, v in pairs(r) do end end)\n"
                    "  pcall(fail) grapnel.async(f)('d', type):wait()\n"
                    "  local ch = conn.remote_exec('channel:send(channel:receive())')\n"
                    "  ch:send({1, {x = type}}) ch:receive(1) end");
        install(&s, near ? L : p->far.L);
        lua_getglobal(L, "work");
        s.left = k;
        lua_pcall(L, 0, 0, 0);
        s.left = -1;
        lua_settop(L, 0);
        peerpair_do(p, "assert(conn.eval('1 + 1') == 2) settle() assert(conn.eval('2') == 2)\n"
                       "work()");
        int failed = s.failed;
        lua_setallocf(near ? L : p->far.L, s.real, s.real_arg);
        peerpair_free(p);
        if (failed == 0) {
            ck_assert_int_gt(k, 50);
            return;
        }
    }
    ck_abort_msg("it always fails");
}

START_TEST(far_end)
{
    starve(false);
}
END_TEST

START_TEST(near_end)
{
    starve(true);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("peer_memory");
    TCase *t = tcase_create("memory");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, far_end);
    tcase_add_test(t, near_end);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
