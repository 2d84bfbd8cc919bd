/* The program that hands the password file to the OpenSSH client. */
#include <sys/wait.h>

#include "launcher/ssh/ask.h"
#include "launcher/ssh/askpass.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

#define SECRET "open 'sesame' \\n %s $x"

static struct sshconfig *config;

/* A configuration of these settings, freed by leave. */
static void configure(const char *const *settings, size_t count)
{
    struct sshconfig_options options = {.file = "none",
                                        .settings = settings,
                                        .settings_count = count,
                                        .home = sshtools_folder,
                                        .local_user = "me"};
    struct sshconfig_set *set;
    struct error e = {0};

    sshconfig_free(config);
    ck_assert_msg(sshconfig_open(&options, &set, &e) == 0, "%s", e.detail);
    ck_assert_msg(sshconfig_lookup(set, "Web", NULL, 0, &config, &e) == 0, "%s", e.detail);
    sshconfig_close(set);
}

static void enter(void)
{
    static const char *const settings[] = {"User=\"o'brien\""};

    sshtools_enter();
    sshtools_write(sshtools_path("password"), SECRET "\r\nsecond line\n");
    ck_assert_int_eq(setenv(ASK_PASSWORD_FILE, sshtools_path("password"), 1), 0);
    ck_assert_int_eq(unsetenv("SSH_ASKPASS"), 0);
    configure(settings, 1);
}

static void leave(void)
{
    sshconfig_free(config);
    config = NULL;
    sshtools_leave();
}

/* What the program answers to a prompt; NULL when it refuses. */
static const char *answer(const struct askpass *a, const char *prompt)
{
    static char said[256];
    int ends[2], status = 0;
    const char *program = NULL;
    char *const *environment = askpass_environment(a);

    for (size_t i = 0; environment[i] != NULL; i++) {
        if (strncmp(environment[i], "SSH_ASKPASS=", 12) == 0)
            program = environment[i] + 12;
    }
    ck_assert_ptr_nonnull(program);
    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char *argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t)prompt, NULL};
        (void)dup2(ends[1], 1);
        (void)close(2);
        (void)execve(program, argv, environment);
        _exit(99);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], said, sizeof said - 1);
    close(ends[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_ge(n, 0);
    said[n] = '\0';
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != 99);
    ck_assert_int_eq(WEXITSTATUS(status) == 0, n > 0);
    return n > 0 ? said : NULL;
}

static struct askpass *make(int interactive)
{
    struct askpass *a;
    struct error e = {0};

    ck_assert_msg(askpass_new(config, interactive, &a, &e) == 0, "%s", e.detail);
    ck_assert_ptr_nonnull(a);
    return a;
}

START_TEST(the_target_is_answered)
{
    static const char *const prompts[] = {
        "o'brien@web's password: ",
        "(o'brien@web) Password: ",
        "(o'brien@web) Your password for today: ",
    };
    struct askpass *a = make(1);

    for (size_t i = 0; i < sizeof prompts / sizeof prompts[0]; i++) {
        const char *said = answer(a, prompts[i]);
        ck_assert_msg(said != NULL, "%s", prompts[i]);
        ck_assert_str_eq(said, SECRET "\n");
    }
    askpass_free(a);
}
END_TEST

START_TEST(nobody_else_is)
{
    static const char *const prompts[] = {
        "",
        "o'brien@gate's password: ",
        "brien@web's password: ",
        "xo'brien@web's password: ",
        "o'brien@web's password: more",
        "(o'brien@gate) Password: ",
        "(x) (o'brien@web) Password: ",
        "(o'brien@web) Verification code: ",
        "Enter passphrase for key '/home/me/.ssh/id_rsa': ",
        "Enter o'brien@web's old password: ",
        "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
    };
    struct askpass *a = make(1);

    for (size_t i = 0; i < sizeof prompts / sizeof prompts[0]; i++)
        ck_assert_msg(answer(a, prompts[i]) == NULL, "%s", prompts[i]);
    askpass_free(a);
}
END_TEST

/* What the file does not answer goes to the user's own program, unless nobody may be asked. */
START_TEST(the_rest_goes_to_the_users_program)
{
    static const char *const batch[] = {"BatchMode=yes", "User=joe", "HostKeyAlias=Other"};
    static const char script[] = "#!/bin/sh\necho \"asked $1\"\n";
    const char *program = sshtools_path("it's a program");
    struct askpass *a;

    sshtools_write_n(program, script, sizeof script - 1, 0700);
    ck_assert_int_eq(setenv("SSH_ASKPASS", program, 1), 0);
    a = make(1);
    ck_assert_str_eq(answer(a, "Enter passphrase"), "asked Enter passphrase\n");
    ck_assert_str_eq(answer(a, "o'brien@web's password: "), SECRET "\n");
    askpass_free(a);
    a = make(0);
    ck_assert_ptr_null(answer(a, "Enter passphrase"));
    askpass_free(a);
    configure(batch, 3);
    a = make(1);
    ck_assert_ptr_null(answer(a, "Enter passphrase"));
    ck_assert_ptr_null(answer(a, "joe@web's password: "));
    ck_assert_str_eq(answer(a, "joe@other's password: "), SECRET "\n");
    askpass_free(a);
}
END_TEST

/* Versions before 8.6 cut long names in their prompts. */
START_TEST(long_names)
{
    static char user[64], prompt[256];
    static const char *const settings[] = {user};
    struct askpass *a;

    (void)snprintf(user, sizeof user, "User=%040d", 7);
    configure(settings, 1);
    a = make(1);
    (void)snprintf(prompt, sizeof prompt, "%040d@web's password: ", 7);
    ck_assert_ptr_nonnull(answer(a, prompt));
    (void)snprintf(prompt, sizeof prompt, "%030d@web's password: ", 0);
    ck_assert_ptr_nonnull(answer(a, prompt));
    (void)snprintf(prompt, sizeof prompt, "%029d@web's password: ", 0);
    ck_assert_ptr_null(answer(a, prompt));
    askpass_free(a);
}
END_TEST

START_TEST(files_that_are_not_used)
{
    struct askpass *a;
    struct error e = {0};
    size_t files = sshtools_open_files();

    ck_assert_int_eq(chmod(sshtools_path("password"), 0640), 0);
    ck_assert_int_eq(askpass_new(config, 1, &a, &e), -E_CONFIG);
    ck_assert_ptr_null(a);
    ck_assert_ptr_nonnull(strstr(e.detail, "open to other users (mode 0640)"));
    ck_assert_int_eq(setenv(ASK_PASSWORD_FILE, "/nonexistent/x", 1), 0);
    ck_assert_int_eq(askpass_new(config, 1, &a, &e), -E_CONFIG);
    ck_assert_ptr_nonnull(strstr(e.detail, "/nonexistent/x: No such file"));
    ck_assert_int_eq(setenv(ASK_PASSWORD_FILE, "", 1), 0);
    ck_assert_int_eq(askpass_new(config, 1, &a, &e), 0);
    ck_assert_ptr_null(a);
    askpass_free(NULL);
    ck_assert_uint_eq(sshtools_open_files(), files);
}
END_TEST

/* Neither what ssh is given nor the program itself holds the password. */
START_TEST(the_secret_stays_in_its_file)
{
    struct askpass *a = make(1);
    char *const *environment = askpass_environment(a);

    for (size_t i = 0; environment[i] != NULL; i++) {
        ck_assert_ptr_null(strstr(environment[i], "sesame"));
        if (strncmp(environment[i], "SSH_ASKPASS=", 12) == 0) {
            char text[2048];
            FILE *f = fopen(environment[i] + 12, "re");
            ck_assert_ptr_nonnull(f);
            text[fread(text, 1, sizeof text - 1, f)] = '\0';
            ck_assert_ptr_nonnull(strstr(text, "o'\\''brien@web"));
            ck_assert_ptr_null(strstr(text, "sesame"));
            (void)fclose(f);
        }
    }
    askpass_free(a);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("askpass");
    TCase *t = tcase_create("all");

    tcase_add_checked_fixture(t, enter, leave);
    tcase_add_test(t, the_target_is_answered);
    tcase_add_test(t, nobody_else_is);
    tcase_add_test(t, the_rest_goes_to_the_users_program);
    tcase_add_test(t, long_names);
    tcase_add_test(t, files_that_are_not_used);
    tcase_add_test(t, the_secret_stays_in_its_file);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
