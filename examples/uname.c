/* uname of several hosts, side by side: nothing waits for the slowest until all were asked.
 *
 *     cc uname.c $(pkg-config --cflags --libs grapnel) -o uname && ./uname web1 web2 root@db1
 */
#include <grapnel.h>
#include <stdio.h>
#include <stdlib.h>

struct host {
    struct grapnel_server *server;
    struct grapnel_instance *instance;
    struct grapnel_future *uname;
};

static const char *text(const struct grapnel_value *map, const char *key)
{
    const char *s = grapnel_value_string(grapnel_value_get(map, key), NULL);

    return s ? s : "?";
}

/* Connects, sends agent and worker, and asks: all in one flight, without waiting. */
static int ask(struct grapnel *g, struct host *h, const char *name, struct grapnel_error *error)
{
    struct grapnel_connect_options options = {.transport = getenv("TRANSPORT")};

    h->server = grapnel_open(g, name, &options, error);
    if (h->server)
        h->instance = grapnel_instance_open(h->server, NULL, error);
    if (h->instance)
        h->uname = grapnel_call_start(h->instance, "sys.uname", error, "");
    return h->uname ? 0 : -1;
}

static int show(struct host *h, const char *name, struct grapnel_error *error)
{
    const struct grapnel_value *v;

    if (grapnel_future_wait(h->uname, -1, error) < 0)
        return -1;
    v = grapnel_future_value(h->uname);
    printf("%s: %s %s on %s\n", name, text(v, "sysname"), text(v, "release"), text(v, "machine"));
    return 0;
}

int main(int argc, char **argv)
{
    struct grapnel_error error;
    struct grapnel *g = grapnel_new(NULL, &error);
    struct host *hosts = calloc((size_t)argc, sizeof *hosts);
    int failed = 0;

    for (int i = 1; g && hosts && i < argc; i++)
        failed |= ask(g, &hosts[i], argv[i], &error);
    for (int i = 1; g && hosts && i < argc; i++) {
        char words[1400];
        if (hosts[i].uname && show(&hosts[i], argv[i], &error) == 0)
            continue;
        failed = 1;
        grapnel_error_format(&error, words, sizeof words);
        fprintf(stderr, "%s\n", words);
    }
    for (int i = 1; hosts && i < argc; i++) {
        grapnel_future_free(hosts[i].uname);
        grapnel_instance_free(hosts[i].instance);
        grapnel_server_free(hosts[i].server);
    }
    free(hosts);
    grapnel_free(g);
    return failed ? 1 : 0;
}
