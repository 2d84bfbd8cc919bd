#include "agent/services.h"

#include <string.h>

#include "agent/deliver.h"
#include "agent/exec.h"
#include "agent/facts.h"
#include "agent/nested.h"
#include "agent/pipes.h"

typedef int service(struct session *session, struct stream *s, const struct value *args,
                    struct error *e);
typedef void answerer(struct session *session, struct link *l, uint32_t id,
                      const struct value *args);

static const struct {
    const char *name;
    service *open;
} services[] = {
#define SERVICE(name, function, doc) {#name, function},
#define CALL(name, function, doc)
#include "agent/services.def"
#undef SERVICE
#undef CALL
};

static const struct {
    const char *name;
    answerer *answer;
} calls[] = {
#define SERVICE(name, function, doc)
#define CALL(name, function, doc) {#name, function},
#include "agent/services.def"
#undef SERVICE
#undef CALL
};

int services_open(void *arg, struct stream *s, const char *name, const struct value *args,
                  struct error *e)
{
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (strcmp(services[i].name, name) == 0) {
            return services[i].open(arg, s, args, e);
        }
    }
    return errors_set(e, -E_NO_SERVICE, "\"%.100s\"", name);
}

void services_call(void *arg, struct link *l, uint32_t id, const char *name,
                   const struct value *args)
{
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        if (strcmp(calls[i].name, name) == 0) {
            calls[i].answer(arg, l, id, args);
            return;
        }
    }
    link_fail(l, id, -E_NO_SERVICE, name);
}
