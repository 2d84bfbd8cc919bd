/* Commands: what is run, with what, and what comes back. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

static struct harness *h;
static struct run r;

static void set_up(void)
{
    setenv("INHERITED", "yes", 1);
    h = harness_start(NULL);
    memset(&r, 0, sizeof r);
}

/* Every test ends the same way: all that it ran is gone, and the agent leaves well. */
static void clean_up(void)
{
    harness_free(&r);
    harness_end(h);
}

#define assert_ran()                                                                               \
    ck_assert_msg(r.code == 0 && harness_int(&r, "status", -1) == 0, "code %d, status %lld: %s",   \
                  r.code, (long long)harness_int(&r, "status", -1), r.text)

static struct value *pair(struct value *map, const char *name, const char *text)
{
    ck_assert_int_eq(values_set(map, name, values_bytes(text, strlen(text))), 0);
    return map;
}

/* ---- argv and line ---- */

START_TEST(argv_is_exact)
{
    harness_do(h, &r,
               harness_argv("printf", "%s|", "a b", "", "'\"$x`*\\", "\x80\xff\n", "-n", NULL), 0);
    assert_ran();
    ck_assert_str_eq(harness_text(&r), "a b||'\"$x`*\\|\x80\xff\n|-n|");
    ck_assert_int_eq(r.out_eof, 1);
    ck_assert_int_gt(harness_int(&r, "pid", 0), 1);
}
END_TEST

START_TEST(argv_may_be_long)
{
    size_t n = 100 * 1024;
    char *word = malloc(n + 1);
    struct value *args;

    memset(word, 'w', n);
    word[n] = '\0';
    args = harness_argv("printf", "%s", word, NULL);
    harness_do(h, &r, args, 0);
    assert_ran();
    ck_assert_uint_eq(wire_length(&r.out), n);
    ck_assert_str_eq(harness_text(&r), word);
    free(word);
}
END_TEST

START_TEST(argv_zero_is_the_name)
{
    harness_do(h, &r, harness_argv("sh", "-c", "echo $0", NULL), 0);
    assert_ran();
    ck_assert_str_eq(harness_text(&r), "sh\n");
}
END_TEST

START_TEST(line_is_for_the_shell)
{
    harness_do(h, &r, harness_line("x=1; echo \"$((x + 1))\" | cat; exit 3"), 0);
    ck_assert_int_eq(r.code, 0);
    ck_assert_int_eq(harness_int(&r, "status", -1), 3);
    ck_assert_str_eq(harness_text(&r), "2\n");
}
END_TEST

START_TEST(line_has_a_default_shell)
{
    struct value *args = values_map();

    values_set(args, "line", values_text("exit 5"));
    harness_do(h, &r, args, 0);
    ck_assert_int_eq(harness_int(&r, "status", -1), 5);
}
END_TEST

static struct value *bad_arguments(int which)
{
    struct value *args = harness_argv("true", NULL);
    struct value *argv = values_array();

    switch (which) {
    case 0:
        values_append(argv, values_bytes("a\0b", 3));
        values_set(args, "argv", argv);
        break;
    case 1:
        values_set(args, "argv", argv);
        break;
    case 2:
        values_free(argv);
        values_set(args, "env", pair(values_map(), "A=B", "c"));
        break;
    case 3:
        values_free(argv);
        values_set(args, "unset", values_text("A"));
        break;
    case 4:
        values_free(argv);
        values_set(args, "timeout_ms", values_int(-1));
        break;
    case 5:
        values_free(argv);
        values_set(args, "stderr", values_int(99));
        break;
    case 6:
        values_free(argv);
        values_free(args);
        return values_text("true");
    default:
        values_free(argv);
        values_free(args);
        return values_map();
    }
    return args;
}

START_TEST(bad_arguments_are_refused)
{
    /* A map keeps the first of two keys: argv is set anew in a map without it. */
    struct value *args = bad_arguments(_i);

    if (_i < 2) {
        struct value *only = values_map();
        const struct value *key;
        const struct value *item;
        struct wire_buf copy = {0};
        struct value *argv;
        ck_assert_int_eq(values_pair(args, values_count(args) - 1, &key, &item), 1);
        ck_assert_int_eq(values_encode(item, &copy), 0);
        ck_assert_int_eq(values_decode(wire_data(&copy), wire_length(&copy), &argv), 0);
        wire_free(&copy);
        values_set(only, "argv", argv);
        values_free(args);
        args = only;
    }
    harness_do(h, &r, args, 0);
    ck_assert_int_eq(r.code, -E_ARGUMENT);
    ck_assert_str_ne(r.text, "");
}
END_TEST

/* ---- failures to start ---- */

START_TEST(not_found)
{
    harness_do(h, &r, harness_argv("no-such-command-here", NULL), HARNESS_STDERR);
    ck_assert_int_eq(r.code, -E_NO_COMMAND);
    ck_assert_ptr_nonnull(strstr(r.text, "no-such-command-here"));
    ck_assert_int_eq(r.err_closed, 1);
}
END_TEST

START_TEST(not_found_by_path)
{
    harness_do(h, &r,
               harness_argv(_i == 0   ? "/no/such/command"
                            : _i == 1 ? ""
                                      : "/dev/null/x",
                            NULL),
               0);
    ck_assert_int_eq(r.code, -E_NO_COMMAND);
}
END_TEST

static char *temp_file(const char *text, mode_t mode)
{
    static char path[] = "/tmp/grapnel-test-XXXXXX";
    int fd;

    strcpy(path, "/tmp/grapnel-test-XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    fchmod(fd, mode);
    close(fd);
    return path;
}

START_TEST(not_executable)
{
    static const char *const texts[] = {"#!/bin/sh\n", "no program at all\n",
                                        "#!/no/such/interpreter\n"};
    static const char *const said[] = {"ermission denied", "ormat", "interpreter"};
    char *path = temp_file(texts[_i], _i == 0 ? 0600 : 0700);

    if (harness_valgrind() && _i == 2) {
        unlink(path); /* it gives up a program whose start fails like this */
        return;
    }
    harness_do(h, &r, harness_argv(path, NULL), 0);
    unlink(path);
    ck_assert_int_eq(r.code, -E_NOT_EXECUTABLE);
    ck_assert_msg(strstr(r.text, said[_i]) != NULL, "%s", r.text);
}
END_TEST

START_TEST(path_is_the_childs)
{
    char directory[] = "/tmp/grapnel-path-XXXXXX";
    char path[128];
    char search[256];
    char *file = temp_file("#!/bin/sh\necho found\n", 0700);
    struct value *args = harness_argv("only-there", NULL);

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/only-there", directory);
    ck_assert_int_eq(rename(file, path), 0);
    snprintf(search, sizeof search, "/nowhere::%s:/bin", directory);
    values_set(args, "env", pair(values_map(), "PATH", search));
    harness_do(h, &r, args, 0);
    unlink(path);
    rmdir(directory);
    assert_ran();
    ck_assert_str_eq(harness_text(&r), "found\n");
}
END_TEST

START_TEST(bad_cwd)
{
    struct value *args = harness_argv("true", NULL);

    values_set(args, "cwd", values_text("/no/such/place"));
    harness_do(h, &r, args, 0);
    ck_assert_int_eq(r.code, -E_CWD);
    ck_assert_ptr_nonnull(strstr(r.text, "/no/such/place"));
}
END_TEST

START_TEST(failed_starts_leave_nothing)
{
    int64_t before = harness_usage(h, "descriptors");

    for (int i = 0; i < 50; i++) {
        harness_do(h, &r, harness_argv(i % 2 ? "no-such-command-here" : "/etc", NULL),
                   HARNESS_STDERR);
        ck_assert_int_ne(r.code, 0);
        harness_free(&r);
    }
    ck_assert_int_eq(harness_usage(h, "descriptors"), before);
    ck_assert_int_eq(harness_usage(h, "processes"), 0);
    ck_assert_int_eq(harness_usage(h, "streams"), 0);
}
END_TEST

/* ---- surroundings ---- */

START_TEST(cwd)
{
    struct value *args = harness_argv("pwd", NULL);

    values_set(args, "cwd", values_text("/usr"));
    harness_do(h, &r, args, 0);
    assert_ran();
    ck_assert_str_eq(harness_text(&r), "/usr\n");
}
END_TEST

START_TEST(environment_is_set_and_unset)
{
    struct value *args = harness_line("echo \"$INHERITED|$A|$ODD|${HOME-none}\"");
    struct value *unset = values_array();
    struct value *env = values_map();

    pair(env, "A", "first line\nsecond = 'line'");
    pair(env, "ODD", "\xfe$(x)");
    values_append(unset, values_text("HOME"));
    values_set(args, "env", env);
    values_set(args, "unset", unset);
    harness_do(h, &r, args, 0);
    assert_ran();
    ck_assert_str_eq(harness_text(&r), "yes|first line\nsecond = 'line'|\xfe$(x)|none\n");
}
END_TEST

START_TEST(environment_can_be_clean)
{
    struct value *args = harness_argv("env", NULL);

    values_set(args, "clean", values_bool(1));
    values_set(args, "env", pair(values_map(), "ONLY", "this"));
    harness_do(h, &r, args, 0);
    assert_ran();
    ck_assert_ptr_nonnull(strstr(harness_text(&r), "PATH="));
    ck_assert_ptr_nonnull(strstr(harness_text(&r), "ONLY=this\n"));
    ck_assert_ptr_null(strstr(harness_text(&r), "INHERITED"));
    ck_assert_ptr_null(strstr(harness_text(&r), "GRAPNEL"));
}
END_TEST

/* A session of its own, no signal ignored or blocked, three descriptors and no more. */
START_TEST(process_is_clean)
{
    if (harness_valgrind()) {
        harness_do(h, &r, harness_argv("true", NULL), 0);
        return;
    }
    harness_do(h, &r,
               harness_line("set -- $(cat /proc/$$/stat); test $1 = $5 && test $1 = $6 || exit 1; "
                            "grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\n'; "
                            "ls /proc/self/fd | wc -l; ulimit -n; umask"),
               0);
    assert_ran();
    /* ls has its folder open as the fourth */
    ck_assert_msg(strstr(harness_text(&r), "SigBlk:\t0000000000000000SigIgn:\t0000000000000000"
                                           "4\n") != NULL,
                  "%s", harness_text(&r));
}
END_TEST

START_TEST(umask_and_limits_are_those_found)
{
    struct run other = {0};
    struct harness *second = NULL;
    mode_t before;

    harness_do(h, &r, harness_line("umask; ulimit -n"), 0);
    ck_assert_ptr_nonnull(strstr(harness_text(&r), "0022\n"));
    harness_end(h);
    before = umask(027);
    second = harness_start(NULL);
    umask(before);
    harness_do(second, &other, harness_line("umask; ulimit -n"), 0);
    ck_assert_int_eq(strncmp(harness_text(&other), "0027\n", 5), 0);
    ck_assert_str_eq(harness_text(&other) + 5, harness_text(&r) + 5);
    harness_free(&other);
    h = second;
}
END_TEST

/* ---- streams ---- */

START_TEST(stdin_is_null_unless_asked_for)
{
    harness_do(h, &r, harness_line("cat; readlink /proc/self/fd/0 /proc/self/fd/2"), 0);
    assert_ran();
    ck_assert_str_eq(harness_text(&r), "/dev/null\n/dev/null\n");
}
END_TEST

START_TEST(both_ways)
{
    size_t n = 5 * 1024 * 1024 + 3;
    uint8_t *bytes = malloc(n);

    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)((i * 2654435761u) >> 13);
    }
    r.input = bytes;
    r.input_left = n;
    harness_do(h, &r, harness_argv("cat", NULL), 0);
    assert_ran();
    ck_assert_uint_eq(wire_length(&r.out), n);
    ck_assert_int_eq(memcmp(wire_data(&r.out), bytes, n), 0);
    free(bytes);
}
END_TEST

START_TEST(empty_stdin_ends)
{
    r.input = (const uint8_t *)"";
    r.input_left = 0;
    harness_do(h, &r, harness_argv("wc", "-c", NULL), 0);
    assert_ran();
    ck_assert_str_eq(harness_text(&r), "0\n");
}
END_TEST

/* A command that closes its stdin is no error, and what still comes is taken. */
START_TEST(closed_stdin_is_no_error)
{
    r.endless = 64 * 1024 * 1024;
    harness_do(h, &r, harness_line("exec 0<&-; echo closed; exec sleep 0.3"), 0);
    assert_ran();
    ck_assert_str_eq(harness_text(&r), "closed\n");
}
END_TEST

START_TEST(head_of_endless_stdin)
{
    r.endless = 256 * 1024 * 1024;
    harness_do(h, &r, harness_argv("head", "-c", "3", NULL), 0);
    assert_ran();
    ck_assert_str_eq(harness_text(&r), "xxx");
}
END_TEST

START_TEST(stderr_is_separate)
{
    harness_do(h, &r, harness_line("echo out; echo err >&2; echo out; exit 1"), HARNESS_STDERR);
    ck_assert_int_eq(harness_int(&r, "status", -1), 1);
    ck_assert_str_eq(harness_text(&r), "out\nout\n");
    ck_assert_str_eq(harness_err_text(&r), "err\n");
    ck_assert_int_eq(r.out_eof && r.err_eof && r.err_closed, 1);
    ck_assert_int_eq(r.err_closed_first, 1);
}
END_TEST

START_TEST(stderr_can_be_merged)
{
    struct value *args = harness_line("echo 1; echo 2 >&2; echo 3");

    values_set(args, "merge", values_bool(1));
    harness_do(h, &r, args, 0);
    assert_ran();
    ck_assert_str_eq(harness_text(&r), "1\n2\n3\n");
}
END_TEST

/* The ends of the outputs are told when they happen, not when the command ends. */
static int out_over(void *arg)
{
    const struct run *run = arg;

    return run->out_eof;
}

START_TEST(early_end_of_stdout)
{
    harness_run(h, &r, harness_line("echo x; exec 1>&-; read x <&2; exec sleep 1000"),
                HARNESS_STDERR);
    harness_until(h, out_over, &r);
    ck_assert_int_eq(r.closed, 0);
    ck_assert_int_eq(r.err_eof, 0);
    stream_close(r.s, 0, NULL, NULL);
    harness_finish(&r);
}
END_TEST

/* As with ssh: who holds stdout open keeps the command open. */
START_TEST(background_keeps_stdout)
{
    size_t from = 0;
    long pid;

    harness_run(h, &r, harness_line("(trap '' HUP; exec sleep 1000) & echo $!"), 0);
    pid = harness_number(&r, &from);
    while (harness_usage(h, "processes") != 1) { /* the shell has been reaped */
    }
    ck_assert_int_eq(r.closed, 0);
    ck_assert_int_eq(harness_process_runs((pid_t)pid), 1);
    kill((pid_t)pid, SIGKILL);
    harness_finish(&r);
    assert_ran();
}
END_TEST

/* A background process without our pipes may go on, until the line ends. */
START_TEST(background_without_stdout_goes_on)
{
    size_t from = 0;
    long pid;

    harness_do(h, &r, harness_line("sleep 1000 >/dev/null & echo $!"), 0);
    assert_ran();
    pid = harness_number(&r, &from);
    ck_assert_int_eq(harness_process_runs((pid_t)pid), 1);
    harness_free(&r);
    harness_end(h);
    ck_assert_int_eq(harness_process_runs((pid_t)pid), 0);
    h = harness_start(NULL);
}
END_TEST

/* ---- results ---- */

START_TEST(exit_status)
{
    harness_do(h, &r, harness_line("exit 255"), 0);
    ck_assert_int_eq(r.code, 0);
    ck_assert_int_eq(harness_int(&r, "status", -1), 255);
    ck_assert_ptr_null(values_get(r.result, "signal"));
    ck_assert_ptr_null(values_get(r.result, "reason"));
}
END_TEST

START_TEST(death_by_signal)
{
    harness_do(h, &r, harness_line("ulimit -c 0; kill -SEGV $$"), 0);
    ck_assert_int_eq(r.code, 0);
    ck_assert_str_eq(harness_string(&r, "signal"), "SEGV");
    ck_assert_int_eq(harness_int(&r, "status", -1), -1);
    ck_assert_int_eq(values_as_bool(values_get(r.result, "core"), 2), 0);
}
END_TEST

START_TEST(usage_is_reported)
{
    harness_do(h, &r,
               harness_line("i=0; while test $i -lt 20000; do i=$((i + 1)); done; sleep 0.02"), 0);
    assert_ran();
    ck_assert_int_ge(harness_int(&r, "wall_us", 0), 20000);
    ck_assert_int_ge(harness_int(&r, "user_us", -1) + harness_int(&r, "system_us", -1), 1000);
    ck_assert_int_ge(harness_int(&r, "max_rss", 0), 100 * 1024);
    ck_assert_int_lt(harness_int(&r, "user_us", 0), harness_int(&r, "wall_us", 0) + 1000000);
}
END_TEST

/* ---- signals ---- */

static struct value *stream_and(uint32_t id, const char *name)
{
    struct value *args = values_array();

    values_append(args, values_int(id));
    if (name != NULL) {
        values_append(args, values_text(name));
    }
    return args;
}

static const char *const forwarded[] = {"INT",  "TERM",  "HUP",  "QUIT", "USR1",
                                        "USR2", "WINCH", "KILL", "CONT", "STOP"};

/* Trapped signals are told by the command; the others by what becomes of it. */
START_TEST(signals_are_forwarded)
{
    const char *name = forwarded[_i];
    size_t from = 0;
    char line[256];
    long pid;

    snprintf(line, sizeof line, "%s echo $$; while :; do read x; done",
             _i < 7 ? "trap 'echo got; exit 7' INT TERM HUP QUIT USR1 USR2 WINCH;" : "");
    if (_i < 7) {
        snprintf(line, sizeof line,
                 "trap 'echo got; exit 7' %s; echo $$; sleep 1000 & wait; "
                 "kill %%1; exit 7",
                 name);
    } else {
        snprintf(line, sizeof line, "echo $$; exec sleep 1000");
    }
    harness_run(h, &r, harness_line(line), 0);
    pid = harness_number(&r, &from);
    ck_assert_int_eq(harness_call(h, "signal", stream_and(stream_id(r.s), name), NULL), 0);
    if (_i < 7) {
        harness_output(&r, from + 4);
        ck_assert_str_eq(harness_text(&r) + from, "got\n");
        if (r.s != NULL) {
            stream_close(r.s, 0, NULL, NULL);
        }
    } else if (strcmp(name, "KILL") == 0) {
        harness_finish(&r);
        ck_assert_str_eq(harness_string(&r, "signal"), "KILL");
    } else {
        char path[64];
        char text[256];
        char want = strcmp(name, "STOP") == 0 ? 'T' : 'S';
        snprintf(path, sizeof path, "/proc/%ld/stat", pid);
        do {
            FILE *f = fopen(path, "r");
            ck_assert_ptr_nonnull(f);
            ck_assert_ptr_nonnull(fgets(text, sizeof text, f));
            fclose(f);
        } while (strrchr(text, ')')[2] != want);
        stream_close(r.s, 0, NULL, NULL);
    }
    harness_finish(&r);
    harness_wait_process((pid_t)pid);
}
END_TEST

START_TEST(bad_signals_are_refused)
{
    harness_run(h, &r, harness_argv("sleep", "1000", NULL), 0);
    ck_assert_int_eq(harness_call(h, "signal", stream_and(stream_id(r.s), "NOPE"), NULL),
                     -E_ARGUMENT);
    ck_assert_int_eq(harness_call(h, "signal", stream_and(stream_id(r.s), "SEGV"), NULL),
                     -E_ARGUMENT);
    ck_assert_int_eq(harness_call(h, "signal", stream_and(4711, "TERM"), NULL), -E_ARGUMENT);
    ck_assert_int_eq(harness_call(h, "signal", NULL, NULL), -E_ARGUMENT);
    ck_assert_int_eq(harness_call(h, "signal", stream_and(stream_id(r.s), "TERM"), NULL), 0);
    harness_finish(&r);
    ck_assert_str_eq(harness_string(&r, "signal"), "TERM");
}
END_TEST

/* ---- limits and cancelling ---- */

static void assert_stubborn_gone(const pid_t *pids)
{
    for (int i = 0; i < HARNESS_STUBBORN_COUNT; i++) {
        ck_assert_msg(!harness_process_runs(pids[i]), "process %d lives", i);
    }
}

static struct value *with_grace(struct value *args, int grace_ms)
{
    values_set(args, "grace_ms", values_int(grace_ms));
    return args;
}

START_TEST(time_limit)
{
    struct value *args = with_grace(harness_line(HARNESS_STUBBORN "wait; sleep 1000"), 100);
    pid_t pids[HARNESS_STUBBORN_COUNT];

    values_set(args, "timeout_ms", values_int(300));
    harness_run(h, &r, args, 0);
    harness_stubborn(&r, pids);
    harness_finish(&r);
    assert_stubborn_gone(pids);
    ck_assert_int_eq(r.code, 0);
    ck_assert_str_eq(harness_string(&r, "reason"), "timeout");
    ck_assert_str_eq(harness_string(&r, "signal"), "TERM");
    ck_assert_int_ge(harness_int(&r, "wall_us", 0), 300000);
}
END_TEST

/* The time limit counts also for a background process that holds stdout. */
START_TEST(time_limit_of_background)
{
    struct value *args = with_grace(harness_line("sleep 1000 & exit 4"), 100);

    values_set(args, "timeout_ms", values_int(200));
    harness_do(h, &r, args, 0);
    ck_assert_str_eq(harness_string(&r, "reason"), "timeout");
    ck_assert_int_eq(harness_int(&r, "status", -1), 4);
}
END_TEST

START_TEST(time_limit_not_reached)
{
    struct value *args = harness_argv("true", NULL);

    values_set(args, "timeout_ms", values_int(60000));
    harness_do(h, &r, args, 0);
    assert_ran();
    ck_assert_ptr_null(values_get(r.result, "reason"));
}
END_TEST

START_TEST(output_limit)
{
    struct value *args =
        with_grace(harness_line("trap '' TERM PIPE; echo err >&2; while :; do echo y; done"), 50);

    values_set(args, "output_limit", values_int(100000));
    harness_do(h, &r, args, HARNESS_STDERR);
    ck_assert_str_eq(harness_string(&r, "reason"), "output-limit");
    ck_assert_uint_eq(wire_length(&r.out) + wire_length(&r.err), 100000);
}
END_TEST

START_TEST(output_limit_just_reached)
{
    struct value *args = harness_argv("printf", "%0100d", "0", NULL);

    values_set(args, "output_limit", values_int(100));
    harness_do(h, &r, args, 0);
    assert_ran();
    ck_assert_ptr_null(values_get(r.result, "reason"));
    ck_assert_uint_eq(wire_length(&r.out), 100);
}
END_TEST

START_TEST(cancel_is_confirmed)
{
    pid_t pids[HARNESS_STUBBORN_COUNT];

    harness_run(h, &r, with_grace(harness_line(HARNESS_STUBBORN "wait; sleep 1000"), 100),
                HARNESS_STDERR);
    harness_stubborn(&r, pids);
    ck_assert_int_eq(harness_call(h, "cancel", stream_and(stream_id(r.s), NULL), NULL), 0);
    harness_finish(&r);
    assert_stubborn_gone(pids);
    ck_assert_int_eq(r.code, 0);
    ck_assert_str_eq(harness_string(&r, "reason"), "cancelled");
    ck_assert_int_eq(harness_usage(h, "processes"), 0);
}
END_TEST

/* Its stdin is open, and nothing comes. */
static void run_open(const char *line)
{
    r.input = (const uint8_t *)"";
    r.input_left = 1; /* not sent */
    harness_run(h, &r, harness_line(line), HARNESS_NO_INPUT);
}

/* What is stopped in the middle of its input must not take that for all of it. */
START_TEST(cancel_is_no_end_of_input)
{
    for (int i = 0; i < 10; i++) {
        run_open("echo up; while read -r x; do :; done; echo whole");
        harness_output(&r, 3);
        ck_assert_int_eq(harness_call(h, "cancel", stream_and(stream_id(r.s), NULL), NULL), 0);
        harness_finish(&r);
        ck_assert_str_eq(harness_text(&r), "up\n");
        ck_assert_str_eq(harness_string(&r, "signal"), "TERM");
        harness_free(&r);
        memset(&r, 0, sizeof r);
    }
}
END_TEST

/* Nor may what is there only when others have ended, and so gets its TERM later.  A host that is
 * slow may start it too late: once is enough. */
START_TEST(cancel_is_no_end_of_input_for_the_last)
{
    int seen = 0;

    for (int i = 0; i < 10 && !seen; i++) {
        run_open("trap : TERM; echo up; sleep 9; sleep 9; sleep 9; cat; echo $?");
        harness_output(&r, 3);
        ck_assert_int_eq(harness_call(h, "cancel", stream_and(stream_id(r.s), NULL), NULL), 0);
        harness_finish(&r);
        seen = strcmp(harness_text(&r), "up\n143\n") == 0;
        harness_free(&r);
        memset(&r, 0, sizeof r);
    }
    ck_assert_int_eq(seen, 1);
}
END_TEST

/* What survives TERM does see the end, and may end by itself. */
START_TEST(cancel_ends_the_input_afterwards)
{
    run_open("trap : TERM; echo up; while read -r x || [ $? -gt 128 ]; do :; done; exit 7");
    harness_output(&r, 3);
    ck_assert_int_eq(harness_call(h, "cancel", stream_and(stream_id(r.s), NULL), NULL), 0);
    harness_finish(&r);
    ck_assert_int_eq(harness_int(&r, "status", -1), 7);
}
END_TEST

/* What nobody gives credit for does not hold up the confirmation. */
START_TEST(cancel_without_a_reader)
{
    r.hold = 1;
    harness_run(h, &r, harness_argv("yes", NULL), HARNESS_STDERR);
    harness_output(&r, LINK_WINDOW_FIRST);
    ck_assert_int_eq(harness_call(h, "cancel", stream_and(stream_id(r.s), NULL), NULL), 0);
    harness_finish(&r);
    ck_assert_str_eq(harness_string(&r, "reason"), "cancelled");
    ck_assert_str_eq(harness_string(&r, "signal"), "TERM");
}
END_TEST

START_TEST(cancel_by_close)
{
    pid_t pids[HARNESS_STUBBORN_COUNT];

    harness_run(h, &r, with_grace(harness_line(HARNESS_STUBBORN "wait; sleep 1000"), 100), 0);
    harness_stubborn(&r, pids);
    stream_close(r.s, -E_CANCELLED, NULL, "no more");
    harness_finish(&r);
    for (int i = 0; i < HARNESS_STUBBORN_COUNT; i++) {
        harness_wait_process(pids[i]);
    }
}
END_TEST

/* Cancelling one of two commands does not touch the other. */
START_TEST(cancel_spares_others)
{
    struct run other = {0};
    pid_t pids[HARNESS_STUBBORN_COUNT];

    harness_run(h, &other, harness_line("setsid sleep 1000 & read x; echo alive"), 0);
    harness_run(h, &r, with_grace(harness_line(HARNESS_STUBBORN "wait"), 50), 0);
    harness_stubborn(&r, pids);
    ck_assert_int_eq(harness_call(h, "cancel", stream_and(stream_id(r.s), NULL), NULL), 0);
    harness_finish(&r);
    ck_assert_int_eq(harness_process_runs(pids[0]), 0);
    ck_assert_int_eq(harness_process_runs(pids[1]), 0);
    harness_output(&other, 6);
    ck_assert_int_eq(other.closed, 0);
    stream_close(other.s, 0, NULL, NULL);
    harness_finish(&other);
    harness_free(&other);
}
END_TEST

START_TEST(cancel_of_nothing)
{
    ck_assert_int_eq(harness_call(h, "cancel", stream_and(12, NULL), NULL), -E_ARGUMENT);
    harness_do(h, &r, harness_argv("true", NULL), 0);
}
END_TEST

/* ---- backpressure ---- */

static int nothing_moves(void *arg)
{
    /* The window is full: the agent has stopped reading the command's output. */
    const struct run *run = arg;

    return run->received >= LINK_WINDOW_FIRST;
}

START_TEST(reader_that_never_reads)
{
    int64_t idle = harness_usage(h, "rss");
    int64_t now;

    if (harness_valgrind()) {
        harness_do(h, &r, harness_argv("true", NULL), 0);
        return;
    }
    r.hold = r.count_only = 1;
    harness_run(h, &r, harness_argv("cat", "/dev/zero", NULL), 0);
    harness_until(h, nothing_moves, &r);
    for (int i = 0; i < 100; i++) { /* round trips in which more could come */
        now = harness_usage(h, "rss");
    }
    ck_assert_int_le(now, idle + 8 * 1024 * 1024);
    ck_assert_uint_le(r.received, LINK_WINDOW_MAX);
    stream_close(r.s, 0, NULL, NULL);
    harness_finish(&r);
}
END_TEST

START_TEST(command_that_never_reads)
{
    int64_t idle = harness_usage(h, "rss");
    uint64_t sent;
    int64_t now;

    if (harness_valgrind()) {
        harness_do(h, &r, harness_argv("true", NULL), 0);
        return;
    }
    r.endless = UINT64_C(1) << 40;
    harness_run(h, &r, harness_argv("sleep", "1000", NULL), 0);
    do {
        sent = r.sent;
        now = harness_usage(h, "rss");
    } while (sent != r.sent || sent == 0);
    ck_assert_int_le(now, idle + 8 * 1024 * 1024);
    ck_assert_uint_lt(sent, 8 * 1024 * 1024);
    stream_close(r.s, 0, NULL, NULL);
    harness_finish(&r);
}
END_TEST

/* A stream whose reader sleeps does not hold up another. */
START_TEST(one_slow_stream_stalls_no_other)
{
    struct run quick = {0};

    r.hold = r.count_only = 1;
    harness_run(h, &r, harness_argv("cat", "/dev/zero", NULL), 0);
    harness_until(h, nothing_moves, &r);
    quick.count_only = 1;
    harness_do(h, &quick, harness_argv("head", "-c", "3000000", "/dev/zero", NULL), 0);
    ck_assert_uint_eq(quick.received, 3000000);
    harness_free(&quick);
    stream_close(r.s, 0, NULL, NULL);
    harness_finish(&r);
}
END_TEST

START_TEST(many_at_once)
{
    enum { MANY = 60 };
    static struct run many[MANY];
    int64_t before = harness_usage(h, "descriptors");
    char number[32];

    for (int i = 0; i < MANY; i++) {
        snprintf(number, sizeof number, "%d", i);
        many[i].input = (const uint8_t *)"input";
        many[i].input_left = 5;
        harness_run(h, &many[i],
                    harness_argv("sh", "-c", "cat; echo $0; echo e >&2; exit $0", number, NULL),
                    HARNESS_STDERR);
    }
    for (int i = 0; i < MANY; i++) {
        harness_finish(&many[i]);
        snprintf(number, sizeof number, "input%d\n", i);
        ck_assert_str_eq(harness_text(&many[i]), number);
        ck_assert_str_eq(harness_err_text(&many[i]), "e\n");
        ck_assert_int_eq(harness_int(&many[i], "status", -1), i);
        harness_free(&many[i]);
    }
    ck_assert_int_eq(harness_usage(h, "descriptors"), before);
    ck_assert_int_eq(harness_usage(h, "processes"), 0);
}
END_TEST

/* ---- other services ---- */

START_TEST(facts)
{
    static const char *const texts[] = {"version",  "system", "release", "arch",  "byte_order",
                                        "hostname", "user",   "home",    "shell", "cwd"};
    static const char *const numbers[] = {"word_bits", "pid", "cores", "memory"};
    struct value *map;

    harness_until_greeted(h);
    ck_assert_int_eq(harness_call(h, "facts", NULL, &map), 0);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *text = values_as_string(values_get(map, texts[i]), NULL);
        ck_assert_msg(text != NULL && text[0] != '\0', "%s", texts[i]);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        ck_assert_msg(values_as_int(values_get(map, numbers[i]), 0) > 0, "%s", numbers[i]);
    }
    ck_assert_int_eq(values_as_int(values_get(map, "uid"), -1), geteuid());
    ck_assert_int_eq(values_as_int(values_get(map, "gid"), -1), getegid());
    ck_assert_str_eq(values_as_string(values_get(map, "system"), NULL), "Linux");
    ck_assert_int_eq(values_equal(map, h->facts), 1);
    values_free(map);
}
END_TEST

START_TEST(unknown_services_and_calls)
{
    static const struct stream_handler none = {0};
    struct error e = {0};

    ck_assert_int_eq(harness_call(h, "no-such-call", NULL, NULL), -E_NO_SERVICE);
    ck_assert_ptr_nonnull(stream_open(h->link, "no-such-service", NULL, &none, NULL, &e));
    harness_do(h, &r, harness_argv("true", NULL), 0);
    assert_ran();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("exec");
    TCase *t = tcase_create("exec");

    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, set_up, clean_up);
    tcase_add_test(t, argv_is_exact);
    tcase_add_test(t, argv_may_be_long);
    tcase_add_test(t, argv_zero_is_the_name);
    tcase_add_test(t, line_is_for_the_shell);
    tcase_add_test(t, line_has_a_default_shell);
    tcase_add_loop_test(t, bad_arguments_are_refused, 0, 8);
    tcase_add_test(t, not_found);
    tcase_add_loop_test(t, not_found_by_path, 0, 3);
    tcase_add_loop_test(t, not_executable, 0, 3);
    tcase_add_test(t, path_is_the_childs);
    tcase_add_test(t, bad_cwd);
    tcase_add_test(t, failed_starts_leave_nothing);
    tcase_add_test(t, cwd);
    tcase_add_test(t, environment_is_set_and_unset);
    tcase_add_test(t, environment_can_be_clean);
    tcase_add_test(t, process_is_clean);
    tcase_add_test(t, umask_and_limits_are_those_found);
    tcase_add_test(t, stdin_is_null_unless_asked_for);
    tcase_add_test(t, both_ways);
    tcase_add_test(t, empty_stdin_ends);
    tcase_add_test(t, closed_stdin_is_no_error);
    tcase_add_test(t, head_of_endless_stdin);
    tcase_add_test(t, stderr_is_separate);
    tcase_add_test(t, stderr_can_be_merged);
    tcase_add_test(t, early_end_of_stdout);
    tcase_add_test(t, background_keeps_stdout);
    tcase_add_test(t, background_without_stdout_goes_on);
    tcase_add_test(t, exit_status);
    tcase_add_test(t, death_by_signal);
    tcase_add_test(t, usage_is_reported);
    tcase_add_loop_test(t, signals_are_forwarded, 0, 10);
    tcase_add_test(t, bad_signals_are_refused);
    tcase_add_test(t, time_limit);
    tcase_add_test(t, time_limit_of_background);
    tcase_add_test(t, time_limit_not_reached);
    tcase_add_test(t, output_limit);
    tcase_add_test(t, output_limit_just_reached);
    tcase_add_test(t, cancel_is_confirmed);
    tcase_add_test(t, cancel_is_no_end_of_input);
    tcase_add_test(t, cancel_is_no_end_of_input_for_the_last);
    tcase_add_test(t, cancel_ends_the_input_afterwards);
    tcase_add_test(t, cancel_without_a_reader);
    tcase_add_test(t, cancel_by_close);
    tcase_add_test(t, cancel_spares_others);
    tcase_add_test(t, cancel_of_nothing);
    tcase_add_test(t, reader_that_never_reads);
    tcase_add_test(t, command_that_never_reads);
    tcase_add_test(t, one_slow_stream_stalls_no_other);
    tcase_add_test(t, many_at_once);
    tcase_add_test(t, facts);
    tcase_add_test(t, unknown_services_and_calls);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
