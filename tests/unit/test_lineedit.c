/* Lines from a terminal, with a person at its other end, and from a pipe. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "launcher/lua/lineedit.h"
#include "proto/errors.h"
#include "tests/unit/unit.h"

static char home[64];
static FILE *terminal;
static pid_t person;

static void setup(void)
{
    strcpy(home, "/tmp/lineedit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(home));
    setenv("HOME", home, 1);
    setenv("TERM", "xterm", 1);
    setenv("LC_ALL", "C.UTF-8", 1);
}

static void teardown(void)
{
    char command[128];
    int status;

    if (terminal)
        fclose(terminal);
    if (person > 0) {
        ck_assert_int_eq(waitpid(person, &status, 0), person);
        ck_assert_int_eq(status, 0); /* saw all that it waited for */
    }
    snprintf(command, sizeof command, "rm -r %s", home);
    ck_assert_int_eq(system(command), 0);
}

static const char interrupt[] = "interrupt";

/* Sends INT to the reader once it waits: a signal that comes before would be no news to it. */
static void interrupt_reader(void)
{
    char path[64], state = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)getppid());
    while (state != 'S') {
        FILE *f = fopen(path, "re");
        if (!f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
            _exit(3);
        fclose(f);
        sched_yield();
    }
    kill(getppid(), SIGINT);
}

/* What is typed between the prompt and the terminal's change of mode may be lost. */
static void await_editor(int master)
{
    struct termios mode;

    do {
        if (tcgetattr(master, &mode) < 0)
            _exit(4);
        sched_yield();
    } while (mode.c_lflag & ICANON);
}

/* Waits for each text, and then types the keys after it; NULL ends.  Never returns. */
static void act(int master, const char *const *steps)
{
    char seen[65536];
    size_t n = 0;

    alarm(10);
    for (; steps[0]; steps += 2) {
        const char *at;
        seen[n] = '\0';
        while ((at = strstr(seen, steps[0])) == NULL) {
            ssize_t got = read(master, seen + n, sizeof seen - 1 - n);
            if (got <= 0)
                _exit(1);
            n += (size_t)got;
            seen[n] = '\0';
        }
        n -= (size_t)(at - seen) + strlen(steps[0]);
        memmove(seen, at + strlen(steps[0]), n);
        await_editor(master);
        if (steps[1] == interrupt)
            interrupt_reader();
        else if (write(master, steps[1], strlen(steps[1])) < 0)
            _exit(2);
    }
    while (read(master, seen, sizeof seen) > 0)
        ;
    _exit(0);
}

/* Opens `terminal`, with a person at it who does the steps. */
static void open_terminal(const char *const *steps)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    int master = posix_openpt(O_RDWR | O_NOCTTY), slave;

    ck_assert_int_ge(master, 0);
    ck_assert_int_eq(grantpt(master), 0);
    ck_assert_int_eq(unlockpt(master), 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    ck_assert_int_ge(slave, 0);
    ck_assert_int_eq(ioctl(slave, TIOCSWINSZ, &size), 0);
    person = fork();
    if (person == 0) {
        close(slave);
        act(master, steps);
    }
    ck_assert_int_gt(person, 0);
    close(master);
    terminal = fdopen(slave, "r+");
    ck_assert_ptr_nonnull(terminal);
}

static void reads(struct lineedit *l, const char *prompt, const char *want)
{
    char *line;

    ck_assert_int_eq(lineedit_read(l, prompt, &line), 1);
    ck_assert_str_eq(line, want);
    free(line);
}

static void ends(struct lineedit *l, const char *prompt)
{
    char *line;

    ck_assert_int_eq(lineedit_read(l, prompt, &line), 0);
    ck_assert_ptr_null(line);
    lineedit_free(l);
}

/* Left, left, a character between; a character of two bytes goes at one stroke; the end. */
START_TEST(test_edited)
{
    static const char *const steps[] = {"one> ",   "prit(1)\x02\x02\x02\x02n\n",
                                        "two> ",   "\xc3\xa4\x7f\xc3\xb6\n",
                                        "three> ", "\n",
                                        "four> ",  "\x04",
                                        NULL};
    struct lineedit *l;

    open_terminal(steps);
    l = lineedit_new(terminal, terminal, NULL);
    reads(l, "one> ", "print(1)");
    reads(l, "two> ", "\xc3\xb6");
    reads(l, "three> ", "");
    ends(l, "four> ");
}
END_TEST

/* What was added comes back, in the next life, too; what was only typed does not. */
START_TEST(test_history)
{
    static const char *const steps[] = {"1> ", "kept\n",  "2> ", "not kept\n", "3> ", "\x10 it\n",
                                        "4> ", "\x10!\n", "5> ", "\x04",       NULL};
    char file[80];
    struct lineedit *l;
    struct stat st;

    snprintf(file, sizeof file, "%s/history", home);
    open_terminal(steps);
    l = lineedit_new(terminal, terminal, file);
    reads(l, "1> ", "kept");
    lineedit_add(l, "kept");
    reads(l, "2> ", "not kept");
    reads(l, "3> ", "kept it");
    lineedit_free(l);
    ck_assert_int_eq(stat(file, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    l = lineedit_new(terminal, terminal, file);
    reads(l, "4> ", "kept!");
    ends(l, "5> ");
}
END_TEST

static void on_signal(int number)
{
    (void)number;
}

/* A signal drops what has been typed, and the next line begins afresh. */
START_TEST(test_interrupted)
{
    static const char *const steps[] = {"1> ",     "typed", "typed", interrupt, "2> ",
                                        "fresh\n", "3> ",   "\x04",  NULL};
    struct sigaction action = {.sa_handler = on_signal};
    struct lineedit *l;
    char *line;

    sigaction(SIGINT, &action, NULL);
    open_terminal(steps);
    l = lineedit_new(terminal, terminal, NULL);
    ck_assert_int_eq(lineedit_read(l, "1> ", &line), -E_CANCELLED);
    ck_assert_ptr_null(line);
    reads(l, "2> ", "fresh");
    ends(l, "3> ");
}
END_TEST

/* From a pipe: no prompt, no editing, and a last line need not be ended. */
START_TEST(test_pipe)
{
    FILE *in = tmpfile(), *out = tmpfile();
    struct lineedit *l = lineedit_new(in, out, NULL);

    fputs("one\n\ntwo \x02words\nlast", in);
    rewind(in);
    reads(l, "> ", "one");
    reads(l, "> ", "");
    reads(l, "> ", "two \x02words");
    lineedit_add(l, "one");
    reads(l, "> ", "last");
    ends(l, "> ");
    ck_assert_int_eq((int)ftell(out), 0);
    fclose(in);
    fclose(out);
    lineedit_free(NULL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("lineedit");
    TCase *t = tcase_create("lineedit");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 15);
    tcase_add_test(t, test_edited);
    tcase_add_test(t, test_history);
    tcase_add_test(t, test_interrupted);
    tcase_add_test(t, test_pipe);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
