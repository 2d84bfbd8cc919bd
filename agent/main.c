/* The agent's command line.
 *
 *   agent probe       leaves at once: may programs be run here?
 *   agent boot HASH   checks and deletes its own file, then serves on stdin and stdout
 *   agent stdio       serves on stdin and stdout
 *   agent serve [--worker PATH] FILE [WORD...]
 *                     serves the service in FILE, and nothing else, on stdin and stdout */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/guardian.h"
#include "agent/intro.h"
#include "agent/linux.h"
#include "agent/selfdelete.h"
#include "agent/single.h"

#define EXIT_USAGE    2
#define EXIT_TAMPERED 87

extern char **environ;

static void complain(const struct error *e)
{
    fprintf(stderr, "grapnel: agent: %s%s%s\n", errors_text(e->code),
            e->detail[0] != '\0' ? ": " : "", e->detail);
}

/* Descriptors 0 to 2 are open afterwards, and no others. */
static void set_up_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    linux_close_from(3);
}

/* The environment variable `name` as a number, taken out of the environment. */
static long take_number(const char *name, long fallback, long most)
{
    const char *text = getenv(name);
    char *end;
    long number = fallback;

    if (text != NULL && text[0] != '\0') {
        number = strtol(text, &end, 10);
        if (*end != '\0' || number < 0 || number > most) {
            number = fallback;
        }
    }
    unsetenv(name);
    return number;
}

static int boot(const char *hex)
{
    struct error checked = {0};
    struct error deleted = {0};

    (void)selfdelete_check(hex, &checked);
    (void)selfdelete_run(&deleted);
    if (checked.code == -E_AGENT_TAMPERED) {
        fputs("grapnel: agent tampered\n", stderr);
        return EXIT_TAMPERED;
    }
    if (checked.code != 0 || deleted.code != 0) {
        complain(checked.code != 0 ? &checked : &deleted);
        return errors_exit(-E_AGENT_START);
    }
    return 0;
}

static int run(const struct single *served, int introduced)
{
    struct agent_options options = {
        .input = 0, .output = 1, .guardian = -1, .served = served, .introduced = introduced};
    struct rlimit files, more;
    struct error e = {0};
    int status = 0;
    int result;

    options.umask = umask(077);
    options.lease_ms = (uint32_t)take_number("GRAPNEL_LEASE_MS", AGENT_LEASE_MS, 86400000);
    options.environment = environ;
    result = guardian_start(&options.guardian, &status, &e);
    if (result > 0) {
        return status;
    }
    /* Many commands at a time need many pipes; they themselves get the limit as it was. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        more = files;
        more.rlim_cur = more.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &more) == 0) {
            options.files = &files;
        }
    }
    if (result == 0) {
        result = agent_run(&options, &e);
    }
    if (result != 0 && result != -E_LOST) {
        complain(&e);
    }
    return result != 0 ? errors_exit(result) : 0;
}

/* What sshd was asked to run stands in a variable, by which a launcher that asked for an agent is
 * told that one runs. */
static int serve(char *const *words)
{
    struct single served;
    struct error e = {0};
    char line[256];
    size_t n = intro_line(getenv("SSH_ORIGINAL_COMMAND"), line, sizeof line);

    unsetenv("SSH_ORIGINAL_COMMAND");
    if (n > 0 && write(STDOUT_FILENO, line, n) != (ssize_t)n) {
        return errors_exit(-E_LOST);
    }
    if (single_read(words, &served, &e) != 0) {
        complain(&e);
        return errors_exit(e.code);
    }
    return run(&served, n > 0);
}

int main(int argc, char **argv)
{
    int serves = argc >= 3 && strcmp(argv[1], "serve") == 0;
    int status;

    if (argc == 2 && strcmp(argv[1], "probe") == 0) {
        return 0;
    }
    if (!serves && !(argc == 2 && strcmp(argv[1], "stdio") == 0) &&
        !(argc == 3 && strcmp(argv[1], "boot") == 0)) {
        fputs("usage: agent probe | boot HASH | stdio | serve [--worker PATH] FILE\n", stderr);
        return EXIT_USAGE;
    }
    set_up_descriptors();
    (void)signal(SIGPIPE, SIG_IGN);
    if (serves) {
        return serve(argv + 2);
    }
    if (argc == 3) {
        status = boot(argv[2]);
        if (status != 0) {
            return status;
        }
    }
    return run(NULL, 0);
}
