/* Code that is sent to the host calls a function of this program: a search for large files there
 * reports each one that it finds, here, while it goes on.
 *
 *     ./callback root@web1 /var/log 1000000
 */
#include <grapnel.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char search[] = "local folder, least, found = ...\n"
                             "local fs, count = require 'fs', 0\n"
                             "local function visit(path)\n"
                             "    for _, name in ipairs(fs.list(path) or {}) do\n"
                             "        local full = path .. '/' .. name\n"
                             "        local st = fs.stat(full, false)\n"
                             "        if st and st.type == 'directory' then\n"
                             "            visit(full)\n"
                             "        elseif st and st.size >= least then\n"
                             "            count = count + 1\n"
                             "            found(full, st.size)\n"
                             "        end\n"
                             "    end\n"
                             "end\n"
                             "visit(folder)\n"
                             "return count\n";

/* Runs for every call from there; what it returns is what `found` returns there. */
static void found(void *arg, struct grapnel_request *request, const struct grapnel_value *args)
{
    const char *path = grapnel_value_string(grapnel_value_at(args, 0), NULL);
    int64_t *total = arg, size = grapnel_value_int(grapnel_value_at(args, 1), 0);

    *total += size;
    printf("%12" PRId64 " %s\n", size, path ? path : "?");
    grapnel_return(request, "");
}

int main(int argc, char **argv)
{
    struct grapnel_connect_options options = {.transport = getenv("TRANSPORT")};
    struct grapnel_error error;
    struct grapnel *g = NULL;
    struct grapnel_server *s = NULL;
    struct grapnel_instance *i = NULL;
    struct grapnel_value *count = NULL;
    int64_t total = 0;
    int ok;

    if (argc != 4) {
        fprintf(stderr, "usage: callback HOST FOLDER LEAST_SIZE\n");
        return 2;
    }
    ok = (g = grapnel_new(NULL, &error)) != NULL &&
         (s = grapnel_open(g, argv[1], &options, &error)) != NULL &&
         (i = grapnel_instance_open(s, NULL, &error)) != NULL &&
         grapnel_call(i, "execute", &count, &error, "ssxf", search, argv[2],
                      (int64_t)strtoll(argv[3], NULL, 10), found, &total) == 0;
    if (ok) {
        printf("%" PRId64 " files, %" PRId64 " bytes\n", grapnel_value_int(count, 0), total);
    } else {
        char words[1400];
        grapnel_error_format(&error, words, sizeof words);
        fprintf(stderr, "%s\n", words);
    }
    grapnel_value_free(count);
    grapnel_instance_free(i);
    grapnel_server_free(s);
    grapnel_free(g);
    return ok ? 0 : 1;
}
