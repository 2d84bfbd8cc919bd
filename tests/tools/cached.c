/* A program that holds a connection cache, and does with it what it reads from stdin, line by line;
 * each is answered by one line on stdout.  Words are separated by single spaces.
 *
 *   cached CONFIG [CONNECT_TIMEOUT_MS]
 *
 *   get HOST USER N         "got NAME GENERATION", "failed CODE: text"; USER "-": none is named
 *   run NAME SOURCE         what the Lua source returns there, as JSON
 *   start NAME SOURCE       begins it without waiting: "started"
 *   wait                    how that ends
 *   release NAME            "released"
 *   pid NAME                of its agent
 *   session NAME            $SSH_CONNECTION of its server's commands
 *   lost NAME               "lost", as soon as that its agent is not there is known here
 *   create N USER HOST…     "created", or "failed …"
 *   list | servers | ssh    "[a b c]"
 *   check HOST USER N       "alive", or "failed …"
 *   close HOST USER N       "closed 1"; HOST "-": all; N 0: all
 *   undeploy HOST USER      likewise
 *   hangup HOST USER        likewise
 *   again HOST USER N       connects and hangs up so often: "grew BYTES", what it takes more of
 * memory
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/grapnel.h"

#define WORDS_MAX 8
#define HELD_MAX  64

static struct grapnel *g;
static struct grapnel_connect_options options;
static struct grapnel_connection *held[HELD_MAX];
static struct grapnel_future *started;
static struct grapnel_error error;

static void failed(void)
{
    printf("failed %s: %s: %s\n", error.name, error.text, error.detail);
}

/* "-" stands for none. */
static const char *word(const char *text)
{
    return strcmp(text, "-") == 0 ? NULL : text;
}

static const struct grapnel_connect_options *of_user(const char *user)
{
    options.user = word(user);
    return &options;
}

static struct grapnel_connection **find(const char *name)
{
    for (size_t i = HELD_MAX; i-- > 0;) { /* the one that was got last: others may be closed */
        if (held[i] && strcmp(grapnel_connection_name(held[i]), name) == 0)
            return &held[i];
    }
    fprintf(stderr, "cached: %s is not held\n", name);
    exit(2);
}

static void hold(struct grapnel_connection *c)
{
    static size_t n;

    if (n == HELD_MAX)
        exit(2);
    held[n++] = c;
}

static void get(char **w)
{
    struct grapnel_connection *c =
        grapnel_get_connection(g, w[1], of_user(w[2]), (int)strtol(w[3], NULL, 10), &error);

    if (!c) {
        failed();
        return;
    }
    printf("got %s %d\n", grapnel_connection_name(c), grapnel_connection_generation(c));
    hold(c);
}

static void print_value(const struct grapnel_value *v)
{
    char *json = grapnel_value_json(v);

    puts(json ? json : "?");
    grapnel_string_free(json);
}

static void run(char **w)
{
    struct grapnel_value *v;

    if (grapnel_call(grapnel_connection_instance(*find(w[1])), "execute", &v, &error, "s", w[2]) <
        0) {
        failed();
        return;
    }
    print_value(v);
    grapnel_value_free(v);
}

static void start(char **w)
{
    started =
        grapnel_call_start(grapnel_connection_instance(*find(w[1])), "execute", &error, "s", w[2]);
    if (started)
        puts("started");
    else
        failed();
}

static void finish(char **w)
{
    (void)w;
    if (grapnel_future_wait(started, 20000, &error) < 0)
        failed();
    else
        print_value(grapnel_future_value(started));
    grapnel_future_free(started);
    started = NULL;
}

static void release(char **w)
{
    struct grapnel_connection **at = find(w[1]);

    grapnel_connection_release(*at);
    *at = NULL;
    puts("released");
}

static void pid(char **w)
{
    char *facts = grapnel_facts_json(grapnel_connection_server(*find(w[1])), 0, 0, &error);
    const char *at = facts ? strstr(facts, "\"pid\":") : NULL;

    printf("%ld\n", at ? strtol(at + 6, NULL, 10) : -1);
    grapnel_string_free(facts);
}

static void session(char **w)
{
    struct grapnel_exec_options o = {.line = "echo $SSH_CONNECTION"};
    struct grapnel_result r;

    if (grapnel_run(grapnel_connection_server(*find(w[1])), &o, &r, &error) < 0) {
        failed();
        return;
    }
    fputs(r.out, stdout);
    grapnel_result_clear(&r);
}

static void lost(char **w)
{
    struct grapnel_server *s = grapnel_connection_server(*find(w[1]));

    while (grapnel_server_state(s) == GRAPNEL_DEPLOYED)
        grapnel_drive(g, 1);
    puts("lost");
}

static void create(char **w)
{
    if (grapnel_create_connections(g, (const char *const *)&w[3], of_user(w[2]),
                                   (int)strtol(w[1], NULL, 10), &error) < 0)
        failed();
    else
        puts("created");
}

static void print_list(char **names)
{
    if (!names) {
        failed();
        return;
    }
    putchar('[');
    for (size_t i = 0; names[i]; i++)
        printf("%s%s", i > 0 ? " " : "", names[i]);
    puts("]");
    grapnel_strings_free(names);
}

static void list(char **w)
{
    (void)w;
    print_list(grapnel_list_connections(g, &error));
}

static void servers(char **w)
{
    (void)w;
    print_list(grapnel_list_deployed_servers(g, &error));
}

static void ssh(char **w)
{
    (void)w;
    print_list(grapnel_list_ssh_connections(g, &error));
}

static void check(char **w)
{
    if (grapnel_check_connection(g, w[1], of_user(w[2]), (int)strtol(w[3], NULL, 10), 20000, NULL,
                                 &error) < 0)
        failed();
    else
        puts("alive");
}

static void closed(int n)
{
    if (n < 0)
        failed();
    else
        printf("closed %d\n", n);
}

static void close_one(char **w)
{
    closed(grapnel_close_connection(g, word(w[1]), of_user(w[2]), (int)strtol(w[3], NULL, 10),
                                    &error));
}

static void undeploy(char **w)
{
    closed(word(w[1]) ? grapnel_close_deployed_server(g, w[1], of_user(w[2]), &error)
                      : grapnel_close_deployed_servers(g, &error));
}

static void hangup(char **w)
{
    closed(word(w[1]) ? grapnel_close_ssh_connection(g, w[1], of_user(w[2]), &error)
                      : grapnel_close_ssh_connections(g, &error));
}

static void again(char **w)
{
    size_t before = mallinfo2().uordblks;

    for (long n = strtol(w[3], NULL, 10); n > 0; n--) {
        struct grapnel_connection *c = grapnel_get_connection(g, w[1], of_user(w[2]), 1, &error);
        grapnel_connection_release(c);
        if (!c || grapnel_close_ssh_connection(g, w[1], of_user(w[2]), &error) != 1) {
            failed();
            return;
        }
    }
    printf("grew %ld\n", (long)(mallinfo2().uordblks - before));
}

static const struct {
    const char *name;
    int words; /* the last one is the rest of the line; 0: as many as there are */
    void (*run)(char **words);
} verbs[] = {
    {"get", 4, get},         {"run", 3, run},         {"start", 3, start},
    {"wait", 1, finish},     {"release", 2, release}, {"pid", 2, pid},
    {"session", 2, session}, {"lost", 2, lost},       {"create", 0, create},
    {"list", 1, list},       {"servers", 1, servers}, {"ssh", 1, ssh},
    {"check", 4, check},     {"close", 4, close_one}, {"undeploy", 3, undeploy},
    {"hangup", 3, hangup},   {"again", 4, again},
};

static int obey(char *line)
{
    char *words[WORDS_MAX + 1] = {line};
    size_t verb = 0, length = strcspn(line, " \n");
    int n;

    line[strcspn(line, "\n")] = '\0';
    while (verb < sizeof verbs / sizeof *verbs &&
           (strlen(verbs[verb].name) != length || memcmp(verbs[verb].name, line, length) != 0))
        verb++;
    if (verb == sizeof verbs / sizeof *verbs)
        return -1;
    for (n = 1; n < WORDS_MAX && n != verbs[verb].words; n++) {
        char *space = strchr(words[n - 1], ' ');
        if (!space)
            break;
        *space = '\0';
        words[n] = space + 1;
    }
    if (verbs[verb].words && n != verbs[verb].words)
        return -1;
    verbs[verb].run(words);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    char line[4000];
    int status = 0;

    if (argc < 2)
        return 2;
    options.config_file = argv[1];
    if (argc > 2)
        options.connect_timeout = strtol(argv[2], NULL, 10);
    g = grapnel_new(NULL, &error);
    if (!g)
        return 1;
    while (status == 0 && fgets(line, sizeof line, stdin)) {
        if (obey(line) < 0) {
            fprintf(stderr, "cached: bad line: %s\n", line);
            status = 2;
        }
    }
    for (size_t i = 0; i < HELD_MAX; i++)
        grapnel_connection_release(held[i]);
    grapnel_future_free(started);
    if (grapnel_close_ssh_connections(g, &error) < 0)
        status = 3;
    grapnel_free(g);
    return status;
}
