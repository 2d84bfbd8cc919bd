/* ssh_config: each rule by hand (test_sshconfig_peer.c compares with ssh itself). */
#include <errno.h>
#include <pwd.h>
#include <stdint.h>
#include <time.h>

#include "launcher/ssh/sshconfig.h"
#include "launcher/ssh/sshsources.h"
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
                               "  Tunnel wobble, whatever\n"
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
    sshtools_write(sshtools_path(".ssh/cond"),
                   "BindInterface i\nHost *\nMACs m\nMatch all\nCiphers c\n");
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
        {"ProxyCommand it's", "proxycommand: no closing quote"},
        {"ForwardAgent", "forwardagent: missing argument"},
        {"\nLocalCommand \"x", ":2: localcommand: no closing quote"},
        {"Wibble", ":1: wibble: missing argument"},
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
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), -E_CONFIG);
    ck_assert_ptr_nonnull(strstr(e.detail, options.file));
    ck_assert_ptr_nonnull(strstr(e.detail, strerror(ENOENT)));
    static const char *const host_setting[] = {"Host x"}, *const bad_setting[] = {"Port=x"};
    options = defaults();
    options.settings_count = 1;
    options.settings = host_setting;
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), -E_CONFIG);
    options.settings = bad_setting;
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), -E_CONFIG);
    ck_assert_str_eq(e.detail, "-o port: bad number");
}
END_TEST

/* The error when `text` is read and a host looked up: code, and what it says. */
static int unknown_in(const char *text, const char *const *settings, size_t count, struct error *e)
{
    struct sshconfig_options options = defaults();
    struct sshconfig_set *set;
    struct sshconfig *c;
    sshtools_write(sshtools_path("config"), text);
    options.file = sshtools_path("config");
    options.settings = settings;
    options.settings_count = count;
    ck_assert_msg(sshconfig_open(&options, &set, e) == 0, "%s", e->detail);
    int rc = sshconfig_lookup(set, "h", NULL, 0, &c, e);
    ck_assert_int_eq(rc == 0, c != NULL);
    sshconfig_free(c);
    sshconfig_close(set);
    return rc;
}

/* Keywords that nobody knows are refused, unless IgnoreUnknown stands above and applies. */
START_TEST(test_unknown_keywords)
{
    static const char *const passing[] = {
        "ForwardAgent yes\nTag x\nCipher # c\nGSSAPIKeyExchange no\nProtocol 2\n",
        "IgnoreUnknown wibble\nHost other\nWIBBLE 1 \"2 3\"\n",
        "IgnoreUnknown x,w*,!wobble\nWibble # nothing\n",
        "Host h\nIgnoreUnknown wibble\nHost other\nIgnoreUnknown none\nHost *\nWibble 1\n",
        "Match exec true\nIgnoreUnknown wibble\nMatch all\nWibble 1\n", /* ssh judges */
    };
    static const char *const refusing[] = {
        "\nWibble 1\n",
        "Host other\nWibble 1\n",
        "IgnoreUnknown wobble\nWibble 1\nIgnoreUnknown *\n",
        "Host other\nIgnoreUnknown wibble\nHost *\nWibble 1\n",
        "IgnoreUnknown *,!wibble\nWibble 1\n",
    };
    static const char *const good[] = {"IgnoreUnknown=wibble", "Wibble=1"};
    static const char *const late[] = {"Wibble=1", "IgnoreUnknown=wibble"};
    struct error e = {0};
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++)
        ck_assert_msg(unknown_in(passing[i], NULL, 0, &e) == 0, "%s%s", passing[i], e.detail);
    for (size_t i = 0; i < sizeof refusing / sizeof refusing[0]; i++) {
        ck_assert_msg(unknown_in(refusing[i], NULL, 0, &e) == -E_CONFIG, "%s", refusing[i]);
        ck_assert_ptr_nonnull(strstr(e.detail, "unknown keyword \"wibble\""));
        ck_assert_ptr_nonnull(strstr(e.detail, "put IgnoreUnknown=wibble before it"));
    }
    ck_assert_ptr_nonnull(strstr(e.detail, "config:2: "));
    ck_assert_int_eq(unknown_in("Wibble 2\n", good, 2, &e), 0);
    ck_assert_int_eq(unknown_in("", late, 2, &e), -E_CONFIG);
    ck_assert_str_eq(e.detail, "-o: unknown keyword \"wibble\"; if another program knows it, "
                               "put -o IgnoreUnknown=wibble before it");
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

    static const char *const bad[] = {"IdentityFile %Q",  "IdentityFile %",
                                      "HostName %p",      "IdentityFile ${GRAPNEL_TEST_UNSET}",
                                      "IdentityFile ${x", "IdentityFile ~no-such-user-here/x"};
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
        {"RevokedHostKeys /x", "RevokedHostKeys"},
        {"RevokedHostKeys none", ""},
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
        {NULL, "a1,a2,b1"}, {"+c", "a1,a2,b1"},    {"+a1", "a1,a2,b1"}, {"-a*", "b1"},
        {"-a?,b1", NULL},   {"^b1,c", "b1,a1,a2"}, {"b1,a1", "b1,a1"},  {"c,a2", "a2"},
        {"c", NULL},        {"a2,a2,a2", "a2"},    {"", "a1,a2,b1"},    {",,a2,", "a2"},
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
        {"ssh://us%40er@h:", "us@er", "h", 0},
        {"ssh://u;fingerprint=x@h", "u", "h", 0},
        {"h/x", "", "h/x", 0}, /* it may be an alias */
    };
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
    memset(longest, 'a', sizeof longest);
    longest[SSHCONFIG_HOST_MAX] = '\0';
    ck_assert_int_eq(sshconfig_split(longest, user, host, &port, &e), -E_ARGUMENT);
    longest[SSHCONFIG_HOST_MAX - 1] = '\0';
    ck_assert_int_eq(sshconfig_split(longest, user, host, &port, &e), 0);
}
END_TEST

START_TEST(test_split_refused)
{
    static const struct {
        const char *target, *says;
    } bad[] = {
        {"", "name is missing"},
        {"@h", "user's name is missing"},
        {"u@", "host's name is missing"},
        {"u@:22", "host's name is missing"},
        {"h:", "no port behind"},
        {"h:0", "\"0\" is no port"},
        {"h:65536", "1 to 65535"},
        {"h:x", "\"x\" is no port"},
        {"h:1x", "no port"},
        {"h:123456", "no port"},
        {"h:22/", "no port"},
        {"h:-1", "no port"},
        {"[::1", "] is missing"},
        {"[]", "name is missing"},
        {"web[1", "around an address"},
        {"u@web1]:22", "around an address"},
        {"[::1]x", "only a port"},
        {"[a]:b:1", "no port"},
        {"h:22:33", "no IPv6 address"},
        {"u@-oh", "begins with -"},
        {"-h", "begins with -"},
        {"h\x01", "control characters in the host's name"},
        {"u\n@h", "control characters in the user's name"},
        {"http://h", "\"http://\" cannot name a host: use [USER@]HOST[:PORT] or ssh://"},
        {"SSH://h", "\"SSH://\" cannot name"},
        {"https://h:443/x", "\"https://\" cannot name"},
        {"ssh://", "name is missing"},
        {"ssh://u@", "host's name is missing"},
        {"ssh://@h", "user's name is missing"},
        {"ssh://;x@h", "user's name is missing"},
        {"ssh://h:99999", "\"99999\" is no port"},
        {"ssh://h/path", "a path"},
        {"ssh://h:22/path", "a path"},
        {"ssh://h:/", "no port behind"},
        {"ssh://u%4@h", "two digits"},
        {"ssh://u%00@h", "two digits"},
        {"ssh://u%0a@h", "control characters"},
        {"ssh://a@b@c", "\"b@c\" is no host name"},
        {"ssh://a b", "no host name"},
        {"ssh://h..x", "no host name"},
        {"ssh://-h", "begins with -"},
    };
    char user[SSHCONFIG_HOST_MAX], host[SSHCONFIG_HOST_MAX];
    unsigned port;
    struct error e = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(sshconfig_split(bad[i].target, user, host, &port, &e) == -E_ARGUMENT, "%s",
                      bad[i].target);
        ck_assert_msg(strstr(e.detail, bad[i].says) != NULL, "%s: %s", bad[i].target, e.detail);
    }
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

/* The one file too many may be included by nobody. */
START_TEST(test_too_many_files)
{
    enum { INCLUDES = 65534 }; /* with the -o settings and the user's file: as many as may be */
    static char text[INCLUDES * 10 + 1];
    struct sshconfig_options options = defaults();
    struct sshconfig_set *set;
    struct error e = {0};
    ck_assert_int_eq(mkdir(sshtools_path(".ssh"), 0700), 0);
    sshtools_write(sshtools_path(".ssh/e"), "");
    for (size_t i = 0; i < INCLUDES; i++)
        memcpy(text + i * 10, "Include e\n", 10);
    sshtools_write_n(sshtools_path(".ssh/config"), text, sizeof text - 1, 0600);
    options.system_file = sshtools_path("system");
    sshtools_write(options.system_file, "Port 2\n");
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), -E_LIMIT);
    ck_assert_ptr_nonnull(strstr(e.detail, options.system_file));
}
END_TEST

/* What `ssh -G` prints are values: a line that names a block or a file is none. */
START_TEST(test_ssh_g_values_only)
{
    const char *program = sshtools_path("program");
    struct sshconfig_options options = defaults();
    static const char *const settings[] = {"CanonicalizeHostname=yes"};
    struct sshconfig_set *set;
    struct sshconfig *c;
    struct error e = {0};
    char script[512];
    sshtools_write(sshtools_path("more"), "Port 9\n");
    (void)snprintf(script, sizeof script,
                   "#!/bin/sh\nprintf 'host h\\nmatch host\\ninclude %s\\nport 7\\n'",
                   sshtools_path("more"));
    sshtools_write_n(program, script, strlen(script), 0700);
    options.file = "none";
    options.ssh_program = program;
    options.settings = settings;
    options.settings_count = 1;
    ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
    ck_assert_msg(sshconfig_load(set, "h", NULL, 0, 0, &c, &e) == 0, "%s", e.detail);
    ck_assert_uint_eq(c->port, 7);
    sshconfig_free(c);
    sshconfig_close(set);
}
END_TEST

static uint64_t later(void)
{
    static uint64_t now_us = 1000000;
    return now_us += 1000;
}

/* What the user's file is read from, once it is old enough to be told from what comes next. */
static struct sshsources *read_sources(void)
{
    struct sshconfig_options options = defaults();
    struct sshsources *s = NULL;
    struct sshconfig_set *set;
    struct error e = {0};
    options.file = sshtools_path("config");
    do {
        sshsources_free(s);
        ck_assert_msg(sshconfig_open(&options, &set, &e) == 0, "%s", e.detail);
        s = sshsources_hold(sshconfig_sources(set));
        sshconfig_close(set);
        ck_assert_ptr_nonnull(s);
    } while (sshsources_changed(s, later()));
    return s;
}

static void changes(struct sshsources **s)
{
    ck_assert_int_eq(sshsources_changed(*s, later()), 1);
    sshsources_free(*s);
    *s = read_sources();
}

START_TEST(test_sources)
{
    struct sshsources *s, *again;
    char text[600];
    (void)snprintf(text, sizeof text, "Include %s\nInclude %s\n", sshtools_path("more/*.conf"),
                   sshtools_path("one"));
    sshtools_write(sshtools_path("config"), text);
    ck_assert_int_eq(mkdir(sshtools_path("more"), 0700), 0);
    s = read_sources();
    ck_assert_int_eq(sshsources_changed(s, later()), 0);
    sshtools_write(sshtools_path("one"), "Port 1\n"); /* was not there */
    changes(&s);
    sshtools_write(sshtools_path("one"), "Port 2\n"); /* as long as before */
    changes(&s);
    sshtools_write(sshtools_path("more/a.conf"), "Port 3\n");
    changes(&s);
    sshtools_write(sshtools_path("more/a.conf"), "Port 4\n");
    changes(&s);
    ck_assert_int_eq(unlink(sshtools_path("more/a.conf")), 0);
    changes(&s);
    sshtools_write(sshtools_path("new"), text);
    ck_assert_int_eq(rename(sshtools_path("new"), sshtools_path("config")), 0);
    changes(&s);
    /* Two who read the same have the same; what differs once, does so for ever. */
    again = read_sources();
    ck_assert_int_eq(sshsources_same(s, again), 1);
    ck_assert_int_eq(sshsources_same(s, NULL), 0);
    ck_assert_int_eq(sshsources_same(NULL, NULL), 1);
    sshsources_free(again);
    ck_assert_int_eq(rename(sshtools_path("one"), sshtools_path("two")), 0);
    ck_assert_int_eq(sshsources_changed(s, later()), 1);
    ck_assert_int_eq(rename(sshtools_path("two"), sshtools_path("one")), 0);
    ck_assert_int_eq(sshsources_changed(s, later()), 1);
    sshsources_free(s);
    ck_assert_int_eq(sshsources_changed(NULL, later()), 0);
    sshsources_free(NULL);
}
END_TEST

/* Who asks again and again makes no system calls for that. */
START_TEST(test_sources_are_looked_at_now_and_then)
{
    struct sshsources *s;
    uint64_t now;
    sshtools_write(sshtools_path("config"), "Port 1\n");
    s = read_sources();
    now = later();
    ck_assert_int_eq(sshsources_changed(s, now), 0);
    ck_assert_int_eq(unlink(sshtools_path("config")), 0);
    ck_assert_int_eq(sshsources_changed(s, now + 99), 0);
    ck_assert_int_eq(sshsources_changed(s, now + 100), 1);
    sshsources_free(s);
}
END_TEST

/* Within one tick of the file system's clock, a further change would look the same. */
START_TEST(test_sources_that_were_just_changed_are_not_trusted)
{
    struct sshconfig_options options = defaults();
    struct sshconfig_set *set;
    struct error e = {0};
    struct timespec a, b;
    int sure;
    options.file = sshtools_path("config");
    do { /* it may have taken long */
        clock_gettime(CLOCK_MONOTONIC, &a);
        sshtools_write(options.file, "Port 1\n");
        ck_assert_int_eq(sshconfig_open(&options, &set, &e), 0);
        sure = !sshsources_changed(sshconfig_sources(set), later());
        sshconfig_close(set);
        clock_gettime(CLOCK_MONOTONIC, &b);
    } while ((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 > 5);
    ck_assert_int_eq(sure, 0);
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
    tcase_add_test(t, test_unknown_keywords);
    tcase_add_test(t, test_tokens);
    tcase_add_test(t, test_agent);
    tcase_add_test(t, test_proxies);
    tcase_add_test(t, test_needs_openssh);
    tcase_add_test(t, test_algorithms);
    tcase_add_test(t, test_split);
    tcase_add_test(t, test_split_refused);
    tcase_add_test(t, test_patterns);
    tcase_add_test(t, test_bad_names);
    tcase_add_test(t, test_ssh_g);
    tcase_add_test(t, test_ssh_g_trouble);
    tcase_add_test(t, test_ssh_g_values_only);
    tcase_add_test(t, test_too_many_files);
    tcase_add_test(t, test_sources);
    tcase_add_test(t, test_sources_are_looked_at_now_and_then);
    tcase_add_test(t, test_sources_that_were_just_changed_are_not_trusted);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
