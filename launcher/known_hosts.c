/* Putting keys into known_hosts files. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/context.h"
#include "launcher/ssh/knownhosts.h"
#include "launcher/ssh/transport_ssh2.h"

/* ~/.ssh as ssh has it, whatever HOME says. */
static char *ssh_folder(void)
{
    const struct passwd *us = getpwuid(geteuid());
    char *folder;

    return asprintf(&folder, "%s/.ssh", us ? us->pw_dir : "") < 0 ? NULL : folder;
}

/* All of the file that host `first` names; `done` marks them. */
static int write_file(struct grapnel_known_host *hosts, size_t first, size_t n,
                      struct knownhosts_change *changes, char *done, const char *folder,
                      struct error *e)
{
    const char *file = hosts[first].file;
    size_t count = 0, at = 0;
    int rc;

    for (size_t i = first; i < n; i++) {
        const struct grapnel_known_host *h = &hosts[i];

        if (done[i] || strcmp(h->file, file) != 0)
            continue;
        done[i] = 2;
        changes[count++] = (struct knownhosts_change){
            .name = h->name, .key = h->key, .old = h->old_key, .hashed = h->hashed};
    }
    rc = transport_ssh2_write_keys(file, folder, changes, count, e);
    for (size_t i = first; i < n; i++) {
        if (done[i] != 2)
            continue;
        done[i] = 1;
        hosts[i].kept = rc < 0 ? "the file could not be changed" : changes[at].kept;
        hosts[i].line = rc < 0 ? 0 : changes[at].line;
        at++;
    }
    return rc;
}

int grapnel_known_hosts_write(struct grapnel_known_host *hosts, size_t n,
                              struct grapnel_error *error)
{
    struct knownhosts_change *changes = calloc(n + 1, sizeof *changes);
    char *done = calloc(n + 1, 1), *folder = ssh_folder();
    struct error first = {0};

    for (size_t i = 0; i < n; i++) {
        hosts[i].kept = "memory was out";
        hosts[i].line = 0;
    }
    if (!changes || !done || !folder) {
        errors_set(&first, -E_NOMEM, "known_hosts");
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        struct error e = {0};

        if (!done[i] && write_file(hosts, i, n, changes, done, folder, &e) < 0 && !first.code)
            first = e;
    }
out:
    free(changes);
    free(folder);
    free(done);
    return first.code ? context_error(error, "", &first) : 0;
}
