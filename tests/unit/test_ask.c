/* Asking: on a terminal of our own making, through askpass programs, from the password file. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <termios.h>
#include <time.h>

#include "launcher/ssh/ask.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

static void clean_environment(void)
{
    static const char *const names[] = {"SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY",
                                        "WAYLAND_DISPLAY", "GRAPNEL_PASSWORD_FILE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        (void)unsetenv(names[i]);
    sshtools_enter();
}

/* A child that asks on a terminal which is its controlling one; we sit at the other end. */
struct person {
    int master;
    pid_t child;
    int result; /* pipe: what the child has to say of its answer */
    char shown[4096];
    size_t n;
};

static void report(int fd, const struct ask_options *options)
{
    char *secret, text[5000];
    size_t n;
    struct error e = {0};
    int rc = ask_secret(options, &secret, &n, &e);
    int length = snprintf(text, sizeof text, "%d:%zu:%s", rc, n, rc == 0 ? secret : e.detail);
    ask_free(secret);
    if (write(fd, text, (size_t)length) < 0)
        _exit(9);
}

static void sit_down(struct person *p, struct ask_options options)
{
    int ends[2];
    char name[64];
    *p = (struct person){.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
    ck_assert_int_ge(p->master, 0);
    ck_assert_int_eq(grantpt(p->master) | unlockpt(p->master), 0);
    ck_assert_int_eq(ptsname_r(p->master, name, sizeof name), 0);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    p->result = ends[0];
    p->child = fork();
    ck_assert_int_ge(p->child, 0);
    if (p->child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* if the test fails */
        close(p->master);                       /* it is the other end alone that holds the line */
        close(ends[0]);
        (void)setsid();
        (void)signal(SIGINT, SIG_DFL); /* Check has handlers */
        (void)signal(SIGTERM, SIG_DFL);
        int tty = open(name, O_RDWR);
        if (tty < 0 || ioctl(tty, TIOCSCTTY, 0) != 0)
            _exit(8);
        report(ends[1], &options);
        _exit(0);
    }
    close(ends[1]);
}

/* Reads what the terminal shows until `text` is there. */
static void wait_for(struct person *p, const char *text)
{
    p->shown[p->n] = '\0';
    while (strstr(p->shown, text) == NULL) {
        struct pollfd fd = {.fd = p->master, .events = POLLIN};
        ck_assert_msg(poll(&fd, 1, 10000) == 1, "shown so far: %s", p->shown);
        ssize_t n = read(p->master, p->shown + p->n, sizeof p->shown - 1 - p->n);
        ck_assert_msg(n > 0, "shown so far: %s", p->shown);
        p->n += (size_t)n;
        p->shown[p->n] = '\0';
    }
}

static void type(struct person *p, const char *text)
{
    ck_assert_int_eq(write(p->master, text, strlen(text)), (ssize_t)strlen(text));
}

static tcflag_t local_flags(const struct person *p)
{
    struct termios t;
    ck_assert_int_eq(tcgetattr(p->master, &t), 0);
    return t.c_lflag;
}

/* The child's report, and its end; *status may be NULL. */
static const char *hear(struct person *p, int *status)
{
    static char text[5000];
    size_t n = 0;
    ssize_t got;
    while ((got = read(p->result, text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    int own;
    ck_assert_int_eq(waitpid(p->child, status == NULL ? &own : status, 0), p->child);
    close(p->result);
    return text;
}

static void leave(struct person *p)
{
    close(p->master);
}

static const struct ask_options password = {
    .kind = ASK_PASSWORD, .prompt = "Secret, \x1b[31mplease: ", .cancel_fd = -1};

START_TEST(test_tty)
{
    struct person p;
    sit_down(&p, password);
    wait_for(&p, "please: ");
    ck_assert_ptr_nonnull(strstr(p.shown, "Secret, \\x1b[31mplease: "));
    ck_assert_uint_eq(local_flags(&p) & (ECHO | ICANON | ISIG), 0);
    type(&p, "pxy\x7f\x7f\xc3\xbc\xe2\x82\xac\x7f\bass word\n");
    ck_assert_str_eq(hear(&p, NULL), "0:9:pass word");
    ck_assert_uint_eq(local_flags(&p) & (ECHO | ICANON | ISIG), ECHO | ICANON | ISIG);
    ck_assert_ptr_null(strstr(p.shown, "ass"));
    leave(&p);

    sit_down(&p, password);
    wait_for(&p, "please: ");
    type(&p, "wrong\x15right\r"); /* ^U; the Enter key sends CR */
    ck_assert_str_eq(hear(&p, NULL), "0:5:right");
    leave(&p);

    sit_down(&p, password);
    wait_for(&p, "please: ");
    type(&p, "\n");
    ck_assert_str_eq(hear(&p, NULL), "0:0:");
    leave(&p);

    sit_down(&p, password);
    wait_for(&p, "please: ");
    type(&p, "\x04"); /* ^D */
    ck_assert_ptr_nonnull(strstr(hear(&p, NULL), "-7:"));
    ck_assert_uint_eq(local_flags(&p) & ECHO, ECHO);
    leave(&p);
}
END_TEST

START_TEST(test_tty_echo)
{
    struct person p;
    struct ask_options options = {
        .kind = ASK_PROMPT, .prompt = "Code\r\nhere: ", .echo = 1, .cancel_fd = -1};
    sit_down(&p, options);
    wait_for(&p, "here: ");
    ck_assert_uint_eq(local_flags(&p) & ECHO, ECHO);
    type(&p, "12x\x7f"
             "34\n");
    wait_for(&p, "34\r\n");
    ck_assert_str_eq(hear(&p, NULL), "0:4:1234");
    leave(&p);
    options.kind = ASK_CONFIRM;
    options.echo = 0;
    sit_down(&p, options);
    wait_for(&p, "here: ");
    type(&p, "yes\n");
    ck_assert_str_eq(hear(&p, NULL), "0:3:yes");
    leave(&p);
}
END_TEST

START_TEST(test_tty_too_long)
{
    struct person p;
    char line[ASK_SECRET_MAX + 8];
    for (size_t n = ASK_SECRET_MAX - 1; n <= ASK_SECRET_MAX; n++) {
        memset(line, 'a', sizeof line);
        line[n] = '\0';
        sit_down(&p, password);
        wait_for(&p, "please: ");
        for (size_t at = 0; at < n; at += 512) {
            char piece[513];
            (void)snprintf(piece, sizeof piece, "%.512s", line + at);
            type(&p, piece);
        }
        type(&p, "\n");
        const char *said = hear(&p, NULL);
        ck_assert_int_eq(strncmp(said, n < ASK_SECRET_MAX ? "0:4095:aaa" : "-10:0:",
                                 n < ASK_SECRET_MAX ? 10 : 6),
                         0);
        ck_assert_uint_eq(local_flags(&p) & ECHO, ECHO);
        leave(&p);
    }
}
END_TEST

/* Waits until the echo is as it was. */
static void wait_for_echo(const struct person *p)
{
    for (int i = 0; i < 500 && (local_flags(p) & ECHO) == 0; i++)
        (void)poll(NULL, 0, 10);
    ck_assert_uint_eq(local_flags(p) & (ECHO | ICANON | ISIG), ECHO | ICANON | ISIG);
}

START_TEST(test_signals)
{
    static const struct {
        const char *key; /* typed, or else... */
        int number;      /* ... this is sent */
    } all[] = {
        {"\x03", SIGINT}, {"\x1c", SIGQUIT}, {NULL, SIGTERM}, {NULL, SIGHUP}, {NULL, SIGKILL}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct person p;
        int status;
        sit_down(&p, password);
        wait_for(&p, "please: ");
        type(&p, "half of it");
        ck_assert_uint_eq(local_flags(&p) & ECHO, 0);
        if (all[i].key != NULL)
            type(&p, all[i].key);
        else
            ck_assert_int_eq(kill(p.child, all[i].number), 0);
        ck_assert_str_eq(hear(&p, &status), "");
        ck_assert(WIFSIGNALED(status));
        ck_assert_int_eq(WTERMSIG(status), all[i].number);
        wait_for_echo(&p);
        ck_assert_ptr_null(strstr(p.shown, "half"));
        leave(&p);
    }
}
END_TEST

START_TEST(test_stop_and_go_on)
{
    struct person p;
    int status;
    sit_down(&p, password);
    wait_for(&p, "please: ");
    type(&p, "lost\x1a"); /* ^Z: a session leader's own group is not orphaned to its child only */
    /* The group is orphaned (no shell above it), so the kernel drops the stop: it asks again. */
    wait_for(&p, "please: \r\nSecret");
    for (int i = 0; i < 500 && (local_flags(&p) & ECHO) != 0; i++)
        (void)poll(NULL, 0, 10);
    p.n = 0;
    type(&p, "kept\n");
    ck_assert_str_eq(hear(&p, &status), "0:4:kept");
    leave(&p);
}
END_TEST

START_TEST(test_cancel_and_timeout)
{
    struct person p;
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    struct ask_options options = password;
    options.cancel_fd = ends[0];
    sit_down(&p, options);
    wait_for(&p, "please: ");
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(strncmp(hear(&p, NULL), "-7:", 3), 0);
    ck_assert_uint_eq(local_flags(&p) & ECHO, ECHO);
    leave(&p);
    options.cancel_fd = -1;
    options.timeout_ms = 50;
    sit_down(&p, options);
    wait_for(&p, "please: ");
    ck_assert_int_eq(strncmp(hear(&p, NULL), "-6:", 3), 0);
    ck_assert_uint_eq(local_flags(&p) & ECHO, ECHO);
    leave(&p);
    close(ends[0]);
    close(ends[1]);
    /* The line hangs up. */
    sit_down(&p, password);
    wait_for(&p, "please: ");
    leave(&p);
    int status;
    const char *said = hear(&p, &status);
    ck_assert(strncmp(said, "-7:", 3) == 0 || WIFSIGNALED(status)); /* SIGHUP comes with it */
}
END_TEST

/* Asks without a terminal. */
static int ask(struct ask_options options, char *out, size_t size)
{
    char *secret;
    size_t n, files = sshtools_open_files();
    struct error e = {0};
    options.tty = "/nonexistent";
    int rc = ask_secret(&options, &secret, &n, &e);
    (void)snprintf(out, size, "%s", rc == 0 ? secret : e.detail);
    if (rc == 0)
        ck_assert_uint_eq(n, strlen(secret));
    else
        ck_assert_ptr_null(secret);
    ask_free(secret);
    ck_assert_uint_eq(sshtools_open_files(), files);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    return rc;
}

static void script(const char *text)
{
    sshtools_write_n(sshtools_path("askpass"), text, strlen(text), 0700);
    ck_assert_int_eq(setenv("SSH_ASKPASS", sshtools_path("askpass"), 1), 0);
}

START_TEST(test_askpass)
{
    char out[5000];
    struct ask_options options = password;
    ck_assert_int_eq(ask(options, out, sizeof out), -E_UNSUPPORTED);
    script("#!/bin/sh\nprintf '%s|%s\\nsecond\\n' \"$1\" \"$SSH_ASKPASS_PROMPT\"\n");
    ck_assert_int_eq(ask(options, out, sizeof out), -E_UNSUPPORTED); /* no display */
    ck_assert_int_eq(ask_possible(&(struct ask_options){.tty = "/nonexistent"}), 0);
    ck_assert_int_eq(setenv("DISPLAY", ":0", 1), 0);
    ck_assert_int_eq(ask(options, out, sizeof out), 0);
    ck_assert_str_eq(out, "Secret, \\x1b[31mplease: |");
    ck_assert_int_eq(ask_possible(&(struct ask_options){.tty = "/nonexistent"}), 1);
    options.kind = ASK_CONFIRM;
    ck_assert_int_eq(ask(options, out, sizeof out), 0);
    ck_assert_str_eq(out, "Secret, \\x1b[31mplease: |confirm");
    ck_assert_int_eq(setenv("SSH_ASKPASS_REQUIRE", "never", 1), 0);
    ck_assert_int_eq(ask(options, out, sizeof out), -E_UNSUPPORTED);
    ck_assert_int_eq(unsetenv("DISPLAY"), 0);
    ck_assert_int_eq(setenv("SSH_ASKPASS_REQUIRE", "prefer", 1), 0);
    ck_assert_int_eq(ask(options, out, sizeof out), -E_UNSUPPORTED);
    ck_assert_int_eq(setenv("SSH_ASKPASS_REQUIRE", "force", 1), 0);
    ck_assert_int_eq(ask(options, out, sizeof out), 0);
    options.batch = 1;
    ck_assert_int_eq(ask(options, out, sizeof out), -E_UNSUPPORTED);
    ck_assert_int_eq(ask_possible(&options), 0);
    options.batch = 0;

    static const struct {
        const char *text;
        int code;
        const char *out;
    } all[] = {
        {"#!/bin/sh\necho no\nexit 1\n", -E_CANCELLED, NULL},
        {"#!/bin/sh\nkill -9 $$\n", -E_CANCELLED, NULL},
        {"#!/bin/sh\nprintf 'no end'\n", 0, "no end"},
        {"#!/bin/sh\nprintf 'with cr\\r\\n'\n", 0, "with cr"},
        {"#!/bin/sh\nexit 0\n", 0, ""},
        {"#!/bin/sh\nexec head -c 5000 /dev/zero\n", -E_LIMIT, NULL},
        {"#!/bin/sh\nexec sleep 1000\n", -E_TIMEOUT, NULL},
        {"#!/bin/sh\necho early\nexec sleep 1000\n", -E_TIMEOUT, NULL},
        {"#!/bin/sh\nyes\n", -E_TIMEOUT, NULL},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        script(all[i].text);
        options.timeout_ms = all[i].code == -E_TIMEOUT ? 100 : 20000;
        ck_assert_msg(ask(options, out, sizeof out) == all[i].code, "%s: %s", all[i].text, out);
        if (all[i].out != NULL)
            ck_assert_str_eq(out, all[i].out);
    }
    ck_assert_int_eq(setenv("SSH_ASKPASS", "/nonexistent/askpass", 1), 0);
    options.timeout_ms = 20000;
    ck_assert_int_eq(ask(options, out, sizeof out), -E_SYSTEM);
}
END_TEST

/* "prefer" goes before a terminal that is there, if there is a display. */
START_TEST(test_askpass_before_tty)
{
    struct person p;
    script("#!/bin/sh\necho by program\n");
    ck_assert_int_eq(setenv("SSH_ASKPASS_REQUIRE", "prefer", 1), 0);
    ck_assert_int_eq(setenv("WAYLAND_DISPLAY", "x", 1), 0);
    sit_down(&p, password);
    ck_assert_str_eq(hear(&p, NULL), "0:10:by program");
    leave(&p);
    ck_assert_int_eq(unsetenv("SSH_ASKPASS_REQUIRE"), 0);
    sit_down(&p, password);
    wait_for(&p, "please: ");
    type(&p, "by hand\n");
    ck_assert_str_eq(hear(&p, NULL), "0:7:by hand");
    leave(&p);
}
END_TEST

START_TEST(test_password_file)
{
    char out[5000];
    struct ask_options options = password;
    options.batch = 1;
    const char *path = sshtools_path("password");
    ck_assert_int_eq(setenv("GRAPNEL_PASSWORD_FILE", path, 1), 0);
    ck_assert_int_eq(ask(options, out, sizeof out), -E_CONFIG);
    ck_assert_int_eq(ask_possible(&options), 1);
    sshtools_write(path, "first line\r\nsecond\n");
    ck_assert_int_eq(ask(options, out, sizeof out), 0);
    ck_assert_str_eq(out, "first line");
    sshtools_write(path, " no end ");
    ck_assert_int_eq(ask(options, out, sizeof out), 0);
    ck_assert_str_eq(out, " no end ");
    static const mode_t modes[] = {0640, 0604, 0602, 0610};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        ck_assert_int_eq(chmod(path, modes[i]), 0);
        ck_assert_int_eq(ask(options, out, sizeof out), -E_CONFIG);
        ck_assert_ptr_nonnull(strstr(out, path));
    }
    ck_assert_int_eq(chmod(path, 0600), 0);
    sshtools_write(path, "\nx");
    ck_assert_int_eq(ask(options, out, sizeof out), -E_CONFIG);
    options.kind = ASK_PASSPHRASE; /* it is for passwords only */
    ck_assert_int_eq(ask(options, out, sizeof out), -E_UNSUPPORTED);
    ck_assert_int_eq(setenv("GRAPNEL_PASSWORD_FILE", "", 1), 0);
    options.kind = ASK_PASSWORD;
    ck_assert_int_eq(ask(options, out, sizeof out), -E_UNSUPPORTED);
    ck_assert_int_eq(setenv("GRAPNEL_PASSWORD_FILE", sshtools_folder, 1), 0);
    ck_assert_int_eq(ask(options, out, sizeof out), -E_CONFIG);
    ask_free(NULL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ask");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, clean_environment, sshtools_leave);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, test_tty);
    tcase_add_test(t, test_tty_echo);
    tcase_add_test(t, test_tty_too_long);
    tcase_add_test(t, test_signals);
    tcase_add_test(t, test_stop_and_go_on);
    tcase_add_test(t, test_cancel_and_timeout);
    tcase_add_test(t, test_askpass);
    tcase_add_test(t, test_askpass_before_tty);
    tcase_add_test(t, test_password_file);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
