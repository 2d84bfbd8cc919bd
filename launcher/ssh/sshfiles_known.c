/* known_hosts among the files that many connections need: apart, since it takes libcrypto along. */
#include "launcher/ssh/sshfiles.h"

static void let_go(void *known)
{
    knownhosts_free(known);
}

int sshfiles_known_hosts(struct sshfiles *f, const char *const *files, size_t count,
                         struct knownhosts **out, struct error *e)
{
    struct wire_buf name = {0};
    int rc, shared;

    if (!f)
        return knownhosts_open(files, count, out, e);
    rc = sshfiles_name(&name, 'k', NULL, files, count);
    if (rc < 0) {
        wire_free(&name);
        return errors_set(e, rc, "known_hosts");
    }
    *out = sshfiles_find(f, &name);
    shared = *out != NULL;
    if (!shared && (rc = knownhosts_open(files, count, out, e)) == 0)
        shared = sshfiles_keep(f, &name, *out, let_go);
    if (shared)
        knownhosts_hold(*out);
    wire_free(&name);
    return rc;
}
