/* ssh_config: each rule by hand, and hundreds of generated files against `ssh -G`. */
#include <pwd.h>
#include <stdint.h>

#include "launcher/sshconfig.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

static struct sshconfig_options defaults(void)
{
    return (struct sshconfig_options){.home = sshtools_folder,
                                      .local_user = "me",
                                      .system_file = "/nonexistent",
                                      .no_environment = 1};
}

/* Writes `text` as the user's file and looks a host up; the caller frees the result. */
static struct sshconfig *look_up(const char *text, const char *host, const char *user)
{
    struct sshconfig_options options = defaults();
    struct sshconfig_set *set;
    struct sshconfig *c;
    struct error e = {0};
    sshtools_write(sshtools_path("config"), text);
    options.file = sshtools_path("config");
    ck_assert_msg(sshconfig_open(&options, &set, &e) == 0, "%s", e.detail);
    ck_assert_msg(sshconfig_lookup(set, host, user, 0, &c, &e) == 0, "%s", e.detail);
    sshconfig_close(set);
    return c;
}

/* Opens a text that is refused; what the error says. */
static const char *refused(const char *text, int code)
{
    static struct error e;
    struct sshconfig_options options = defaults();
    struct sshconfig_set *set;
    sshtools_write(sshtools_path("config"), text);
    options.file = sshtools_path("config");
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), code);
    ck_assert_ptr_null(set);
    return e.detail;
}

START_TEST(test_defaults)
{
    struct sshconfig *c = look_up("", "Some.Host", NULL);
    ck_assert_str_eq(c->original, "Some.Host");
    ck_assert_str_eq(c->host, "some.host");
    ck_assert_str_eq(c->user, "me");
    ck_assert_int_eq(c->user_set, 0);
    ck_assert_uint_eq(c->port, 22);
    ck_assert_str_eq(c->lookup_name, "some.host");
    ck_assert_uint_eq(c->lookup_port, 22);
    ck_assert_uint_eq(c->identity_files.count, 7);
    ck_assert_int_eq(c->identity_files_default, 1);
    ck_assert_str_eq(c->identity_files.item[0], sshtools_path(".ssh/id_rsa"));
    ck_assert_ptr_null(c->identity_files.item[7]);
    ck_assert_uint_eq(c->user_known_hosts.count, 2);
    ck_assert_str_eq(c->user_known_hosts.item[0], sshtools_path(".ssh/known_hosts"));
    ck_assert_str_eq(c->global_known_hosts.item[0], "/etc/ssh/ssh_known_hosts");
    ck_assert_int_eq(c->strict, SSHCONFIG_STRICT_ASK);
    ck_assert_ptr_null(c->agent_socket);
    ck_assert_ptr_null(c->proxy_jump);
    ck_assert_ptr_null(c->ciphers);
    ck_assert_int_eq(c->pubkey_authentication, 1);
    ck_assert_int_eq(c->gssapi_authentication, 0);
    ck_assert_int_eq(c->tcp_keepalive, 1);
    ck_assert_uint_eq(c->password_prompts, 3);
    ck_assert_uint_eq(c->alive_count_max, 3);
    ck_assert_int_eq(c->log_level, SSHCONFIG_LOG_INFO);
    ck_assert_int_eq(c->needs_ssh_g, 0);
    sshconfig_free(c);
    sshconfig_free(NULL);
    sshconfig_close(NULL);
}
END_TEST

START_TEST(test_blocks_and_quotes)
{
    static const char text[] = "Port = 2222 # a comment\r\n"
                               "\tIDENTITYFILE \"~/a key\"\n"
                               "Host *.example.com !bad.example.com\n"
                               "  User = \"joe\"\n"
                               "  HostName=%h.internal%%\n"
                               "  Port 3333\n"
                               "Host other \"two words\" b?d*\n"
                               "  User other\n"
                               "  IdentityFile ~/b\\ key\n"
                               "  ConnectTimeout 1m30\n"
                               "Host *\n"
                               "  User last\n"
                               "  IdentityFile 'c key'\n"
                               "  Wibble wobble \"unclosed\n"
                               "  SendEnv LANG LC_* X\n  SendEnv -LC_* -Q\n"
                               "  SetEnv A=1 \"B=2 3\"\n  SetEnv C=4";
    struct sshconfig *c = look_up(text, "web.example.com", NULL);
    ck_assert_uint_eq(c->port, 2222);
    ck_assert_str_eq(c->user, "joe");
    ck_assert_str_eq(c->host, "web.example.com.internal%");
    ck_assert_uint_eq(c->identity_files.count, 2);
    ck_assert_str_eq(c->identity_files.item[0], sshtools_path("a key"));
    ck_assert_str_eq(c->identity_files.item[1], "c key");
    ck_assert_int_eq(c->identity_files_default, 0);
    ck_assert_uint_eq(c->send_env.count, 2);
    ck_assert_str_eq(c->send_env.item[1], "X");
    ck_assert_uint_eq(c->set_env.count, 2);
    ck_assert_str_eq(c->set_env.item[1], "B=2 3");
    sshconfig_free(c);

    c = look_up(text, "bad.example.com", "given");
    ck_assert_str_eq(c->user, "given");
    ck_assert_str_eq(c->host, "bad.example.com");
    ck_assert_uint_eq(c->identity_files.count, 3); /* "b?d*" */
    ck_assert_str_eq(c->identity_files.item[1], sshtools_path("b key"));
    ck_assert_uint_eq(c->connect_timeout, 90);
    sshconfig_free(c);
}
END_TEST

START_TEST(test_match)
{
    static const char text[] = "Match originalhost a\n HostName real.a\n"
                               "Match host real.* user me\n Port 1\n"
                               "Match host REAL.A,b !user joe,root\n Compression yes\n"
                               "Match localuser \"me\"\n BatchMode yes\n"
                               "Match all\n User x\n"
                               "Match !all\n BindAddress never\n"
                               "Match canonical\n HashKnownHosts yes\n";
    struct sshconfig *c = look_up(text, "a", NULL);
    ck_assert_str_eq(c->host, "real.a");
    ck_assert_uint_eq(c->port, 1);
    ck_assert_int_eq(c->compression, 1);
    ck_assert_int_eq(c->batch_mode, 1);
    ck_assert_str_eq(c->user, "x");
    ck_assert_ptr_null(c->bind_address);
    ck_assert_int_eq(c->hash_known_hosts, 0);
    sshconfig_free(c);
    c = look_up(text, "b", "joe");
    ck_assert_uint_eq(c->port, 22);
    ck_assert_int_eq(c->compression, 0);
    sshconfig_free(c);

    /* The final pass sees the host as replaced, and adds what is not set yet. */
    c = look_up("Host a\n HostName Real.A\nHost real.a\n Port 7\n IdentityFile x\n"
                "Match final host real.a\n BindAddress now\n User late\nHost a\n User early\n",
                "a", NULL);
    ck_assert_uint_eq(c->port, 7);
    ck_assert_str_eq(c->bind_address, "now");
    ck_assert_str_eq(c->user, "early");
    ck_assert_uint_eq(c->identity_files.count, 1);
    sshconfig_free(c);
}
END_TEST

START_TEST(test_include)
{
    struct sshconfig_options options = defaults();
    struct sshconfig_set *set;
    struct sshconfig *c;
    struct error e = {0};
    ck_assert_int_eq(mkdir(sshtools_path(".ssh"), 0700), 0);
    ck_assert_int_eq(mkdir(sshtools_path(".ssh/d"), 0700), 0);
    ck_assert_int_eq(mkdir(sshtools_path(".ssh/d/folder"), 0700), 0);
    sshtools_write(sshtools_path(".ssh/config"), "Include d/* missing ~/abs\n"
                                                 "Host in\n Include cond\nPort 9\n");
    sshtools_write(sshtools_path(".ssh/d/2"), "User two\n");
    sshtools_write(sshtools_path(".ssh/d/1"), "Host z\nUser z\nHost *\nUser one\nHost none\n");
    sshtools_write(sshtools_path("abs"), "BindAddress abs\n");
    sshtools_write(sshtools_path(".ssh/cond"), "BindInterface i\nHost *\nMACs m\nMatch all\nCiphers c\n");
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
    ck_assert_int_eq(sshconfig_lookup(set, "x", NULL, 0, &c, &e), 0);
    ck_assert_str_eq(c->user, "one");
    ck_assert_str_eq(c->bind_address, "abs");
    ck_assert_ptr_null(c->bind_interface);
    ck_assert_ptr_null(c->macs); /* a block inside a file that does not apply */
    ck_assert_ptr_null(c->ciphers);
    ck_assert_uint_eq(c->port, 22); /* "Port 9" stands in "Host in" still */
    sshconfig_free(c);
    ck_assert_int_eq(sshconfig_lookup(set, "in", NULL, 0, &c, &e), 0);
    ck_assert_str_eq(c->bind_interface, "i");
    ck_assert_str_eq(c->macs, "m");
    ck_assert_str_eq(c->ciphers, "c");
    ck_assert_uint_eq(c->port, 9);
    sshconfig_free(c);
    sshconfig_close(set);

    sshtools_write(sshtools_path(".ssh/config"), "Include config\n");
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), -E_CONFIG);
    ck_assert_ptr_nonnull(strstr(e.detail, "nested"));
    ck_assert_ptr_nonnull(strstr(e.detail, "config:1"));

    /* Sixteen deep is allowed. */
    for (int i = 0; i < 17; i++) {
        char line[64];
        (void)snprintf(line, sizeof line, i < 16 ? "Include n%d\n" : "Port %d\n", i + 1);
        sshtools_write(sshtools_path(i == 0 ? ".ssh/config" : ".ssh/n%d", i), line);
    }
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
    ck_assert_int_eq(sshconfig_lookup(set, "x", NULL, 0, &c, &e), 0);
    ck_assert_uint_eq(c->port, 17);
    sshconfig_free(c);
    sshconfig_close(set);
}
END_TEST

START_TEST(test_refused)
{
    static const struct {
        const char *text, *says;
    } all[] = {
        {"\nPort x\n", ":2: port: bad number"},
        {"Port 0", "port"},
        {"Port 65536", "port"},
        {"Port", "port: missing argument"},
        {"Port 1 2", "extra"},
        {"Host x\nUser \"a\n", ":2: user: no closing quote"},
        {"Compression maybe", "compression"},
        {"StrictHostKeyChecking perhaps", "stricthostkeychecking"},
        {"ConnectTimeout 1x", "bad time"},
        {"ConnectTimeout 99999999999", "bad time"},
        {"AddressFamily inet5", "addressfamily"},
        {"LogLevel loud", "loglevel"},
        {"Match", "match"},
        {"Match host", "match"},
        {"Match all host x", "match"},
        {"Match host x user y all", "match"},
        {"Host", "host"},
        {"SetEnv A", "SetEnv"},
        {"UserKnownHostsFile none x", "none"},
        {"ServerAliveCountMax -1", "bad number"},
        {"User \"\"", "user"},
        {"ProxyCommand", "proxycommand"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const char *said = refused(all[i].text, -E_CONFIG);
        ck_assert_msg(strstr(said, all[i].says) != NULL, "%s: %s", all[i].text, said);
        ck_assert_ptr_nonnull(strstr(said, sshtools_path("config")));
    }
}
END_TEST

START_TEST(test_files)
{
    struct sshconfig_options options = defaults();
    struct sshconfig_set *set;
    struct sshconfig *c;
    struct error e = {0};
    char system_file[256];
    (void)snprintf(system_file, sizeof system_file, "%s", sshtools_path("system"));
    options.system_file = system_file;
    /* None is there. */
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
    sshconfig_close(set);
    /* The user's goes before the system's, the command line before both. */
    ck_assert_int_eq(mkdir(sshtools_path(".ssh"), 0700), 0);
    sshtools_write(sshtools_path(".ssh/config"), "User u\nPort 1\nHost q\n");
    sshtools_write(system_file, "User s\nPort 2\nCompression yes\n");
    static const char *const settings[] = {"Port=5", "port 6", "IdentityFile \"~/x y\""};
    options.settings = settings;
    options.settings_count = 3;
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
    ck_assert_int_eq(sshconfig_lookup(set, "h", NULL, 0, &c, &e), 0);
    ck_assert_str_eq(c->user, "u");
    ck_assert_uint_eq(c->port, 5);
    ck_assert_int_eq(c->compression, 1);
    ck_assert_str_eq(c->identity_files.item[0], sshtools_path("x y"));
    sshconfig_free(c);
    ck_assert_int_eq(sshconfig_lookup(set, "h", "w", 8, &c, &e), 0);
    ck_assert_str_eq(c->user, "w");
    ck_assert_uint_eq(c->port, 8);
    sshconfig_free(c);
    sshconfig_close(set);

    /* Others could write it. */
    ck_assert_int_eq(chmod(sshtools_path(".ssh/config"), 0620), 0);
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), -E_CONFIG);
    ck_assert_ptr_nonnull(strstr(e.detail, "permissions"));
    options.file = "none";
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
    sshconfig_close(set);
    options.file = sshtools_path("missing");
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), -E_IO);
    static const char *const host_setting[] = {"Host x"}, *const bad_setting[] = {"Port=x"};
    options = defaults();
    options.settings_count = 1;
    options.settings = host_setting;
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), -E_CONFIG);
    options.settings = bad_setting;
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), -E_CONFIG);
    ck_assert_ptr_nonnull(strstr(e.detail, "command line"));
}
END_TEST

START_TEST(test_tokens)
{
    char expected[256], local[256] = "";
    struct sshconfig *c;
    ck_assert_int_eq(setenv("GRAPNEL_TEST_VARIABLE", "v a", 1), 0);
    c = look_up("HostName r.%h\nUser ru\nPort 44\nHostKeyAlias Al\n"
                "IdentityFile %d/%u-%r-%h-%n-%p-%k-%%-%i\n"
                "IdentityFile ${GRAPNEL_TEST_VARIABLE}/$x\n"
                "IdentityFile ~root/k\nIdentityFile none\n"
                "UserKnownHostsFile ~/kh.%h /abs\n"
                "GlobalKnownHostsFile /g1 /g2\nCertificateFile %d/c\n"
                "IdentityAgent ~/agent.%r\nProxyCommand  nc %h %p # all of it\n",
                "H", NULL);
    (void)snprintf(expected, sizeof expected, "%s/me-ru-r.h-H-44-al-%%-%lu", sshtools_folder,
                   (unsigned long)getuid());
    ck_assert_str_eq(c->identity_files.item[0], expected);
    ck_assert_str_eq(c->identity_files.item[1], "v a/$x");
    struct passwd *pw = getpwnam("root");
    (void)snprintf(expected, sizeof expected, "%s/k", pw->pw_dir);
    ck_assert_str_eq(c->identity_files.item[2], expected);
    ck_assert_uint_eq(c->identity_files.count, 3);
    ck_assert_str_eq(c->user_known_hosts.item[0], sshtools_path("kh.r.h"));
    ck_assert_str_eq(c->user_known_hosts.item[1], "/abs");
    ck_assert_str_eq(c->global_known_hosts.item[1], "/g2");
    ck_assert_str_eq(c->certificate_files.item[0], sshtools_path("c"));
    ck_assert_str_eq(c->agent_socket, sshtools_path("agent.ru"));
    ck_assert_str_eq(c->proxy_command, "nc %h %p # all of it");
    ck_assert_str_eq(c->lookup_name, "al");
    ck_assert_uint_eq(c->lookup_port, 0);
    sshconfig_free(c);

    (void)gethostname(local, sizeof local - 1);
    c = look_up("IdentityFile %l\nIdentityFile %C\n", "h", NULL);
    ck_assert_str_eq(c->identity_files.item[0], local);
    ck_assert_uint_eq(strlen(c->identity_files.item[1]), 40);
    sshconfig_free(c);

    static const char *const bad[] = {"IdentityFile %Q", "IdentityFile %", "HostName %p",
                                      "IdentityFile ${GRAPNEL_TEST_UNSET}", "IdentityFile ${x",
                                      "IdentityFile ~no-such-user-here/x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sshconfig_options options = defaults();
        struct sshconfig_set *set;
        struct error e = {0};
        sshtools_write(sshtools_path("config"), bad[i]);
        options.file = sshtools_path("config");
        ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
        ck_assert_int_eq(sshconfig_lookup(set, "h", NULL, 0, &c, &e), -E_CONFIG);
        ck_assert_ptr_null(c);
        sshconfig_close(set);
    }
}
END_TEST

START_TEST(test_agent)
{
    struct sshconfig_options options = defaults();
    struct sshconfig_set *set;
    struct sshconfig *c;
    struct error e = {0};
    static const struct {
        const char *setting, *socket;
    } all[] = {
        {"Port 22", "/from/environment"},
        {"IdentityAgent SSH_AUTH_SOCK", "/from/environment"},
        {"IdentityAgent none", NULL},
        {"IdentityAgent $GRAPNEL_TEST_AGENT", "/other"},
        {"IdentityAgent ${GRAPNEL_TEST_AGENT}.x", "/other.x"},
        {"IdentityAgent $GRAPNEL_TEST_UNSET", NULL},
        {"IdentityAgent /a/%r", "/a/me"},
    };
    ck_assert_int_eq(setenv("SSH_AUTH_SOCK", "/from/environment", 1), 0);
    ck_assert_int_eq(setenv("GRAPNEL_TEST_AGENT", "/other", 1), 0);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        options.no_environment = 0;
        options.file = "none";
        options.settings = &all[i].setting;
        options.settings_count = 1;
        ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
        ck_assert_int_eq(sshconfig_lookup(set, "h", NULL, 0, &c, &e), 0);
        if (all[i].socket == NULL)
            ck_assert_ptr_null(c->agent_socket);
        else
            ck_assert_str_eq(c->agent_socket, all[i].socket);
        sshconfig_free(c);
        sshconfig_close(set);
    }
}
END_TEST

/* The first of ProxyJump and ProxyCommand wins; "none" stops later ones of its own kind, and
 * "ProxyCommand none" also jumps. */
START_TEST(test_proxies)
{
    struct sshconfig *c = look_up("ProxyJump a,b\nProxyCommand c\n", "h", NULL);
    ck_assert_str_eq(c->proxy_jump, "a,b");
    ck_assert_ptr_null(c->proxy_command);
    sshconfig_free(c);
    c = look_up("ProxyCommand none\nProxyJump a\n", "h", NULL);
    ck_assert_ptr_null(c->proxy_jump);
    ck_assert_ptr_null(c->proxy_command);
    sshconfig_free(c);
    c = look_up("ProxyJump none\nProxyJump a\nProxyCommand c\n", "h", NULL);
    ck_assert_str_eq(c->proxy_command, "c");
    ck_assert_ptr_null(c->proxy_jump);
    sshconfig_free(c);
}
END_TEST

START_TEST(test_needs_openssh)
{
    static const struct {
        const char *text, *why;
    } all[] = {
        {"", ""},
        {"ProxyCommand x", "ProxyCommand"},
        {"ProxyJump x", "ProxyJump"},
        {"ProxyJump none", ""},
        {"CertificateFile x", "CertificateFile"},
        {"CertificateFile none", ""},
        {"PKCS11Provider /x", "PKCS11Provider"},
        {"PKCS11Provider none", ""},
        {"GSSAPIAuthentication yes", ""},
        {"PreferredAuthentications gssapi-with-mic", "PreferredAuthentications"},
        {"PreferredAuthentications gssapi-with-mic,hostbased", "PreferredAuthentications"},
        {"PreferredAuthentications gssapi-with-mic,publickey", ""},
        {"GSSAPIAuthentication yes\nPubkeyAuthentication no\nPasswordAuthentication no\n"
         "KbdInteractiveAuthentication no",
         "GSSAPIAuthentication"},
        {"HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com", "HostKeyAlgorithms"},
        {"HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com,ssh-ed25519", ""},
        {"HostKeyAlgorithms +ssh-ed25519-cert-v01@openssh.com", ""},
        {"KnownHostsCommand /bin/x", "KnownHostsCommand"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char why[64];
        struct sshconfig *c = look_up(all[i].text, "h", NULL);
        ck_assert_int_eq(sshconfig_needs_openssh(c, why, sizeof why), all[i].why[0] != '\0');
        ck_assert_str_eq(why, all[i].why);
        sshconfig_free(c);
    }
}
END_TEST

START_TEST(test_algorithms)
{
    static const struct {
        const char *setting, *result;
    } all[] = {
        {NULL, "a1,a2,b1"}, {"+c", "a1,a2,b1"},     {"+a1", "a1,a2,b1"}, {"-a*", "b1"},
        {"-a?,b1", NULL},   {"^b1,c", "b1,a1,a2"}, {"b1,a1", "b1,a1"},  {"c,a2", "a2"},
        {"c", NULL},        {"a2,a2,a2", "a2"},     {"", "a1,a2,b1"},    {",,a2,", "a2"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char *out;
        ck_assert_int_eq(sshconfig_algorithms(all[i].setting, "a1,a2,b1", &out),
                         all[i].result == NULL ? -E_UNSUPPORTED : 0);
        if (all[i].result != NULL)
            ck_assert_str_eq(out, all[i].result);
        else
            ck_assert_ptr_null(out);
        free(out);
    }
}
END_TEST

START_TEST(test_split)
{
    static const struct {
        const char *target, *user, *host;
        unsigned port;
    } good[] = {
        {"h", "", "h", 0},
        {"u@h", "u", "h", 0},
        {"u@x@h:22", "u@x", "h", 22},
        {"h:2222", "", "h", 2222},
        {"[::1]", "", "::1", 0},
        {"u@[fe80::1%eth0]:65535", "u", "fe80::1%eth0", 65535},
        {"fe80::1", "", "fe80::1", 0},
        {"ssh://u@h:5/", "u", "h", 5},
        {"ssh://h", "", "h", 0},
        {"ssh://[::1]:5", "", "::1", 5},
    };
    static const char *const bad[] = {"",        "@h",    "u@",   "h:",       "h:0",      "h:65536",
                                      "h:x",     "[::1",  "[]",   "[::1]x",   "u@-oh",    "-h",
                                      "h\x01",   "u\n@h", "h:1x", "h:123456", "[a]:b:1"};
    char user[SSHCONFIG_HOST_MAX], host[SSHCONFIG_HOST_MAX], longest[SSHCONFIG_HOST_MAX + 1];
    unsigned port;
    struct error e = {0};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ck_assert_msg(sshconfig_split(good[i].target, user, host, &port, &e) == 0, "%s",
                      good[i].target);
        ck_assert_str_eq(user, good[i].user);
        ck_assert_str_eq(host, good[i].host);
        ck_assert_uint_eq(port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(sshconfig_split(bad[i], user, host, &port, &e) == -E_ARGUMENT, "%s", bad[i]);
    memset(longest, 'a', sizeof longest);
    longest[SSHCONFIG_HOST_MAX] = '\0';
    ck_assert_int_eq(sshconfig_split(longest, user, host, &port, &e), -E_ARGUMENT);
    longest[SSHCONFIG_HOST_MAX - 1] = '\0';
    ck_assert_int_eq(sshconfig_split(longest, user, host, &port, &e), 0);
}
END_TEST

START_TEST(test_patterns)
{
    ck_assert_int_eq(sshconfig_match("abc", "a*c"), 1);
    ck_assert_int_eq(sshconfig_match("abc", "a?c"), 1);
    ck_assert_int_eq(sshconfig_match("abc", "?"), 0);
    ck_assert_int_eq(sshconfig_match("", "*"), 1);
    ck_assert_int_eq(sshconfig_match("", ""), 1);
    ck_assert_int_eq(sshconfig_match("a", ""), 0);
    ck_assert_int_eq(sshconfig_match("abcabd", "*ab?"), 1);
    ck_assert_int_eq(sshconfig_match("Abc", "abc"), 0);
    ck_assert_int_eq(sshconfig_match_list("abc", "x,A*", 1), 1);
    ck_assert_int_eq(sshconfig_match_list("abc", "x,A*", 0), 0);
    ck_assert_int_eq(sshconfig_match_list("abc", "a*,!*c", 0), -1);
    ck_assert_int_eq(sshconfig_match_list("abc", "!x", 0), 0);
    /* Not exponential. */
    char s[2001], p[2001];
    memset(s, 'a', 2000);
    s[2000] = '\0';
    for (int i = 0; i < 2000; i += 2) {
        p[i] = '*';
        p[i + 1] = 'a';
    }
    p[1999] = 'b';
    p[2000] = '\0';
    ck_assert_int_eq(sshconfig_match(s, p), 0);
}
END_TEST

START_TEST(test_bad_names)
{
    struct sshconfig_options options = defaults();
    struct sshconfig_set *set;
    struct sshconfig *c;
    struct error e = {0};
    options.file = "none";
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
    ck_assert_int_eq(sshconfig_lookup(set, "", NULL, 0, &c, &e), -E_ARGUMENT);
    ck_assert_int_eq(sshconfig_lookup(set, "-oProxyCommand=x", NULL, 0, &c, &e), -E_ARGUMENT);
    ck_assert_int_eq(sshconfig_lookup(set, "a\nb", NULL, 0, &c, &e), -E_ARGUMENT);
    ck_assert_int_eq(sshconfig_lookup(set, "h", "-u", 0, &c, &e), -E_ARGUMENT);
    ck_assert_int_eq(sshconfig_lookup(set, "h", "", 0, &c, &e), -E_ARGUMENT);
    ck_assert_int_eq(sshconfig_lookup(set, "h", NULL, 65536, &c, &e), -E_ARGUMENT);
    sshconfig_close(set);
    static const char *const dash[] = {"HostName -x"};
    options.settings = dash;
    options.settings_count = 1;
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
    ck_assert_int_eq(sshconfig_lookup(set, "h", NULL, 0, &c, &e), -E_CONFIG);
    sshconfig_close(set);
}
END_TEST

/* What only ssh can judge: noticed, and asked of it. */
START_TEST(test_ssh_g)
{
    static const char text[] = "Host h\n Port 77\n"
                               "Match host nothing exec \"exit 0\"\n Port 1\n"
                               "Match host h exec \"test %h = h\"\n User by-exec\n"
                               "Match exec \"false\"\n BindAddress no\n";
    struct sshconfig_options options = defaults();
    struct sshconfig_set *set;
    struct sshconfig *c;
    struct error e = {0};
    sshtools_write(sshtools_path("config"), text);
    options.file = sshtools_path("config");
    options.ssh_program = "/nonexistent/ssh";
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
    ck_assert_int_eq(sshconfig_lookup(set, "h", NULL, 0, &c, &e), 0);
    ck_assert_int_eq(c->needs_ssh_g, 1);
    ck_assert_ptr_nonnull(strstr(c->ssh_g_why, "config:5"));
    sshconfig_free(c);
    ck_assert_int_eq(sshconfig_load(set, "h", NULL, 0, 0, &c, &e), -E_CONFIG);
    ck_assert_ptr_null(c);
    ck_assert_ptr_nonnull(strstr(e.detail, "not installed"));
    ck_assert_ptr_nonnull(strstr(e.detail, "config:5"));
    sshconfig_close(set);
    c = look_up("Match host other exec \"true\"\n Port 1\nCanonicalizeHostname no\n", "h", NULL);
    ck_assert_int_eq(c->needs_ssh_g, 0);
    sshconfig_free(c);
    c = look_up("Match tagged x\n Port 1\n", "h", NULL);
    ck_assert_int_eq(c->needs_ssh_g, 1);
    sshconfig_free(c);
    c = look_up("CanonicalizeHostname yes", "h", NULL);
    ck_assert_int_eq(c->needs_ssh_g, 1);
    sshconfig_free(c);
    if (!sshtools_have("ssh"))
        return;
    size_t files = sshtools_open_files();
    static const char *const settings[] = {"Ciphers=aes128-ctr"};
    options.ssh_program = NULL;
    options.settings = settings;
    options.settings_count = 1;
    sshtools_write(sshtools_path("config"), text);
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
    ck_assert_msg(sshconfig_load(set, "h", NULL, 0, 0, &c, &e) == 0, "%s", e.detail);
    ck_assert_int_eq(c->needs_ssh_g, 0);
    ck_assert_str_eq(c->user, "by-exec");
    ck_assert_int_eq(c->user_set, 1);
    ck_assert_uint_eq(c->port, 77);
    ck_assert_str_eq(c->ciphers, "aes128-ctr");
    ck_assert_ptr_null(c->macs); /* ssh's default is nobody's wish */
    ck_assert_ptr_null(c->bind_address);
    ck_assert_int_eq(c->identity_files_default, 1);
    sshconfig_free(c);
    ck_assert_int_eq(sshconfig_load(set, "h", "given", 5, 0, &c, &e), 0);
    ck_assert_str_eq(c->user, "given");
    ck_assert_uint_eq(c->port, 5);
    sshconfig_free(c);
    sshconfig_close(set);
    ck_assert_uint_eq(sshtools_open_files(), files);
}
END_TEST

/* A program in ssh's place that fails, hangs, or talks without end. */
START_TEST(test_ssh_g_trouble)
{
    static const struct {
        const char *script;
        int code;
        const char *says;
    } all[] = {
        {"#!/bin/sh\nprintf 'bad \\033[31mthing\\nmore' >&2\nexit 255\n", -E_CONFIG,
         "bad \\x1b[31mthing"},
        {"#!/bin/sh\nexit 3\n", -E_CONFIG, "status 3"},
        {"#!/bin/sh\nkill -9 $$\n", -E_CONFIG, "status 137"},
        {"#!/bin/sh\nexec sleep 1000\n", -E_TIMEOUT, "in time"},
        {"#!/bin/sh\nexec >&- 2>&-\nexec sleep 1000\n", -E_TIMEOUT, "in time"},
        {"#!/bin/sh\nsleep 1000 & exit 0\n", -E_TIMEOUT, "in time"},
        {"#!/bin/sh\nexec yes\n", -E_LIMIT, "bytes"},
        {"#!/bin/sh\necho 'port x'\n", -E_CONFIG, "port"},
        {"#!/bin/sh\ndd if=/dev/zero bs=100000 count=5 >&2; exit 1\n", -E_CONFIG, "status 1"},
    };
    struct sshconfig_options options = defaults();
    struct sshconfig_set *set;
    struct sshconfig *c;
    static const char *const settings[] = {"CanonicalizeHostname yes"};
    size_t files = sshtools_open_files();
    char program[256];
    (void)snprintf(program, sizeof program, "%s", sshtools_path("fake"));
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct error e = {0};
        sshtools_write_n(program, all[i].script, strlen(all[i].script), 0700);
        options.file = "none";
        options.ssh_program = program;
        options.settings = settings;
        options.settings_count = 1;
        ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
        int rc = sshconfig_load(set, "h", NULL, 0, all[i].code == -E_TIMEOUT ? 200 : 10000, &c, &e);
        ck_assert_msg(rc == all[i].code, "%s: %d %s", all[i].script, rc, e.detail);
        ck_assert_msg(strstr(e.detail, all[i].says) != NULL, "%s: %s", all[i].script, e.detail);
        ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
        sshconfig_close(set);
    }
    ck_assert_uint_eq(sshtools_open_files(), files);
}
END_TEST

/* ---- against `ssh -G` ---- */

static uint32_t seed;

static unsigned pick(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % n;
}

#define ONE_OF(...)                                                                                \
    (((const char *const[]){__VA_ARGS__})[pick(                                                    \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))])

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
        add(t, "%s", OR_BAD(ONE_OF("all final", "host", "host x all", "final host", "all all"), "all", "!all",
                            "canonical", "final", "canonical all", "final all", "!final", "ALL",
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

static void add_setting(struct text *t)
{
    const char *equals = ONE_OF(" ", " ", " ", "=", " = ", "\t", "  =");
    switch (pick(24)) {
    case 0:
        add(t, "HostName%s%s", equals, ONE_OF("real.%h", "Real.%h", "10.0.0.9", "x%%y", "fe80::A"));
        break;
    case 1:
        add(t, "User%s%s", equals, ONE_OF("joe", "root", "\"j o\"", "bob # c", "a\\\"b"));
        break;
    case 2:
        add(t, "PORT%s%s", equals, OR_BAD(ONE_OF("0", "x", "1 2"), "22", "2222", "65535", "\"99\"", "070"));
        break;
    case 3:
        add(t, "IdentityFile%s%s", equals,
            ONE_OF("~/k1", "/k2", "\"/k 3\"", "/k4", "none", "~/k1", "/k\\ 5", "'/k6'"));
        break;
    case 4:
        add(t, "CertificateFile%s%s", equals, ONE_OF("/c1", "~/c2"));
        break;
    case 5:
        add(t, "IdentitiesOnly%s%s", equals, ONE_OF("yes", "no", "true", "YES"));
        break;
    case 6:
        add(t, "%s%s%s", ONE_OF("UserKnownHostsFile", "GlobalKnownHostsFile"), equals,
            OR_BAD("/kh1 none", "/kh1", "/kh1 /kh2", "none"));
        break;
    case 7:
        add(t, "StrictHostKeyChecking%s%s", equals,
            OR_BAD("what", "yes", "no", "ask", "accept-new", "off", "true"));
        break;
    case 8:
        add(t, "ConnectTimeout%s%s", equals, OR_BAD("5x", "5", "1m", "1h2m3s", "none", "1W"));
        break;
    case 9:
        add(t, "ProxyCommand%s%s", equals, ONE_OF("nc -x %h %p", "none", "\"a b\" # no comment"));
        break;
    case 10:
        add(t, "ProxyJump%s%s", equals, OR_BAD(ONE_OF("x,", "x:y", "::1"), "j1", "u@j1:22", "none", "j1,j2", "[::1]:5"));
        add(t, "\n"); /* with a comment behind, ssh 9.2 does not take "none" for none */
        return;
    case 11:
        add(t, "HostKeyAlias%s%s", equals, ONE_OF("alias1", "Alias2"));
        break;
    case 12:
        add(t, "%s%s%s",
            ONE_OF("PasswordAuthentication", "KbdInteractiveAuthentication",
                   "GSSAPIAuthentication", "HostbasedAuthentication", "BatchMode", "TCPKeepAlive",
                   "HashKnownHosts", "CheckHostIP", "ChallengeResponseAuthentication"),
            equals, OR_BAD("maybe", "yes", "no", "True", "false"));
        break;
    case 13:
        add(t, "PubkeyAuthentication%s%s", equals, ONE_OF("yes", "no", "unbound", "host-bound"));
        break;
    case 14:
        add(t, "AddressFamily%s%s", equals, OR_BAD("inet5", "inet", "inet6", "any"));
        break;
    case 15:
        add(t, "Compression%s%s", equals, OR_BAD("true", "yes", "no"));
        break;
    case 16:
        add(t, "%s%s%s", ONE_OF("ServerAliveInterval", "ServerAliveCountMax", "ConnectionAttempts",
                                "NumberOfPasswordPrompts"),
            equals, OR_BAD(ONE_OF("2x", "-1"), "1", "3", "30"));
        break;
    case 17:
        add(t, "LogLevel%s%s", equals, OR_BAD("loud", "QUIET", "debug", "Debug3", "verbose"));
        break;
    case 18:
        add(t, "SendEnv%s%s", equals, ONE_OF("A B", "LC_*", "-LC_*", "-A", "C # c"));
        break;
    case 19:
        add(t, "SetEnv%s%s", equals, OR_BAD("E", "A=1", "B=2 C=3", "\"D=4 5\""));
        break;
    case 20:
        add(t, "PreferredAuthentications%s%s", equals, ONE_OF("publickey", "password,publickey"));
        break;
    case 21:
        add(t, "%s%s%s", ONE_OF("BindAddress", "BindInterface"), equals, ONE_OF("1.2.3.4", "lo"));
        break;
    case 22:
        add(t, "IdentityAgent%s%s", equals, ONE_OF("none", "SSH_AUTH_SOCK", "/a"));
        break;
    default:
        add(t, "%s", ONE_OF("Ciphers aes128-ctr", "Ciphers aes256-ctr", "MACs hmac-sha2-256",
                            "KexAlgorithms curve25519-sha256", "HostKeyAlgorithms ssh-ed25519",
                            "HostKeyAlgorithms rsa-sha2-512", "PubkeyAcceptedKeyTypes ssh-ed25519"));
        break;
    }
    add(t, "%s", ONE_OF("\n", "\n", "\n", "\r\n", " \n", " # comment\n", "\t\n"));
}

static void generate(struct text *t, const char *include)
{
    t->n = 0;
    t->s[0] = '\0';
    for (unsigned lines = 3 + pick(25); lines > 0; lines--) {
        unsigned what = pick(10);
        add(t, "%s", ONE_OF("", "", "  ", "\t"));
        if (what == 0)
            add_match(t);
        else if (what == 1)
            add(t, "Host %s %s\n", host_pattern(), host_pattern());
        else if (what == 2 && include != NULL)
            add(t, "Include %s\n", include);
        else if (what == 3)
            add(t, "%s\n", ONE_OF("# a comment", "", "   ", "Host # nothing", "#Port 1", "Include # x",
                                 "SendEnv # x", "ProxyCommand # x", "UserKnownHostsFile # x",
                                 bad_allowed ? ONE_OF("Match # x", "IdentityFile # x") : ""));
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
        if (length > n && strncmp(line, keyword, n) == 0 && line[n] == ' ' &&
            used + length < size)
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
            used += (size_t)snprintf(out + used, sizeof out - used, "%s%s", used > 0 ? "\n" : "",
                                     path);
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
    char copy[4096], *lines[256];
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
static const char *const levels[] = {"SILENT", "FATAL", "ERROR", "INFO", "VERBOSE", "DEBUG",
                                     "DEBUG2", "DEBUG3"};

struct pair {
    const char *keyword;
    const char *value; /* NULL: not set */
};

static void compare_texts(const struct sshconfig *c, const char *dump, const char *config,
                          const char *home)
{
    char ours[4096], theirs[4096];
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
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        of_ssh(dump, pairs[i].keyword, theirs, sizeof theirs);
        int none = strcmp(theirs, "none") == 0; /* which we do not tell from "not set" */
        ck_assert_msg(strcmp(none ? "" : theirs, pairs[i].value == NULL ? "" : pairs[i].value) == 0,
                      "%s: ssh \"%s\", ours \"%s\"\n%s", pairs[i].keyword, theirs,
                      pairs[i].value == NULL ? "" : pairs[i].value, config);
    }
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
    static const char *const lists[] = {"identityfile", "certificatefile", "userknownhostsfile",
                                        "globalknownhostsfile", "sendenv", "setenv"};
    const struct sshconfig_list *const values[] = {&c->identity_files,     &c->certificate_files,
                                                   &c->user_known_hosts,   &c->global_known_hosts,
                                                   &c->send_env,           &c->set_env};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        of_ssh(dump, lists[i], theirs, sizeof theirs);
        join(values[i], i == 2 || i == 3 ? " " : "\n", ours, sizeof ours);
        if (i < 4)
            tidy_paths(theirs, home);
        if (i == 4) { /* ssh repeats them in the final pass and after Include */
            sort_lines(ours);
            sort_lines(theirs);
        }
        ck_assert_msg(strcmp(ours, theirs) == 0, "%s: ssh \"%s\", ours \"%s\"\n%s", lists[i], theirs,
                      ours, config);
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
        unsigned value = all[i].flag                    ? (unsigned)!off
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
    ck_assert_msg((rc == 0) == (status == 0), "ssh %d %s, ours %d %s\n%s", status, said, rc, e.detail,
                  config);
    free(said);
    if (rc == 0 && !quoting_only(config)) {
        ck_assert_int_eq(c->needs_ssh_g, 0);
        compare_texts(c, dump, config, home);
        compare_numbers(c, dump, config);
    }
    sshconfig_free(c);
}

START_TEST(test_against_ssh)
{
    const char *count = getenv("GRAPNEL_SSHCONFIG_ROUNDS"), *start = getenv("GRAPNEL_SSHCONFIG_SEED");
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

static Suite *suite(void)
{
    Suite *s = suite_create("sshconfig");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, sshtools_enter, sshtools_leave);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, test_defaults);
    tcase_add_test(t, test_blocks_and_quotes);
    tcase_add_test(t, test_match);
    tcase_add_test(t, test_include);
    tcase_add_test(t, test_refused);
    tcase_add_test(t, test_files);
    tcase_add_test(t, test_tokens);
    tcase_add_test(t, test_agent);
    tcase_add_test(t, test_proxies);
    tcase_add_test(t, test_needs_openssh);
    tcase_add_test(t, test_algorithms);
    tcase_add_test(t, test_split);
    tcase_add_test(t, test_patterns);
    tcase_add_test(t, test_bad_names);
    tcase_add_test(t, test_ssh_g);
    tcase_add_test(t, test_ssh_g_trouble);
    tcase_add_test(t, test_against_ssh);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
