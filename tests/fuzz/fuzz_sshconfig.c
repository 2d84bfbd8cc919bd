/* A configuration file of any contents, looked up for several hosts; the same as if `ssh -G` had
 * printed it; and what users type.
 * Include is left out: it would read this machine's files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launcher/ssh/sshconfig.h"
#include "launcher/ssh/sshconfig_impl.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {
        "Host *.example.org !bad\n HostName %h.net\n User joe\n Port 22\n",
        "Match host a,b user \"x\" !localuser y\nIdentityFile ~/.ssh/%r@%h-%C\nMatch final all\n",
        "ProxyJump u@h:22,[::1]:3\nSendEnv A B -C*\nSetEnv \"A=b c\" D=e # x\n",
        "UserKnownHostsFile ~/a \"b c\" d\\ e\r\nConnectTimeout=1h2m\nIdentityAgent $HOME\n",
        "Match exec \"x\"\nCiphers +aes*,^x\nStrictHostKeyChecking accept-new\nCompression yes\n",
#define KEYWORD(name, number, kind) name " yes\n",
#define ALIAS(name, number, kind)
#define PASSED(name)
#include "launcher/ssh/sshconfig.def"
#undef KEYWORD
#undef ALIAS
#undef PASSED
        "IgnoreUnknown a,b*\nBee 1\nA=\"\nTag x\n",
        /* As `ssh -G` prints it. */
        "host x\nuser joe\nhostname 10.0.0.1\nport 22\naddressfamily any\nbatchmode no\n"
        "canonicalizehostname false\ncompression no\npubkeyauthentication true\n"
        "stricthostkeychecking ask\nserveraliveinterval 0\nciphers aes128-ctr,aes256-ctr\n",
        "loglevel INFO\nidentityfile ~/.ssh/id_rsa\nidentityfile a b \"c\ncanonicaldomains none\n"
        "globalknownhostsfile /etc/a /etc/b\nuserknownhostsfile none\nconnecttimeout none\n"
        "setenv A=b c\nsendenv LC_*\nproxyjump u@h:22,[::1]:3\nproxycommand nc %h \"#\n",
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sink(arg, (const uint8_t *)all[i], strlen(all[i]));
    }
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

/* True when a line may be an Include: letters in this order, whatever stands between them. */
static int may_include(const char *text)
{
    return strcasestr(text, "include") != NULL;
}

static void check_config(const struct sshconfig *c)
{
    char why[64];
    MUST(c->host[0] != '\0' && c->host[0] != '-' && c->user != NULL && c->lookup_name != NULL);
    MUST(c->port >= 1 && c->port <= 65535);
    MUST((c->ssh_g_why != NULL) == c->needs_ssh_g);
    MUST(sshconfig_needs_openssh(c, why, sizeof(why)) == (why[0] != '\0'));
    const char *const settings[] = {c->ciphers, c->macs, c->kex_algorithms, c->hostkey_algorithms};
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        char *out;
        int rc = sshconfig_algorithms(settings[i], "aes128-ctr,aes256-ctr,x", &out);
        MUST((rc == 0) == (out != NULL));
        free(out);
    }
}

/* Enters what sshconfig_load makes of the output of `ssh -G`. */
static void check_dump(const char *printed)
{
    struct sshconfig_picked p = {.typed = "x", .all = 1};
    struct sshconfig_set *set = calloc(1, sizeof(*set));
    struct sshconfig *c = NULL;
    struct error e = {0};
    char *text = strdup(printed);
    MUST(set != NULL && text != NULL);
    set->home = strdup("/home/x");
    set->local_user = strdup("x");
    int rc = sshconfig_read_dump(set, text, &e);
    for (size_t i = 0; i < set->count; i++) { /* copies, which outlive the text */
        const struct sshconfig_directive *d = &set->at[i];
        MUST(d->key == KEY_BEGIN || d->key == KEY_END || (d->argc > 0 && d->line > 0));
        for (size_t j = 0; j < d->argc; j++) {
            MUST(memchr(d->argv[j], '\n', strlen(d->argv[j])) == NULL);
        }
    }
    free(text);
    if (rc == 0) {
        rc = sshconfig_eval(set, &p, &e);
    }
    if (rc == 0) {
        rc = sshconfig_finish(set, &p, &c, &e);
    }
    MUST(rc == 0 ? c != NULL
                 : c == NULL && rc == e.code && errors_known(rc) && e.detail[0] != '\0');
    if (c != NULL) {
        check_config(c);
    }
    sshconfig_free(c);
    free(p.lists);
    free(p.replaced);
    sshconfig_close(set);
}

static void check_typed(const char *text)
{
    char user[SSHCONFIG_HOST_MAX];
    char host[SSHCONFIG_HOST_MAX];
    unsigned port;
    if (sshconfig_split(text, user, host, &port, NULL) == 0) {
        MUST(host[0] != '\0' && host[0] != '-' && port <= 65535);
    }
    MUST(sshconfig_match(text, text) == 1 || strpbrk(text, "*?") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const hosts[] = {"a", "b.example.org", "10.0.0.1"};
    char path[64];
    char *text = strndup((const char *)data, size);
    MUST(text != NULL);
    check_typed(text);
    if (may_include(text)) {
        free(text);
        return 0;
    }
    check_dump(text);
    free(text);
    int fd = memfd_create("config", MFD_CLOEXEC);
    MUST(fd >= 0);
    MUST(write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct sshconfig_options options = {.file = path, .home = "/home/x", .local_user = "x"};
    struct sshconfig_set *set;
    struct error e = {0};
    if (sshconfig_open(&options, &set, &e) == 0) {
        for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
            struct sshconfig *c;
            if (sshconfig_lookup(set, hosts[i], i == 1 ? "joe" : NULL, 0, &c, &e) == 0) {
                check_config(c);
            }
            sshconfig_free(c);
        }
        sshconfig_close(set);
    } else {
        MUST(set == NULL && e.code < 0 && e.detail[0] != '\0');
    }
    close(fd);
    return 0;
}
