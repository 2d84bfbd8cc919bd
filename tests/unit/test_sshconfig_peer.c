/* ssh_config: generated files, some of them wrong, against `ssh -G`.  GRAPNEL_SSHCONFIG_ROUNDS and
 * GRAPNEL_SSHCONFIG_SEED choose how many and which. */
#include <pwd.h>
#include <stdint.h>

#include "launcher/ssh/sshconfig.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

static uint32_t seed;

static unsigned pick(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % n;
}

#define ONE_OF(...)                                                                                \
    (((const char *const[]){                                                                       \
        __VA_ARGS__})[pick(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))])

/* Now and then something that is to be refused, where that is allowed at all. */
static int bad_allowed;
#define OR_BAD(bad, ...) (bad_allowed && pick(3) == 0 ? (bad) : ONE_OF(__VA_ARGS__))

struct text {
    char s[8192];
    size_t n;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(t->s + t->n, sizeof t->s - t->n, format, list);
    va_end(list);
    if (n > 0 && t->n + (size_t)n < sizeof t->s)
        t->n += (size_t)n;
    t->s[t->n] = '\0';
}

static const char *host_pattern(void)
{
    return ONE_OF("*", "web*", "web1", "db?", "!web1", "!db*", "*.example.com", "WEB1", "real.*",
                  "\"web2\"", "10.0.0.1", "db1 web2", "web? !web2", "real.web1");
}

static void add_match(struct text *t)
{
    add(t, "Match ");
    if (pick(8) == 0) {
        add(t, "%s",
            OR_BAD(ONE_OF("all final", "host", "host x all", "final host", "all all"), "all",
                   "!all", "canonical", "final", "canonical all", "final all", "!final", "ALL",
                   "all # c", "!canonical !all", "final # c"));
    } else {
        for (unsigned i = 1 + pick(2); i > 0; i--) {
            if (pick(6) == 0)
                add(t, "%s ", ONE_OF("final", "!final", "canonical"));
            add(t, "%s%s%s%s ", pick(4) == 0 ? "!" : "",
                ONE_OF("host", "originalhost", "user", "localuser", "Host"),
                pick(6) == 0 ? "=" : " ",
                ONE_OF("web*", "WEB1,db?", "*,!web2", "root", "joe,root", "real.*", "\"web1\"",
                       "!root,*", "*.example.com"));
        }
    }
    add(t, "\n");
}

/* Keywords that are treated alike, values of theirs, and values that are refused. */
static const struct setting {
    const char *keywords[11], *values[11], *bad[11];
} settings[] = {
    {{"HostName"}, {"real.%h", "Real.%h", "10.0.0.9", "x%%y", "fe80::A"}, {NULL}},
    {{"User"}, {"joe", "root", "\"j o\"", "bob # c", "a\\\"b"}, {NULL}},
    {{"PORT"}, {"22", "2222", "65535", "\"99\"", "070"}, {"0", "x", "1 2"}},
    {{"IdentityFile"},
     {"~/k1", "/k2", "\"/k 3\"", "/k4", "none", "~/k1", "/k\\ 5", "'/k6'"},
     {NULL}},
    {{"CertificateFile"}, {"/c1", "~/c2"}, {NULL}},
    {{"IdentitiesOnly"}, {"yes", "no", "true", "YES"}, {NULL}},
    {{"UserKnownHostsFile", "GlobalKnownHostsFile"}, {"/kh1", "/kh1 /kh2", "none"}, {"/kh1 none"}},
    {{"StrictHostKeyChecking"}, {"yes", "no", "ask", "accept-new", "off", "true"}, {"what"}},
    {{"ConnectTimeout"}, {"5", "1m", "1h2m3s", "none", "1W"}, {"5x"}},
    {{"ProxyCommand"},
     {"nc -x %h %p", "none", "\"a b\" # no comment"},
     {"a 'b", "it's", "x \"y\\\""}},
    {{"HostKeyAlias"}, {"alias1", "Alias2"}, {NULL}},
    {{"PasswordAuthentication", "KbdInteractiveAuthentication", "GSSAPIAuthentication",
      "HostbasedAuthentication", "BatchMode", "TCPKeepAlive", "HashKnownHosts", "CheckHostIP",
      "ChallengeResponseAuthentication"},
     {"yes", "no", "True", "false"},
     {"maybe"}},
    {{"PubkeyAuthentication"}, {"yes", "no", "unbound", "host-bound"}, {NULL}},
    {{"AddressFamily"}, {"inet", "inet6", "any"}, {"inet5"}},
    {{"Compression"}, {"yes", "no"}, {"true"}},
    {{"ServerAliveInterval", "ServerAliveCountMax", "ConnectionAttempts",
      "NumberOfPasswordPrompts"},
     {"1", "3", "30"},
     {"2x", "-1"}},
    {{"LogLevel"}, {"QUIET", "debug", "Debug3", "verbose"}, {"loud"}},
    {{"SendEnv"}, {"A B", "LC_*", "-LC_*", "-A", "C # c"}, {NULL}},
    {{"SetEnv"}, {"A=1", "B=2 C=3", "\"D=4 5\""}, {"E"}},
    {{"PreferredAuthentications"}, {"publickey", "password,publickey"}, {NULL}},
    {{"BindAddress", "BindInterface"}, {"1.2.3.4", "lo"}, {NULL}},
    {{"IdentityAgent"}, {"none", "SSH_AUTH_SOCK", "/a"}, {NULL}},
    {{"RevokedHostKeys"}, {"none", "/r1", "~/r2"}, {NULL}},
    {{"Ciphers"}, {"aes128-ctr", "aes256-ctr"}, {NULL}},
    {{"MACs"}, {"hmac-sha2-256"}, {NULL}},
    {{"KexAlgorithms"}, {"curve25519-sha256"}, {NULL}},
    {{"HostKeyAlgorithms"}, {"ssh-ed25519", "rsa-sha2-512"}, {NULL}},
    {{"PubkeyAcceptedKeyTypes"}, {"ssh-ed25519"}, {NULL}},
    /* What the launcher has no use for. */
    {{"ForwardAgent", "VisualHostKey", "ClearAllForwardings", "UpdateHostKeys", "StdinNull"},
     {"yes", "no"},
     {"\"yes"}},
    {{"Cipher", "UseRoaming", "RSAAuthentication", "CompressionLevel", "Protocol"},
     {"1", "x y", "# c"},
     {"", "'"}},
    {{"IgnoreUnknown"}, {"wibble", "W*,x", "wibble,!wobble", "none"}, {"", "a b"}},
    {{"Wibble", "wobble", "WIBBLE"}, {NULL}, {"1", "", "x \"y\" z", "\"", "# c"}},
};

static const char *one_of(const char *const *list)
{
    unsigned n = 1; /* none is empty */
    while (n < 10 && list[n] != NULL)
        n++;
    return list[pick(n)];
}

static void add_setting(struct text *t)
{
    const struct setting *setting = &settings[pick(sizeof settings / sizeof settings[0])];
    const char *equals = ONE_OF(" ", " ", " ", "=", " = ", "\t", "  =");
    int bad = setting->bad[0] != NULL && bad_allowed && pick(3) == 0;
    if (!bad && setting->values[0] == NULL)
        return;
    add(t, "%s%s%s", one_of(setting->keywords), equals,
        one_of(bad ? setting->bad : setting->values));
    add(t, "%s", ONE_OF("\n", "\n", "\n", "\r\n", " \n", " # comment\n", "\t\n"));
}

/* With a comment behind, ssh 9.2 does not take "none" for none. */
static void add_jump(struct text *t)
{
    add(t, "ProxyJump %s\n",
        OR_BAD(ONE_OF("x,", "x:y", "::1"), "j1", "u@j1:22", "none", "j1,j2", "[::1]:5"));
}

static void generate(struct text *t, const char *include)
{
    t->n = 0;
    t->s[0] = '\0';
    for (unsigned lines = 3 + pick(25); lines > 0; lines--) {
        unsigned what = pick(10);
        add(t, "%s", ONE_OF("", "", "  ", "\t", " ="));
        if (what == 0)
            add_match(t);
        else if (what == 1)
            add(t, "Host %s %s\n", host_pattern(), host_pattern());
        else if (what == 2 && include != NULL)
            add(t, "Include %s\n", include);
        else if (what == 3)
            add(t, "%s\n",
                ONE_OF("# a comment", "", "   ", "Host # nothing", "#Port 1", "Include # x",
                       "SendEnv # x", "ProxyCommand # x", "UserKnownHostsFile # x",
                       bad_allowed ? ONE_OF("Match # x", "IdentityFile # x") : ""));
        else if (what == 4 && pick(4) == 0)
            add_jump(t);
        else if (what == 5 && pick(8) == 0)
            add(t, "IgnoreUnknown %s\nWibble %s\n", ONE_OF("wibble", "W*,x", "y,w?bble"),
                OR_BAD("\"", "1", "# c", "x \"y\" z"));
        else
            add_setting(t);
    }
}

/* The values that ssh printed for a keyword, joined by newlines. */
static void of_ssh(const char *dump, const char *keyword, char *out, size_t size)
{
    size_t used = 0, n = strlen(keyword);
    out[0] = '\0';
    for (const char *line = dump; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        if (length > n && strncmp(line, keyword, n) == 0 && line[n] == ' ' && used + length < size)
            used += (size_t)snprintf(out + used, size - used, "%s%.*s", used > 0 ? "\n" : "",
                                     (int)(length - n - 1), line + n + 1);
        line += length + (line[length] == '\n');
    }
}

static void join(const struct sshconfig_list *list, const char *between, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < list->count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? between : "",
                                 list->item[i]);
}

/* ssh prints paths as written: ~ is expanded, "none" and what is repeated left out, as we do. */
static void tidy_paths(char *values, const char *home)
{
    char out[4096] = "";
    size_t used = 0;
    for (char *line = strtok(values, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s%s", line[0] == '~' ? home : "",
                       line[0] == '~' ? line + 1 : line);
        if (strcmp(line, "none") != 0)
            used +=
                (size_t)snprintf(out + used, sizeof out - used, "%s%s", used > 0 ? "\n" : "", path);
    }
    (void)snprintf(values, 4096, "%s", out);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts lines, and leaves each once. */
static void sort_lines(char *values)
{
    char copy[4096], *lines[256] = {NULL};
    size_t n = 0, used = 0;
    (void)snprintf(copy, sizeof copy, "%s", values);
    for (char *line = strtok(copy, "\n"); line != NULL && n < 256; line = strtok(NULL, "\n"))
        lines[n++] = line;
    qsort(lines, n, sizeof *lines, compare_lines);
    values[0] = '\0';
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(lines[i], lines[i - 1]) != 0)
            used += (size_t)sprintf(values + used, "%s\n", lines[i]);
}

static const char *const stricts[] = {"ask", "true", "accept-new", "false"};
static const char *const families[] = {"any", "inet", "inet6"};
static const char *const levels[] = {"SILENT",  "FATAL", "ERROR",  "INFO",
                                     "VERBOSE", "DEBUG", "DEBUG2", "DEBUG3"};

struct pair {
    const char *keyword;
    const char *value; /* NULL: not set */
};

static void compare_texts(const struct sshconfig *c, const char *dump, const char *config)
{
    char theirs[4096];
    const struct pair pairs[] = {
        {"hostname", c->host},
        {"user", c->user},
        {"hostkeyalias", c->hostkey_alias},
        {"proxyjump", c->proxy_jump},
        {"proxycommand", c->proxy_command},
        {"bindaddress", c->bind_address},
        {"bindinterface", c->bind_interface},
        {"preferredauthentications", c->preferred_authentications},
        {"stricthostkeychecking", stricts[c->strict]},
        {"addressfamily", families[c->family]},
        {"loglevel", levels[c->log_level]},
        {"revokedhostkeys", c->revoked_host_keys},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        of_ssh(dump, pairs[i].keyword, theirs, sizeof theirs);
        int none = strcmp(theirs, "none") == 0; /* which we do not tell from "not set" */
        ck_assert_msg(strcmp(none ? "" : theirs, pairs[i].value == NULL ? "" : pairs[i].value) == 0,
                      "%s: ssh \"%s\", ours \"%s\"\n%s", pairs[i].keyword, theirs,
                      pairs[i].value == NULL ? "" : pairs[i].value, config);
    }
}

static void compare_algorithms(const struct sshconfig *c, const char *dump, const char *config)
{
    char theirs[4096];
    const struct pair algorithms[] = {{"ciphers", c->ciphers},
                                      {"macs", c->macs},
                                      {"kexalgorithms", c->kex_algorithms},
                                      {"hostkeyalgorithms", c->hostkey_algorithms},
                                      {"pubkeyacceptedalgorithms", c->pubkey_algorithms}};
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        of_ssh(dump, algorithms[i].keyword, theirs, sizeof theirs);
        if (algorithms[i].value != NULL)
            ck_assert_msg(strcmp(theirs, algorithms[i].value) == 0, "%s", config);
        else
            ck_assert_msg(strchr(theirs, ',') != NULL, "%s %s\n%s", algorithms[i].keyword, theirs,
                          config);
    }
}

static void compare_lists(const struct sshconfig *c, const char *dump, const char *config,
                          const char *home)
{
    char ours[4096], theirs[4096];
    static const char *const lists[] = {
        "identityfile",         "certificatefile", "userknownhostsfile",
        "globalknownhostsfile", "sendenv",         "setenv"};
    const struct sshconfig_list *const values[] = {&c->identity_files,   &c->certificate_files,
                                                   &c->user_known_hosts, &c->global_known_hosts,
                                                   &c->send_env,         &c->set_env};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        of_ssh(dump, lists[i], theirs, sizeof theirs);
        join(values[i], i == 2 || i == 3 ? " " : "\n", ours, sizeof ours);
        if (i < 4)
            tidy_paths(theirs, home);
        if (i == 4) { /* ssh repeats them in the final pass and after Include */
            sort_lines(ours);
            sort_lines(theirs);
        }
        ck_assert_msg(strcmp(ours, theirs) == 0, "%s: ssh \"%s\", ours \"%s\"\n%s", lists[i],
                      theirs, ours, config);
    }
}

static void compare_numbers(const struct sshconfig *c, const char *dump, const char *config)
{
    const struct {
        const char *keyword;
        unsigned value;
        int flag;
    } all[] = {
        {"port", c->port, 0},
        {"connecttimeout", c->connect_timeout, 0},
        {"connectionattempts", c->connection_attempts, 0},
        {"serveraliveinterval", c->alive_interval, 0},
        {"serveralivecountmax", c->alive_count_max, 0},
        {"numberofpasswordprompts", c->password_prompts, 0},
        {"identitiesonly", (unsigned)c->identities_only, 1},
        {"passwordauthentication", (unsigned)c->password_authentication, 1},
        {"kbdinteractiveauthentication", (unsigned)c->kbdint_authentication, 1},
        {"gssapiauthentication", (unsigned)c->gssapi_authentication, 1},
        {"hostbasedauthentication", (unsigned)c->hostbased_authentication, 1},
        {"pubkeyauthentication", (unsigned)c->pubkey_authentication, 1},
        {"batchmode", (unsigned)c->batch_mode, 1},
        {"tcpkeepalive", (unsigned)c->tcp_keepalive, 1},
        {"hashknownhosts", (unsigned)c->hash_known_hosts, 1},
        {"checkhostip", (unsigned)c->check_host_ip, 1},
        {"compression", (unsigned)c->compression, 1},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char theirs[256];
        of_ssh(dump, all[i].keyword, theirs, sizeof theirs);
        int off = strcmp(theirs, "no") == 0 || strcmp(theirs, "false") == 0;
        unsigned value = all[i].flag                   ? (unsigned)!off
                         : strcmp(theirs, "none") == 0 ? 0
                                                       : (unsigned)strtoul(theirs, NULL, 10);
        if (strcmp(all[i].keyword, "serveraliveinterval") == 0 && c->batch_mode && value == 300)
            continue; /* Debian's ssh has this default for BatchMode */
        ck_assert_msg(value == all[i].value, "%s: ssh \"%s\", ours %u\n%s", all[i].keyword, theirs,
                      all[i].value, config);
    }
}

static int quoting_only(const char *s)
{
    return strstr(s, "fe80::A") != NULL;
}

/* One generated configuration. */
static void compare_one(const char *host, const char *user, unsigned port, const char *home)
{
    static char dump[65536], line[512], config[20000];
    struct text main_file, other;
    struct sshconfig_options options = {.file = sshtools_path("main"), .no_environment = 1};
    struct sshconfig_set *set;
    struct sshconfig *c = NULL;
    struct error e = {0};
    bad_allowed = pick(3) == 0;
    generate(&other, NULL);
    generate(&main_file, sshtools_path("other"));
    sshtools_write(sshtools_path("main"), main_file.s);
    sshtools_write(sshtools_path("other"), other.s);
    (void)snprintf(config, sizeof config, "host %s user %s\n---- main\n%s---- other\n%s----", host,
                   user == NULL ? "-" : user, main_file.s, other.s);
    int used = snprintf(line, sizeof line, "ssh -G -F main");
    if (user != NULL)
        used += snprintf(line + used, sizeof line - (size_t)used, " -l %s", user);
    if (port != 0)
        used += snprintf(line + used, sizeof line - (size_t)used, " -p %u", port);
    (void)snprintf(line + used, sizeof line - (size_t)used, " -- %s 2>err", host);
    int status = sshtools_run(dump, sizeof dump, line);
    int rc = sshconfig_open(&options, &set, &e);
    if (rc == 0) {
        rc = sshconfig_lookup(set, host, user, port, &c, &e);
        sshconfig_close(set);
    }
    char *said = sshtools_read(sshtools_path("err"), NULL);
    ck_assert_msg((rc == 0) == (status == 0), "ssh %d %s, ours %d %s\n%s", status, said, rc,
                  e.detail, config);
    free(said);
    if (rc == 0 && !quoting_only(config)) {
        ck_assert_int_eq(c->needs_ssh_g, 0);
        compare_texts(c, dump, config);
        compare_algorithms(c, dump, config);
        compare_lists(c, dump, config, home);
        compare_numbers(c, dump, config);
    }
    sshconfig_free(c);
}

START_TEST(test_against_ssh)
{
    const char *count = getenv("GRAPNEL_SSHCONFIG_ROUNDS"),
               *start = getenv("GRAPNEL_SSHCONFIG_SEED");
    unsigned rounds = count == NULL ? 150 : (unsigned)strtoul(count, NULL, 10);
    uint32_t first = start == NULL ? 1 : (uint32_t)strtoul(start, NULL, 10);
    struct passwd *pw = getpwuid(getuid());
    if (!sshtools_have("ssh") || pw == NULL)
        return;
    for (unsigned i = 0; i < rounds; i++) {
        seed = (first + i) * 2654435761u | 1u;
        (void)pick(2);
        const char *host = ONE_OF("web1", "web2", "db1", "a.example.com", "WEB1", "10.0.0.1");
        const char *user = pick(3) == 0 ? ONE_OF("joe", "root") : NULL;
        compare_one(host, user, pick(4) == 0 ? 2200 : 0, pw->pw_dir);
    }
}
END_TEST

/* URIs mean to us what they mean to ssh. */
START_TEST(test_uris)
{
    static const char *const uris[] = {
        "ssh://h",          "ssh://h/",      "ssh://h/path",     "ssh://us%40er@h", "ssh://u;f=x@h",
        "ssh://a@b@c",      "ssh://@h",      "ssh://h:",         "ssh://h:/",       "ssh://h:22/",
        "ssh://h:22/x",     "ssh://h:0",     "ssh://h:99999",    "ssh://[::1",      "ssh://::1",
        "ssh://h_x:2200",   "ssh://h?q",     "ssh://u%4@h",      "ssh://u%00@h",    "ssh://u:p@h",
        "ssh://-h",         "ssh://h..x",    "ssh://.h",         "ssh://ssh://h",   "ssh://a b",
        "ssh://u%2fx@h:01", "ssh://%41@h:1", "ssh://;p@h",       "ssh://u@",        "ssh://",
        "ssh://u%zz@h",     "ssh://a;b;c@h", "ssh://u@h:65535/", "ssh://h:1:2"};
    char line[256], dump[65536], theirs[256];
    if (!sshtools_have("ssh"))
        return;
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        char user[SSHCONFIG_HOST_MAX], host[SSHCONFIG_HOST_MAX];
        unsigned port;
        (void)snprintf(line, sizeof line, "ssh -G -F none -- '%s' 2>&1", uris[i]);
        int status = sshtools_run(dump, sizeof dump, line);
        int rc = sshconfig_split(uris[i], user, host, &port, NULL);
        ck_assert_msg((rc == 0) == (status == 0), "%s: ssh %d, ours %d", uris[i], status, rc);
        if (rc != 0)
            continue;
        of_ssh(dump, "hostname", theirs, sizeof theirs);
        ck_assert_str_eq(theirs, host);
        of_ssh(dump, "port", theirs, sizeof theirs);
        ck_assert_msg(strtoul(theirs, NULL, 10) == (port == 0 ? 22 : port), "%s", uris[i]);
        of_ssh(dump, "user", theirs, sizeof theirs);
        ck_assert_msg(user[0] == '\0' || strcmp(theirs, user) == 0, "%s", uris[i]);
    }
}
END_TEST

static const char *const table[] = {
#define KEYWORD(name, number, kind) name,
#define ALIAS(name, number, kind)   name,
#define PASSED(name)                name,
#include "launcher/ssh/sshconfig.def"
#undef KEYWORD
#undef ALIAS
#undef PASSED
};

static int in_table(const char *name)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcasecmp(table[i], name) == 0)
            return 1;
    return 0;
}

/* Each keyword of the table is one that ssh knows: a misspelt one would let users' mistakes pass.
 */
START_TEST(test_table_known_to_ssh)
{
    /* Newer than 9.2, or of distributions. */
    static const char *const newer = "tag,obscurekeystroketiming,channeltimeout,versionaddendum,"
                                     "refuseconnection,warnweakcrypto,rsaminsize,setuptimeout,"
                                     "protocolkeepalives,gssapi*";
    static char said[16384];
    struct text all = {.n = 0};
    if (!sshtools_have("ssh"))
        return;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        add(&all, "%s x\n", table[i]);
    sshtools_write(sshtools_path("main"), all.s);
    ck_assert_int_ne(sshtools_run(said, sizeof said, "ssh -G -F main h 2>&1"), 0);
    for (char *line = strtok(said, "\r\n"); line != NULL; line = strtok(NULL, "\r\n")) {
        const char *name = strstr(line, "Bad configuration option: ");
        ck_assert_msg(name == NULL || sshconfig_match_list(strchr(name, ':') + 2, newer, 1) == 1,
                      "%s", line);
    }
}
END_TEST

/* What ssh_config(5) describes is in the table. */
START_TEST(test_manual_in_table)
{
    static char said[65536];
    const char *line = "zcat -f /usr/share/man/man5/ssh_config.5.gz | sed -n 's/^\\.It Cm //p'";
    if (!sshtools_have("ssh") || access("/usr/share/man/man5/ssh_config.5.gz", R_OK) != 0)
        return;
    ck_assert_int_eq(sshtools_run(said, sizeof said, line), 0);
    unsigned count = 0;
    for (char *name = strtok(said, "\n"); name != NULL; name = strtok(NULL, "\n")) {
        if (strcspn(name, " ,:") < strlen(name) || (name[0] >= 'a' && name[0] <= 'z'))
            continue; /* a value, or a criterion of Match */
        ck_assert_msg(in_table(name), "%s", name);
        count++;
    }
    ck_assert_uint_gt(count, 50);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("sshconfig_peer");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, sshtools_enter, sshtools_leave);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, test_against_ssh);
    tcase_add_test(t, test_uris);
    tcase_add_test(t, test_table_known_to_ssh);
    tcase_add_test(t, test_manual_in_table);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
