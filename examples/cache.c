/* Evaluates Lua on hosts, line by line from stdin: "HOST EXPRESSION".  Nothing here keeps track of
 * connections: the cache does, and connects anew to what has died.
 *
 *     cc cache.c $(pkg-config --cflags --libs grapnel) -o cache
 *     printf '%s\n' 'web1 x = 6' 'george@web1 os.getenv "USER"' 'web1 x * 7' | ./cache
 */
#include <grapnel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void complain(const struct grapnel_error *error)
{
    char words[1400];

    grapnel_error_format(error, words, sizeof words);
    fprintf(stderr, "%s\n", words);
}

static int evaluate(struct grapnel *g, const char *host, const char *source,
                    struct grapnel_error *error)
{
    struct grapnel_connect_options options = {.transport = getenv("TRANSPORT")};
    struct grapnel_connection *c = grapnel_get_connection(g, host, &options, 1, error);
    struct grapnel_value *v;
    char *json;
    int code;

    if (!c)
        return error->code;
    code = grapnel_call(grapnel_connection_instance(c), "execute", &v, error, "s", source);
    if (code == 0) {
        json = grapnel_value_json(v);
        printf("%s: %s\n", grapnel_connection_name(c), json ? json : "?");
        grapnel_string_free(json);
        grapnel_value_free(v);
    }
    grapnel_connection_release(c); /* it stays in the cache */
    return code;
}

/* An expression, or else a statement. */
static int run_line(struct grapnel *g, char *line, struct grapnel_error *error)
{
    char *source = strchr(line, ' '), expression[4100];

    line[strcspn(line, "\n")] = '\0';
    if (!source)
        return 0;
    *source++ = '\0';
    snprintf(expression, sizeof expression, "return %s", source);
    if (strstr(source, " = "))
        snprintf(expression, sizeof expression, "%s", source);
    return evaluate(g, line, expression, error);
}

int main(void)
{
    struct grapnel_error error;
    struct grapnel *g = grapnel_new(NULL, &error);
    char line[4000], **names = NULL;
    int failed = g == NULL;

    if (failed)
        complain(&error);
    while (g && fgets(line, sizeof line, stdin)) {
        if (run_line(g, line, &error) < 0) {
            complain(&error);
            failed = 1;
        }
    }
    if (g)
        names = grapnel_list_connections(g, &error);
    for (size_t i = 0; names && names[i]; i++)
        printf("held: %s\n", names[i]);
    grapnel_strings_free(names);
    if (g && grapnel_close_ssh_connections(g, &error) < 0)
        complain(&error);
    grapnel_free(g);
    return failed;
}
