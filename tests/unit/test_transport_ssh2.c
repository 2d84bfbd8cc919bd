/* The ssh2 transport against a real sshd, and against servers that are none. */
#include <libssh2.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "launcher/ssh/sshkey.h"
#include "ssh2rig.h"
#include "sshtools.h"
#include "unit.h"

static unsigned port;
static pid_t sshd, own; /* of all tests; of this one */

/* Settings that each run begins with; the first one of a keyword wins. */
static const char *identity(const char *name)
{
    static char text[4][300];
    static unsigned next;
    char *at = text[next++ % 4];

    snprintf(at, sizeof text[0], "IdentityFile=%s", sshtools_path("%s", name));
    return at;
}

static const char *known(const char *name)
{
    static char text[4][300];
    static unsigned next;
    char *at = text[next++ % 4];

    snprintf(at, sizeof text[0], "UserKnownHostsFile=%s", sshtools_path("%s", name));
    return at;
}

static struct rig_run login(const char *key, const char *command)
{
    struct rig_run r = {.port = port, .command = command};

    r.settings[0] = known("known_hosts");
    r.settings[1] = "GlobalKnownHostsFile=none";
    r.settings[2] = identity(key);
    return r;
}

static void set(struct rig_run *r, const char *text)
{
    int i = 0;

    while (r->settings[i])
        i++;
    ck_assert_int_lt(i, RIG_SETTINGS_MAX - 1);
    r->settings[i] = text;
}

static int output_is(const struct rig_run *r, const char *text)
{
    return wire_length(&r->out) == strlen(text) &&
           (!*text || memcmp(wire_data(&r->out), text, strlen(text)) == 0);
}

static void expect_ok(struct rig_run *r, const char *output, int status)
{
    rig_run(r);
    ck_assert_msg(r->failed_n == 0, "%s: %s\n%s", errors_name(r->e.code), r->e.detail, r->trace);
    ck_assert_int_eq(r->opened_n, 1);
    ck_assert_int_eq(r->finished_n, 1);
    ck_assert_int_eq(r->status, status);
    if (output)
        ck_assert_msg(output_is(r, output), "%.*s", (int)wire_length(&r->out),
                      (const char *)wire_data(&r->out));
    ck_assert_ptr_nonnull(strstr(r->phases, "connect,kex,host key,auth,shell"));
    if (!strstr(r->trace, "anew"))
        ck_assert_str_eq(r->phases, "resolve,connect,kex,host key,auth,shell");
}

static void expect_error(struct rig_run *r, int code, const char *in_detail)
{
    rig_run(r);
    ck_assert_msg(r->failed_n == 1 && r->e.code == code, "%s: %s\n%s", errors_name(r->e.code),
                  r->e.detail, r->trace);
    ck_assert_int_eq(r->finished_n, 0);
    if (in_detail)
        ck_assert_msg(strstr(r->e.detail, in_detail) != NULL, "%s", r->e.detail);
}

static int traced(const struct rig_run *r, const char *text)
{
    return strstr(r->trace, text) != NULL;
}

/* Fixture: one sshd for all that are satisfied with a plain one. */
static void begin(void)
{
    sshtools_enter();
    port = rig_sshd(sshtools_folder, "", &sshd);
}

static void finish(void)
{
    rig_stop(sshd);
    sshtools_leave();
}

/* Older ones have neither RSA with SHA-2 nor the newer ciphers. */
#define NEED_NEW_LIBRARY                                                                           \
    if (LIBSSH2_VERSION_NUM < 0x010b00)                                                            \
    return

#define NEED_SSHD                                                                                  \
    if (!port)                                                                                     \
    return

START_TEST(key_types)
{
    static const char *const keys[] = {"id", "id_ecdsa", "id_rsa"};
    struct rig_run r;

    NEED_SSHD;
    if (_i == 2)
        NEED_NEW_LIBRARY;
    r = login(keys[_i], "echo out; echo err >&2; exit 7");
    expect_ok(&r, "out\n", 7);
    ck_assert_uint_eq(wire_length(&r.diagnostics), 4);
    ck_assert_int_eq(memcmp(wire_data(&r.diagnostics), "err\n", 4), 0);
    /* One connection: nothing had to be repeated. */
    ck_assert(!traced(&r, "anew"));
    rig_clear(&r);
}
END_TEST

START_TEST(signals)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "exec sh -c 'kill -KILL $$'");
    expect_ok(&r, "", 128 + SIGKILL);
    rig_clear(&r);
}
END_TEST

/* Each way of being in a hurry, and none, must log in just the same. */
START_TEST(several_keys)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id_stranger", "echo in");
    set(&r, identity("id_rsa"));
    set(&r, identity("id_ecdsa"));
    expect_ok(&r, "in\n", 0);
    /* RSA last: the others do not depend on what the server announces. */
    ck_assert(!traced(&r, "trying publickey ssh-rsa"));
    ck_assert(!traced(&r, "anew"));
    rig_clear(&r);
}
END_TEST

START_TEST(small_input)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "cat; echo done");
    r.send = "some words\n";
    r.send_n = 11;
    expect_ok(&r, "some words\ndone\n", 0);
    rig_clear(&r);
}
END_TEST

START_TEST(no_input)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "wc -c | tr -d ' '");
    expect_ok(&r, "0\n", 0);
    rig_clear(&r);
}
END_TEST

START_TEST(much_both_ways)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "cat");
    r.send_pattern = 48u << 20;
    r.discard = 1;
    expect_ok(&r, "", 0);
    ck_assert_uint_eq(r.checked, r.send_pattern);
    ck_assert_uint_eq(r.mismatches, 0);
    ck_assert_int_gt(r.writable_n, 0);
}
END_TEST

START_TEST(much_with_pauses)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "cat");
    r.send_pattern = 8u << 20;
    r.discard = 1;
    r.pause_every = 5;
    expect_ok(&r, "", 0);
    ck_assert_uint_eq(r.checked, r.send_pattern);
    ck_assert_uint_eq(r.mismatches, 0);
}
END_TEST

/* A receiver that reads nothing must not keep the sender from getting its window back. */
START_TEST(sends_while_paused)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "cat >/dev/null; echo all read");
    r.send_pattern = 24u << 20;
    r.pause_until_sent = 1;
    expect_ok(&r, "all read\n", 0);
    rig_clear(&r);
}
END_TEST

START_TEST(stderr_flood)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "head -c 3000000 /dev/zero >&2; echo end");
    expect_ok(&r, "end\n", 0);
    ck_assert_uint_eq(wire_length(&r.diagnostics), 3000000);
    rig_clear(&r);
}
END_TEST

START_TEST(second_command)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "echo one; exit 1");
    r.again = "echo two; exit 2";
    rig_run(&r);
    ck_assert_int_eq(r.failed_n, 0);
    ck_assert_int_eq(r.opened_n, 2);
    ck_assert_int_eq(r.finished_n, 2);
    ck_assert_int_eq(r.status, 2);
    ck_assert(output_is(&r, "one\ntwo\n"));
    rig_clear(&r);
}
END_TEST

START_TEST(freed_in_callbacks)
{
    static const int phases[] = {PHASE_RESOLVE, PHASE_CONNECT, PHASE_KEX,
                                 PHASE_HOSTKEY, PHASE_AUTH,    PHASE_SHELL};
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "echo x; cat");
    r.keep_stdin = 1;
    r.free_at = _i < 6 ? RIG_FREE_PHASE : RIG_FREE_OPENED + (enum rig_free)(_i - 6);
    r.free_phase = _i < 6 ? phases[_i] : -1;
    if (r.free_at == RIG_FREE_FINISHED)
        r.command = "true";
    if (r.free_at == RIG_FREE_FAILED)
        set(&r, "KexAlgorithms=diffie-hellman-group14-sha1");
    if (r.free_at == RIG_FREE_FAILED)
        set(&r, "HostKeyAlgorithms=ssh-rsa");
    rig_run(&r);
    ck_assert_int_eq(r.finished_n, r.free_at == RIG_FREE_FINISHED);
    ck_assert_int_eq(r.failed_n, r.free_at == RIG_FREE_FAILED);
    rig_clear(&r);
}
END_TEST

START_TEST(freed_at_any_time)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "cat /dev/zero");
    r.keep_stdin = 1;
    r.discard = 1;
    r.free_after_s = 0.002 * (_i + 1);
    rig_run(&r);
    ck_assert_int_eq(r.finished_n, 0);
    rig_clear(&r);
}
END_TEST

/* ---- host keys ---- */

START_TEST(hostkey_unknown)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "true");
    r.settings[0] = known("nothing");
    expect_error(&r, -E_HOSTKEY_UNKNOWN, "ssh-ed25519 SHA256:");
    ck_assert_str_eq(r.phases, "resolve,connect,kex,host key");
}
END_TEST

START_TEST(hostkey_accept_new)
{
    struct rig_run r;
    char *text;

    NEED_SSHD;
    r = login("id", "true");
    r.settings[0] = known("fresh");
    set(&r, "StrictHostKeyChecking=accept-new");
    expect_ok(&r, "", 0);
    text = sshtools_read(sshtools_path("fresh"), NULL);
    ck_assert_ptr_nonnull(strstr(text, "ssh-ed25519 "));
    free(text);
    /* It is known now. */
    r = login("id", "true");
    r.settings[0] = known("fresh");
    expect_ok(&r, "", 0);
}
END_TEST

static void write_known(const char *name, const char *marker, const char *key)
{
    char line[600];

    snprintf(line, sizeof line, "echo \"%s [127.0.0.1]:%u $(cut -d' ' -f1,2 %s.pub)\" >%s", marker,
             port, key, name);
    ck_assert_int_eq(sshtools_run(NULL, 0, line), 0);
}

START_TEST(hostkey_changed)
{
    static const char *const strict[] = {"yes", "accept-new", "no"};
    struct rig_run r;
    char setting[64];

    NEED_SSHD;
    write_known("changed", "", "id_stranger");
    r = login("id", "true");
    r.settings[0] = known("changed");
    snprintf(setting, sizeof setting, "StrictHostKeyChecking=%s", strict[_i]);
    set(&r, setting);
    expect_error(&r, -E_HOSTKEY_CHANGED, "changed:1");
}
END_TEST

START_TEST(hostkey_revoked)
{
    struct rig_run r;

    NEED_SSHD;
    write_known("revoked", "@revoked", "hostkey");
    r = login("id", "true");
    r.settings[0] = known("revoked");
    set(&r, "StrictHostKeyChecking=no");
    expect_error(&r, -E_HOSTKEY_REVOKED, "revoked:1");
}
END_TEST

START_TEST(hostkey_authority)
{
    struct rig_run r;

    NEED_SSHD;
    write_known("authority", "@cert-authority", "id_stranger");
    r = login("id", "true");
    r.settings[0] = known("authority");
    expect_error(&r, -E_AUTH_NEEDS_OPENSSH, "cert-authority");
}
END_TEST

/* No byte that names the user or one of their keys may leave before the host key was checked. */
START_TEST(hostkey_before_user)
{
    struct rig_run r;
    char *log;

    NEED_SSHD;
    r = login("id", "true");
    r.settings[0] = known("nothing");
    r.user = "nobody-should-see-this";
    expect_error(&r, -E_HOSTKEY_UNKNOWN, NULL);
    log = sshtools_read(sshtools_path("sshd.log"), NULL);
    ck_assert_ptr_null(strstr(log, "nobody-should-see-this"));
    free(log);
}
END_TEST

/* ---- who does not get in ---- */

START_TEST(stranger)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id_stranger", "true");
    expect_error(&r, -E_AUTH, "publickey (1 key)");
    /* With nothing else to try, it does not connect a second time. */
    ck_assert(!traced(&r, "anew"));
}
END_TEST

START_TEST(no_key_at_all)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("missing", "true");
    expect_error(&r, -E_AUTH, "tried nothing");
}
END_TEST

START_TEST(locked_key)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id_locked", "true");
    expect_error(&r, -E_PASSPHRASE, "id_locked");
}
END_TEST

static const char *askpass(const char *answer)
{
    static char text[300];
    const char *path = sshtools_path("askpass");
    char script[200];

    snprintf(script, sizeof script, "#!/bin/sh\necho asked >>%s\necho %s\n", sshtools_path("asked"),
             answer);
    sshtools_write_n(path, script, strlen(script), 0700);
    snprintf(text, sizeof text, "SSH_ASKPASS=%s", path);
    setenv("SSH_ASKPASS_REQUIRE", "force", 1);
    return text;
}

START_TEST(passphrase)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id_locked", "echo in");
    r.interactive = 1;
    r.environment = askpass("secret");
    expect_ok(&r, "in\n", 0);
    rig_clear(&r);
}
END_TEST

START_TEST(wrong_passphrase)
{
    struct rig_run r;
    char *asked;

    NEED_SSHD;
    unlink(sshtools_path("asked"));
    r = login("id_locked", "true");
    r.interactive = 1;
    r.environment = askpass("wrong");
    set(&r, "PasswordAuthentication=no");
    set(&r, "KbdInteractiveAuthentication=no");
    expect_error(&r, -E_PASSPHRASE, "id_locked");
    asked = sshtools_read(sshtools_path("asked"), NULL);
    ck_assert_str_eq(asked, "asked\nasked\nasked\n");
    free(asked);
}
END_TEST

/* Freed while a person is being asked: nothing may wait for the answer. */
START_TEST(freed_while_asking)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id_locked", "true");
    r.interactive = 1;
    r.environment = askpass("secret; sleep 30");
    r.free_after_s = 0.5;
    rig_run(&r);
    ck_assert_int_eq(r.failed_n + r.finished_n, 0);
    ck_assert(r.seconds < 10);
}
END_TEST

/* A private key file as ssh-keygen -t ed25519-sk makes it, which only needs a FIDO token to be of
 * use (OpenSSH's PROTOCOL.key and PROTOCOL.u2f). */
static void write_token_key(const char *path)
{
    static const char type[] = "sk-ssh-ed25519@openssh.com", magic[] = "openssh-key-v1";
    const uint8_t zeros[32] = {0};
    struct wire_buf blob = {0}, secret = {0}, all = {0};
    char *text;

    sshkey_put_string(&blob, type, strlen(type));
    sshkey_put_string(&blob, zeros, 32);
    sshkey_put_string(&blob, "ssh:", 4);
    wire_put_u64(&secret, 0);
    wire_put(&secret, wire_data(&blob), wire_length(&blob));
    wire_put_u8(&secret, 1);
    sshkey_put_string(&secret, zeros, 16);
    sshkey_put_string(&secret, "", 0);
    sshkey_put_string(&secret, "token", 5);
    for (uint8_t i = 1; wire_length(&secret) % 8; i++)
        wire_put_u8(&secret, i);
    wire_put(&all, magic, sizeof magic);
    sshkey_put_string(&all, "none", 4);
    sshkey_put_string(&all, "none", 4);
    sshkey_put_string(&all, "", 0);
    wire_put_u32(&all, 1);
    sshkey_put_string(&all, wire_data(&blob), wire_length(&blob));
    sshkey_put_string(&all, wire_data(&secret), wire_length(&secret));
    text = malloc(sshkey_base64_size(wire_length(&all)) + 128);
    strcpy(text, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    sshkey_base64_encode(wire_data(&all), wire_length(&all), text + strlen(text));
    strcat(text, "\n-----END OPENSSH PRIVATE KEY-----\n");
    sshtools_write(path, text);
    free(text);
    wire_free(&blob);
    wire_free(&secret);
    wire_free(&all);
}

START_TEST(token_needs_openssh)
{
    struct rig_run r;

    NEED_SSHD;
    write_token_key(sshtools_path("id_token"));
    r = login("id_token", "true");
    expect_error(&r, -E_AUTH_NEEDS_OPENSSH, "id_token");
}
END_TEST

/* ---- algorithms ---- */

START_TEST(kex_not_common)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "true");
    set(&r, "KexAlgorithms=diffie-hellman-group14-sha1");
    expect_error(&r, -E_KEX, "no common key exchange algorithm");
    ck_assert_ptr_nonnull(strstr(r.e.detail, "curve25519-sha256"));
    ck_assert_ptr_nonnull(strstr(r.e.detail, "diffie-hellman-group14-sha1"));
}
END_TEST

START_TEST(kex_only_openssh)
{
    struct rig_run r;

    NEED_SSHD;
    r = login("id", "true");
    set(&r, "KexAlgorithms=sntrup761x25519-sha512@openssh.com");
    expect_error(&r, -E_AUTH_NEEDS_OPENSSH, "sntrup761");
}
END_TEST

START_TEST(each_cipher)
{
    static const char *const ciphers[] = {"Ciphers=chacha20-poly1305@openssh.com",
                                          "Ciphers=aes128-gcm@openssh.com",
                                          "Ciphers=aes256-gcm@openssh.com",
                                          "Ciphers=aes128-ctr",
                                          "Ciphers=aes256-ctr",
                                          "MACs=hmac-sha2-512",
                                          "KexAlgorithms=ecdh-sha2-nistp256",
                                          "KexAlgorithms=diffie-hellman-group14-sha256",
                                          "KexAlgorithms=diffie-hellman-group-exchange-sha256"};
    struct rig_run r;

    NEED_SSHD;
    NEED_NEW_LIBRARY;
    r = login("id", "cat");
    set(&r, ciphers[_i]);
    r.send_pattern = 1u << 20;
    r.discard = 1;
    expect_ok(&r, "", 0);
    ck_assert_uint_eq(r.checked, r.send_pattern);
    ck_assert_uint_eq(r.mismatches, 0);
}
END_TEST

/* ---- servers of their own kind ---- */

static void own_sshd(const char *extra)
{
    port = rig_sshd(sshtools_folder, extra, &own);
}

static void stop_own(void)
{
    rig_stop(own);
}

/* New keys every megabyte, while both directions are full. */
START_TEST(rekey_under_load)
{
    struct rig_run r;

    NEED_SSHD;
    if (_i)
        NEED_NEW_LIBRARY;
    own_sshd("RekeyLimit 1M\n");
    r = login(_i ? "id_rsa" : "id", "cat");
    r.send_pattern = 24u << 20;
    r.discard = 1;
    r.pause_every = _i ? 7 : 0;
    expect_ok(&r, "", 0);
    ck_assert_uint_eq(r.checked, r.send_pattern);
    ck_assert_uint_eq(r.mismatches, 0);
}
END_TEST

/* What is written while keys are exchanged goes when they are, also when nothing more is written:
 * here every second piece is the last one until it has come back. */
START_TEST(last_words_in_a_rekey)
{
    struct rig_run r;

    NEED_SSHD;
    own_sshd("RekeyLimit 128K\n");
    r = login("id", "cat");
    r.send_pattern = 6u << 20;
    r.discard = 1;
    r.lockstep = 1;
    expect_ok(&r, "", 0);
    ck_assert_uint_eq(r.checked, r.send_pattern);
    ck_assert_uint_eq(r.mismatches, 0);
}
END_TEST

/* The server wants more than the first key: what was sent ahead is lost, the login is not. */
START_TEST(two_keys_needed)
{
    struct rig_run r;

    NEED_SSHD;
    own_sshd("AuthenticationMethods publickey,publickey\n");
    r = login("id", "echo in");
    set(&r, identity("id_ecdsa"));
    expect_ok(&r, "in\n", 0);
    rig_clear(&r);
}
END_TEST

START_TEST(only_password_allowed)
{
    struct rig_run r;

    NEED_SSHD;
    own_sshd(
        "PubkeyAuthentication no\nPasswordAuthentication yes\nKbdInteractiveAuthentication no\n");
    r = login("id", "true");
    expect_error(&r, -E_AUTH, "the server allows password");
}
END_TEST

START_TEST(too_many_keys)
{
    struct rig_run r;

    NEED_SSHD;
    own_sshd("MaxAuthTries 2\n");
    ck_assert_int_eq(
        sshtools_run(NULL, 0, "for i in 1 2 3 4; do ssh-keygen -q -t ed25519 -N '' -f no$i; done"),
        0);
    r = login("no1", "true");
    set(&r, identity("no2"));
    set(&r, identity("no3"));
    set(&r, identity("no4"));
    expect_error(&r, -E_AUTH, "Too many authentication failures");
}
END_TEST

/* A server that takes no RSA signature: libssh2 keeps the name of the method for its next key. */
START_TEST(rsa_not_wanted)
{
    struct rig_run r;

    NEED_SSHD;
    NEED_NEW_LIBRARY;
    own_sshd("PubkeyAcceptedAlgorithms ssh-ed25519\n");
    r = login("id_rsa", "echo in");
    expect_error(&r, -E_AUTH, NULL);
    r = login("id_rsa", "echo in");
    set(&r, identity("id"));
    expect_ok(&r, "in\n", 0);
    rig_clear(&r);
}
END_TEST

START_TEST(several_hostkeys)
{
    struct rig_run r;
    char extra[300];

    NEED_SSHD;
    NEED_NEW_LIBRARY;
    snprintf(extra, sizeof extra, "HostKey %s\n", sshtools_path("id_rsa"));
    own_sshd(extra);
    write_known("rsa_known", "", "id_rsa");
    r = login("id", "true");
    r.settings[0] = known("rsa_known");
    /* The one that is known is asked for, though another would be preferred. */
    expect_ok(&r, "", 0);
}
END_TEST

START_TEST(with_agent)
{
    struct rig_run r;
    char setting[300];

    NEED_SSHD;
    ck_assert_int_eq(
        sshtools_run(NULL, 0,
                     "ssh-agent -a $PWD/agent >agent.env && . ./agent.env >/dev/null && "
                     "ssh-add -q id_stranger id_rsa id_ecdsa 2>/dev/null"),
        0);
    snprintf(setting, sizeof setting, "IdentityAgent=%s", sshtools_path("agent"));
    /* One of the agent's own; one that its public part names, which then comes first. */
    r = login("missing", "echo in");
    set(&r, setting);
    expect_ok(&r, "in\n", 0);
    rig_clear(&r);
    ck_assert_int_eq(sshtools_run(NULL, 0, "mkdir p && cp id_rsa.pub p/id_rsa.pub"), 0);
    r = login("p/id_rsa", "echo in");
    set(&r, setting);
    expect_ok(&r, "in\n", 0);
    ck_assert(traced(&r, "trying publickey ssh-rsa"));
    ck_assert(!traced(&r, "id_stranger"));
    rig_clear(&r);
    r = login("p/id_rsa", "echo in");
    set(&r, setting);
    set(&r, "IdentitiesOnly=yes");
    expect_ok(&r, "in\n", 0);
    rig_clear(&r);
    r = login("missing", "true");
    set(&r, setting);
    set(&r, "IdentitiesOnly=yes");
    expect_error(&r, -E_AUTH, "tried nothing");
    ck_assert_int_eq(sshtools_run(NULL, 0, ". ./agent.env >/dev/null; kill $SSH_AGENT_PID"), 0);
}
END_TEST

/* An agent that says nothing holds nobody up for ever. */
START_TEST(with_mute_agent)
{
    struct rig_run r;
    char setting[300];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd;

    NEED_SSHD;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%.100s", sshtools_path("mute"));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    snprintf(setting, sizeof setting, "IdentityAgent=%s", a.sun_path);
    r = login("id", "echo in");
    set(&r, setting);
    expect_ok(&r, "in\n", 0);
    ck_assert(traced(&r, "did not answer"));
    rig_clear(&r);
    close(fd);
}
END_TEST

/* ---- peers that are no SSH server ---- */

static void expect_of_fake(const char *text, int linger, int code, const char *detail)
{
    pid_t pid;
    struct rig_run r = login("id", "true");

    r.port = rig_fake(text, strlen(text), linger, &pid);
    r.timeout_ms = 700;
    expect_error(&r, code, detail);
    rig_stop(pid);
}

START_TEST(not_ssh)
{
    expect_of_fake("HTTP/1.1 400 Bad Request\r\n\r\n", 1, -E_NOT_SSH, "HTTP/1.1 400");
    expect_of_fake("220 mail.example ESMTP\r\n", 1, -E_NOT_SSH, "220 mail");
    expect_of_fake("hello\x1b[31m\n", 0, -E_NOT_SSH, "hello\\x1b");
    expect_of_fake("no newline", 0, -E_NOT_SSH, "no newline");
    expect_of_fake("hello\n", 1, -E_NOT_SSH, "hello");
}
END_TEST

START_TEST(half_ssh)
{
    expect_of_fake("SSH-1.5-old\r\n", 1, -E_KEX, "SSH-1.5-old");
    expect_of_fake("SSH-2.0-quiet\r\n", 1, -E_KEX_TIMEOUT, NULL);
    expect_of_fake("SSH-2.0-quiet\r\n", 0, -E_DISCONNECTED, NULL);
    expect_of_fake("", 1, -E_MUTE, "silent for 0.7 s");
    expect_of_fake("", 0, -E_DISCONNECTED, "MaxStartups");
    expect_of_fake("Exceeded MaxStartups\r\n", 0, -E_DISCONNECTED, "Exceeded MaxStartups");
    expect_of_fake("SSH-2.0-garbage\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 1, -E_KEX, NULL);
}
END_TEST

START_TEST(nobody_there)
{
    struct rig_run r;
    pid_t pid;

    r = login("id", "true");
    r.port = rig_fake("", 0, 0, &pid);
    rig_stop(pid);
    expect_error(&r, -E_REFUSED, "127.0.0.1 port ");
    r = login("id", "true");
    r.host = "::1";
    set(&r, "AddressFamily=inet");
    expect_error(&r, -E_RESOLVE, "::1");
}
END_TEST

/* The server goes away in the middle. */
static void kill_sshd(struct rig_run *r)
{
    char line[100];

    (void)r;
    /* The listener's children, one for each connection. */
    snprintf(line, sizeof line, "pkill -KILL -P %d", (int)own);
    ck_assert_int_eq(system(line), 0);
}

START_TEST(server_dies)
{
    struct rig_run r;

    NEED_SSHD;
    own_sshd("");
    r = login("id", "sleep 100");
    r.keep_stdin = 1;
    r.opened = kill_sshd;
    expect_error(&r, -E_DISCONNECTED, NULL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("transport_ssh2");
    TCase *c = tcase_create("ssh2");

    tcase_add_unchecked_fixture(c, begin, finish);
    tcase_add_checked_fixture(c, NULL, stop_own);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, key_types, 0, 3);
    tcase_add_test(c, signals);
    tcase_add_test(c, several_keys);
    tcase_add_test(c, small_input);
    tcase_add_test(c, no_input);
    tcase_add_test(c, much_both_ways);
    tcase_add_test(c, much_with_pauses);
    tcase_add_test(c, sends_while_paused);
    tcase_add_test(c, stderr_flood);
    tcase_add_test(c, second_command);
    tcase_add_loop_test(c, freed_in_callbacks, 0, 11);
    tcase_add_loop_test(c, freed_at_any_time, 0, 30);
    tcase_add_test(c, hostkey_unknown);
    tcase_add_test(c, hostkey_accept_new);
    tcase_add_loop_test(c, hostkey_changed, 0, 3);
    tcase_add_test(c, hostkey_revoked);
    tcase_add_test(c, hostkey_authority);
    tcase_add_test(c, hostkey_before_user);
    tcase_add_test(c, stranger);
    tcase_add_test(c, no_key_at_all);
    tcase_add_test(c, locked_key);
    tcase_add_test(c, passphrase);
    tcase_add_test(c, wrong_passphrase);
    tcase_add_test(c, freed_while_asking);
    tcase_add_test(c, token_needs_openssh);
    tcase_add_test(c, kex_not_common);
    tcase_add_test(c, kex_only_openssh);
    tcase_add_loop_test(c, each_cipher, 0, 9);
    tcase_add_loop_test(c, rekey_under_load, 0, 2);
    tcase_add_test(c, last_words_in_a_rekey);
    tcase_add_test(c, two_keys_needed);
    tcase_add_test(c, only_password_allowed);
    tcase_add_test(c, too_many_keys);
    tcase_add_test(c, rsa_not_wanted);
    tcase_add_test(c, several_hostkeys);
    tcase_add_test(c, with_agent);
    tcase_add_test(c, with_mute_agent);
    tcase_add_test(c, not_ssh);
    tcase_add_test(c, half_ssh);
    tcase_add_test(c, nobody_there);
    tcase_add_test(c, server_dies);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
