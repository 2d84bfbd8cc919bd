/* Two ends joined in memory: values, references, operations, calls. */
#include "peerpair.h"
#include "unit.h"

START_TEST(values)
{
    peerpair_file("tests/unit/peer_values.lua", NULL);
}
END_TEST

START_TEST(objects)
{
    peerpair_file("tests/unit/peer_objects.lua", NULL);
}
END_TEST

START_TEST(futures)
{
    peerpair_file("tests/unit/peer_futures.lua", NULL);
}
END_TEST

START_TEST(channels)
{
    peerpair_file("tests/unit/peer_channels.lua", NULL);
}
END_TEST

START_TEST(classic)
{
    peerpair_file("tests/unit/peer_classic.lua", NULL);
}
END_TEST

START_TEST(services)
{
    struct peer_options o = {.policy = PEER_SERVICE, .teleport = true};
    peerpair_file("tests/unit/peer_service.lua", &o);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("peer");
    TCase *t = tcase_create("peer");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, values);
    tcase_add_test(t, objects);
    tcase_add_test(t, futures);
    tcase_add_test(t, channels);
    tcase_add_test(t, classic);
    tcase_add_test(t, services);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
