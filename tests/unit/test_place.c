/* Where the broker is met: who may be there, and who may not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/broker/place.h"
#include "unit.h"

#define OTHER 12345

static char base[200];

static void setup(void)
{
    snprintf(base, sizeof base, "%s/grapnel-place.XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(base));
}

static void teardown(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    ck_assert_int_eq(system(command), 0);
}

static const char *in_base(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", base, name);
    return path;
}

static struct place *find(int make, int *rc, struct error *e)
{
    const struct place_bases bases = {.runtime = base};
    struct place *p;
    *e = (struct error){0};
    *rc = place_find(&bases, make, &p, e);
    ck_assert((p != NULL) == (*rc == 1));
    ck_assert((e->code < 0) == (*rc < 0));
    return p;
}

static struct place *must_find(void)
{
    struct error e;
    int rc;
    struct place *p = find(1, &rc, &e);
    ck_assert_msg(rc == 1, "%s", e.detail);
    return p;
}

static void refused(int rc, const struct error *e, const char *word)
{
    ck_assert_int_eq(rc, -E_UNSAFE);
    ck_assert_msg(strstr(e->detail, word) != NULL, "%s", e->detail);
}

START_TEST(made_only_when_asked_for)
{
    struct error e;
    struct stat st;
    int rc;
    ck_assert_ptr_null(find(0, &rc, &e));
    ck_assert_int_eq(rc, 0);
    place_free(must_find());
    ck_assert_int_eq(stat(in_base("grapnel"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    struct place *p = find(0, &rc, &e);
    ck_assert_int_eq(rc, 1);
    place_free(p);
}
END_TEST

START_TEST(without_a_runtime_folder)
{
    const struct place_bases none = {.runtime = "", .temporary = base},
                             missing = {.runtime = "/nowhere/at/all", .temporary = base};
    struct error e = {0};
    struct place *p;
    char name[40];
    snprintf(name, sizeof name, "grapnel-%u/broker", (unsigned)geteuid());
    ck_assert_int_eq(place_find(&none, 1, &p, &e), 1);
    ck_assert_str_eq(place_socket(p), in_base(name));
    place_free(p);
    ck_assert_int_eq(place_find(&missing, 0, &p, &e), 1);
    ck_assert_str_eq(place_socket(p), in_base(name));
    place_free(p);
}
END_TEST

START_TEST(meeting)
{
    struct place *a = must_find(), *b = must_find();
    struct error e = {0};
    struct stat st;
    int fd, listener;
    pid_t pid = 0;
    ck_assert_int_eq(place_connect(a, &fd, &e), 0);
    listener = place_listen(a, &e);
    ck_assert_int_ge(listener, 0);
    ck_assert_int_eq(stat(place_socket(a), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    ck_assert(place_is_mine(a) && !place_is_mine(b));
    ck_assert_int_eq(place_connect(b, &fd, &e), 1);
    ck_assert_int_eq(place_check_peer(fd, &pid, &e), 0);
    ck_assert_int_eq(pid, getpid());
    close(fd);
    /* It dies without a word: its socket stays, and is replaced. */
    close(listener);
    ck_assert_int_eq(place_connect(b, &fd, &e), 0);
    listener = place_listen(b, &e);
    ck_assert_int_ge(listener, 0);
    ck_assert(place_is_mine(b) && !place_is_mine(a));
    place_unlisten(a); /* not a's any more */
    ck_assert_int_eq(place_connect(a, &fd, &e), 1);
    close(fd);
    place_unlisten(b);
    ck_assert_int_eq(access(place_socket(b), F_OK), -1);
    close(listener);
    place_free(a);
    place_free(b);
}
END_TEST

START_TEST(a_path_that_is_too_long_for_an_address)
{
    char deep[400];
    struct place *p;
    struct error e = {0};
    int fd, listener;
    snprintf(deep, sizeof deep, "%s/%0150d", base, 0);
    ck_assert_int_eq(mkdir(deep, 0700), 0);
    const struct place_bases bases = {.runtime = deep};
    ck_assert_int_eq(place_find(&bases, 1, &p, &e), 1);
    listener = place_listen(p, &e);
    ck_assert_msg(listener >= 0, "%s", e.detail);
    ck_assert_int_eq(place_connect(p, &fd, &e), 1);
    close(fd);
    close(listener);
    place_free(p);
}
END_TEST

START_TEST(a_folder_open_to_others)
{
    struct error e;
    int rc;
    ck_assert_int_eq(mkdir(in_base("grapnel"), 0700), 0);
    ck_assert_int_eq(chmod(in_base("grapnel"), 0777), 0);
    for (int make = 0; make < 2; make++) {
        find(make, &rc, &e);
        refused(rc, &e, "open to others");
    }
    ck_assert_int_eq(chmod(in_base("grapnel"), 0750), 0);
    find(1, &rc, &e);
    refused(rc, &e, "open to others");
}
END_TEST

START_TEST(a_link_or_a_file_instead)
{
    struct error e;
    int rc;
    ck_assert_int_eq(symlink("/tmp", in_base("grapnel")), 0);
    find(1, &rc, &e);
    refused(rc, &e, "not a folder");
    unlink(in_base("grapnel"));
    rc = open(in_base("grapnel"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(rc);
    find(1, &rc, &e);
    refused(rc, &e, "not a folder");
}
END_TEST

START_TEST(a_parent_that_others_may_change)
{
    struct error e;
    int rc;
    ck_assert_int_eq(chmod(base, 0777), 0);
    find(1, &rc, &e);
    refused(rc, &e, "may be changed by others");
    ck_assert_int_eq(access(in_base("grapnel"), F_OK), -1);
    ck_assert_int_eq(chmod(base, 01777), 0);
    place_free(must_find());
    ck_assert_int_eq(chmod(base, 0777), 0);
    find(0, &rc, &e);
    refused(rc, &e, "may be changed by others");
    ck_assert_int_eq(chmod(base, 0700), 0);
}
END_TEST

START_TEST(of_another_user)
{
    struct error e;
    struct place *p;
    char was_socket[600];
    int rc, fd, listener;
    if (geteuid() != 0)
        return;
    p = must_find();
    snprintf(was_socket, sizeof was_socket, "%s", place_socket(p));
    listener = place_listen(p, &e);
    /* The socket is another's, in a folder that is ours. */
    ck_assert_int_eq(lchown(was_socket, OTHER, OTHER), 0);
    ck_assert_int_eq(place_connect(p, &fd, &e), -E_UNSAFE);
    refused(e.code, &e, "another user");
    ck_assert_int_eq(place_listen(p, &e), -E_UNSAFE);
    close(listener);
    place_free(p);
    /* The folder is, whoever made it. */
    ck_assert_int_eq(chown(in_base("grapnel"), OTHER, OTHER), 0);
    for (int make = 0; make < 2; make++) {
        find(make, &rc, &e);
        refused(rc, &e, "another user");
    }
    /* The runtime folder is: it is somebody else's session, and not looked at. */
    ck_assert_int_eq(chown(base, OTHER, OTHER), 0);
    const struct place_bases bases = {.runtime = base, .temporary = "/nowhere"};
    ck_assert_int_eq(place_find(&bases, 0, &p, &e), 0);
    ck_assert_int_eq(chown(base, 0, 0), 0);
}
END_TEST

START_TEST(no_socket_but_something_else)
{
    struct place *p = must_find();
    struct error e = {0};
    int fd = open(place_socket(p), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    ck_assert_int_eq(place_connect(p, &fd, &e), -E_UNSAFE);
    refused(e.code, &e, "not a socket");
    ck_assert_int_eq(place_listen(p, &e), -E_UNSAFE);
    ck_assert_int_eq(access(place_socket(p), F_OK), 0);
    place_free(p);
}
END_TEST

/* A process of another user listens there, on a socket that it has made to look like ours. */
START_TEST(the_peer_is_another_user)
{
    struct place *p = must_find();
    struct error e = {0};
    int ready[2], fd, status;
    if (geteuid() != 0) {
        place_free(p);
        return;
    }
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        snprintf(a.sun_path, sizeof a.sun_path, "%s", place_socket(p));
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(s, (struct sockaddr *)&a, sizeof a) < 0 || setgid(OTHER) < 0 ||
            setuid(OTHER) < 0 || listen(s, 5) < 0 || write(ready[1], "r", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    char c;
    ck_assert_int_eq((int)read(ready[0], &c, 1), 1);
    ck_assert_int_eq(place_connect(p, &fd, &e), -E_UNSAFE);
    ck_assert_msg(strstr(e.detail, "uid 12345") != NULL, "%s", e.detail);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    close(ready[0]);
    close(ready[1]);
    place_free(p);
}
END_TEST

START_TEST(one_lock)
{
    struct place *a = must_find(), *b = must_find();
    struct error e = {0};
    int first = place_lock(a, 0, &e);
    ck_assert_int_ge(first, 0);
    ck_assert_int_eq(place_lock(b, 20, &e), -E_TIMEOUT);
    close(first);
    first = place_lock(b, 0, &e);
    ck_assert_int_ge(first, 0);
    close(first);
    place_free(a);
    place_free(b);
}
END_TEST

START_TEST(nothing_is_left_open)
{
    int before = dup(0), after;
    struct error e = {0};
    close(before);
    for (int i = 0; i < 100; i++) {
        struct place *p = must_find();
        int fd, listener = place_listen(p, &e), lock = place_lock(p, 0, &e);
        ck_assert_int_eq(place_connect(p, &fd, &e), 1);
        close(fd);
        close(listener);
        close(lock);
        place_unlisten(p);
        ck_assert_int_eq(place_connect(p, &fd, &e), 0);
        place_free(p);
    }
    place_free(NULL);
    after = dup(0);
    close(after);
    ck_assert_int_eq(after, before);
}
END_TEST

static Suite *place_suite(void)
{
    Suite *s = suite_create("place");
    TCase *t = tcase_create("place");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, made_only_when_asked_for);
    tcase_add_test(t, without_a_runtime_folder);
    tcase_add_test(t, meeting);
    tcase_add_test(t, a_path_that_is_too_long_for_an_address);
    tcase_add_test(t, a_folder_open_to_others);
    tcase_add_test(t, a_link_or_a_file_instead);
    tcase_add_test(t, a_parent_that_others_may_change);
    tcase_add_test(t, of_another_user);
    tcase_add_test(t, no_socket_but_something_else);
    tcase_add_test(t, the_peer_is_another_user);
    tcase_add_test(t, one_lock);
    tcase_add_test(t, nothing_is_left_open);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(place_suite)
