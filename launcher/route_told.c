/* Where a target leads, for those who only want to know. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/bootstrap/archmemory.h"
#include "launcher/cache/serverkey.h"
#include "launcher/context.h"
#include "launcher/route.h"
#include "launcher/ssh/sshconfig.h"

#define PLACE_BYTES 16

static int set_text(struct grapnel_value *map, const char *key, const char *text)
{
    return text ? grapnel_value_set(map, key, grapnel_value_new_string(text, strlen(text))) : 0;
}

static struct grapnel_value *list_of(const struct sshconfig_list *list)
{
    struct grapnel_value *array = grapnel_value_new_array();

    for (size_t i = 0; array && i < list->count; i++)
        grapnel_value_append(array, grapnel_value_new_string(list->item[i], strlen(list->item[i])));
    return array;
}

static int tell_ssh(struct grapnel_value *map, const struct sshconfig *c)
{
    return set_text(map, "user", c->user) | set_text(map, "host", c->host) |
           grapnel_value_set(map, "port", grapnel_value_new_int(c->port)) |
           grapnel_value_set(map, "identities", list_of(&c->identity_files)) |
           set_text(map, "ssh_agent", c->agent_socket) | set_text(map, "jump", c->proxy_jump) |
           set_text(map, "proxy", c->proxy_command);
}

/* That which would be sent first. */
static int tell_agent(struct grapnel *g, struct grapnel_value *map, const struct route *r,
                      struct error *e)
{
    const struct agents_binary *agent = NULL;
    char uname[64] = "";

    if (route_key(r))
        archmemory_recall(route_key(r), uname, sizeof uname);
    if (*uname)
        agent = agents_find(g->agents, uname, NULL);
    if (!agent)
        agent = agents_find(g->agents, NULL, e);
    if (!agent)
        return e->code;
    return set_text(map, "agent", agent->name) |
           grapnel_value_set(map, "agent_bytes",
                             grapnel_value_new_int((int64_t)agent->packed_size));
}

static int tell_place(struct grapnel_value *map, const struct route *r,
                      const struct grapnel_connect_options *o)
{
    char *key = serverkey_place(r, o), text[2 * PLACE_BYTES + 1];
    uint8_t digest[PLACE_BYTES];

    if (!key)
        return -E_NOMEM;
    crypto_generichash(digest, sizeof digest, (const uint8_t *)key, strlen(key), NULL, 0);
    free(key);
    return set_text(map, "place", sodium_bin2hex(text, sizeof text, digest, sizeof digest));
}

static struct grapnel_value *tell(struct grapnel *g, const struct route *r,
                                  const struct grapnel_connect_options *o, struct error *e)
{
    struct grapnel_value *map = grapnel_value_new_map();
    int bad = set_text(map, "transport", route_transport(r)) | tell_place(map, r, o);

    if (route_config(r))
        bad |= tell_ssh(map, route_config(r));
    bad |= tell_agent(g, map, r, e);
    if (!bad)
        return map;
    if (!e->code)
        errors_set(e, -E_NOMEM, "%s", route_target(r));
    grapnel_value_free(map);
    return NULL;
}

struct grapnel_value *grapnel_route(struct grapnel *g, const char *target,
                                    const struct grapnel_connect_options *options,
                                    struct grapnel_error *error)
{
    static const struct grapnel_connect_options none;
    struct grapnel_value *map = NULL;
    struct error e = {0};
    struct route *r;

    context_lock(g);
    options = options ? options : &none;
    r = route_new(g, target, options, &e);
    if (r)
        map = tell(g, r, options, &e);
    if (!map)
        context_error(error, target, &e);
    route_free(r);
    context_unlock(g);
    return map;
}
