/* A host that misbehaves: for --transport 'fakeagent MODE'.
 *
 * Reads the start command as a login shell would, answers with the start script's status line, and
 * then plays the agent in the way that MODE says (the table at the end).  Frames are put together
 * by hand, so that a mistake of the tree's own encoder cannot hide one of its decoder. */
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define NONCE    32
#define HELLO    1
#define PING     2
#define GOODBYE  4
#define OPEN     5
#define DATA     6
#define CREDIT   7
#define CLOSE    9
#define CALL     10
#define MORE     1
#define FEATURES "\0\0\0\0"
#define LEASE    "\0\0\0\0" /* never */

static char nonce[NONCE + 1];

/* ---- bytes ---- */

static void put(const void *bytes, size_t n)
{
    const char *at = bytes;

    while (n > 0) {
        ssize_t k = write(STDOUT_FILENO, at, n);
        if (k <= 0)
            exit(0);
        at += k;
        n -= (size_t)k;
    }
}

static void get(void *bytes, size_t n)
{
    char *at = bytes;

    while (n > 0) {
        ssize_t k = read(STDIN_FILENO, at, n);
        if (k <= 0)
            exit(0);
        at += k;
        n -= (size_t)k;
    }
}

static void say(const char *text)
{
    put(text, strlen(text));
}

/* Holds the line until the other end lets go. */
static void wait_for_end(void)
{
    char rest[4096];

    while (read(STDIN_FILENO, rest, sizeof rest) > 0)
        ;
}

/* Reads up to and including a text. */
static void read_until(const char *text)
{
    size_t have = 0;
    char c;

    while (text[have]) {
        get(&c, 1);
        have = c == text[have] ? have + 1 : c == text[0];
    }
}

static void frame(uint32_t id, int type, int flags, size_t length, const void *payload)
{
    uint8_t header[8] = {
        (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),     (uint8_t)id,
        (uint8_t)type,       (uint8_t)flags,      (uint8_t)(length >> 8), (uint8_t)length};

    put(header, sizeof header);
    put(payload, length);
}

/* ---- the parts of a good agent ---- */

static void say_system(const char *system)
{
    char line[128];

    snprintf(line, sizeof line, "@grapnel %s sys %s\n", nonce, system);
    say(line);
}

static void say_failure(const char *words)
{
    char line[128];

    snprintf(line, sizeof line, "@grapnel %s fail %s\n", nonce, words);
    say(line);
}

static void hello(const void *facts, size_t n)
{
    char body[1024] = "\0\1\0\0" FEATURES LEASE;

    memcpy(body + 12, facts, n);
    frame(0, HELLO, 0, 12 + n, body);
}

static void greet(void)
{
    say("GRAPNEL\n");
    hello("\xa0", 1);
}

/* Reads frames up to the one that opens a command; returns its stream. */
static uint32_t await_command(void)
{
    static uint8_t payload[65536];
    uint8_t h[8];

    read_until("GRAPNEL\n");
    for (;;) {
        size_t n;
        get(h, sizeof h);
        n = (size_t)h[6] << 8 | h[7];
        get(payload, n);
        if (h[4] == OPEN && n > 10 && memmem(payload, n < 24 ? n : 24, "exec", 4))
            return (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
    }
}

/* ---- before the agent ---- */

static void babble(void)
{
    for (;;)
        say("no shell here, only this line, again and again\n");
}

static void other_nonce(void)
{
    memset(nonce, '0', NONCE);
    say_system("Linux x86_64");
    wait_for_end();
}

static void endless_status(void)
{
    char text[64];

    snprintf(text, sizeof text, "@grapnel %s sys ", nonce);
    say(text);
    for (;;)
        say("Linux ");
}

static void other_system(void)
{
    say_system("Plan9 \033[31msparc");
    say_failure("arch");
}

static void always_full(void)
{
    say_system("Linux x86_64");
    say_failure("space 1");
}

static void unknown_failure(void)
{
    say_system("Linux x86_64");
    say_failure("\033[31mmoon phase");
}

static void no_agent(void)
{
    say_system("Linux x86_64");
    (void)!write(STDERR_FILENO, "Killed\n", 7);
    exit(3);
}

static void mute(void)
{
    say_system("Linux x86_64");
    wait_for_end();
}

/* ---- instead of the agent: after the status line ---- */

static void http(void)
{
    say("HTTP/1.1 400 Bad Request\r\n\r\n");
    wait_for_end();
}

static void garbage(void)
{
    uint32_t x = 2463534242u;

    for (;;) {
        uint8_t bytes[4096];
        for (size_t i = 0; i < sizeof bytes; i++) {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            bytes[i] = (uint8_t)x;
        }
        put(bytes, sizeof bytes);
    }
}

static void zeros(void)
{
    static const char none[4096];

    for (;;)
        put(none, sizeof none);
}

static void other_major(void)
{
    say("GRAPNEL\n");
    frame(0, HELLO, 0, 13, "\0\2\0\0" FEATURES LEASE "\xa0");
    wait_for_end();
}

static void half_preface(void)
{
    say("GRAPN");
}

static void half_hello(void)
{
    say("GRAPNEL\n");
    put("\0\0\0\0\1\0\0\15\0\1\0", 11);
}

static void not_hello(void)
{
    say("GRAPNEL\n");
    frame(1, DATA, 0, 3, "abc");
    wait_for_end();
}

static void hello_huge_text(void) /* 4 GiB - 1 */
{
    say("GRAPNEL\n");
    hello("\xa1\x61k\x7a\xff\xff\xff\xff"
          "abc",
          11);
    wait_for_end();
}

static void hello_huge_array(void) /* 2^64 - 1 items */
{
    say("GRAPNEL\n");
    hello("\xa1\x61k\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    wait_for_end();
}

static void hello_deep(void)
{
    char nest[500];

    memset(nest, 0x81, sizeof nest);
    say("GRAPNEL\n");
    hello(nest, sizeof nest);
    wait_for_end();
}

static void hello_endless(void)
{
    static char part[60000] = "\0\1\0\0" FEATURES LEASE;

    say("GRAPNEL\n");
    for (;;)
        frame(0, HELLO, MORE, sizeof part, part);
}

static void hello_twice(void)
{
    greet();
    hello("\xa0", 1);
    wait_for_end();
}

/* ---- after a good HELLO ---- */

static void unknown_type(void)
{
    greet();
    frame(0, 200, 0, 0, "");
    wait_for_end();
}

static void unknown_stream(void)
{
    greet();
    frame(4242, DATA, 0, 3, "abc");
    wait_for_end();
}

static void half_frame(void)
{
    greet();
    put("\0\0\0\1\6\0\377\377abc", 11);
}

static void long_call(void) /* parts without end */
{
    static char part[60000];

    greet();
    for (;;)
        frame(2, CALL, MORE, sizeof part, part);
}

/* Ends the command and the stream of its stderr, which was opened before it. */
static void close_command(uint32_t id, const void *result, size_t n)
{
    frame(id - 2, CLOSE, 0, 3, "\0\0\xf6");
    frame(id, CLOSE, 0, n, result);
    frame(0, GOODBYE, 0, 2, "\0\0");
}

static size_t waiting(void)
{
    int n = 0;

    return ioctl(STDIN_FILENO, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

/* Greets when the launcher has filled the pipe and could not send all, and reads on only when that
 * has been seen there; then wants the whole of a command that is as long as it may be. */
static void early_bird(void)
{
    static uint8_t payload[65536];
    uint8_t h[8];
    uint32_t id;

    for (int still = 0, before = 0; still < 10; still = before == (int)waiting() ? still + 1 : 0) {
        before = (int)waiting();
        poll(NULL, 0, 20);
    }
    greet();
    poll(NULL, 0, 200);
    id = await_command();
    do {
        get(h, sizeof h);
        get(payload, (size_t)h[6] << 8 | h[7]);
    } while (h[4] != OPEN || (h[5] & MORE) != 0);
    close_command(id, "\0\0\xa1\x66status\7", 11);
    wait_for_end();
}

static void big_credit(void)
{
    uint32_t id;

    greet();
    id = await_command();
    for (int i = 0; i < 3; i++)
        frame(id, CREDIT, 0, 4, "\377\377\377\377");
    close_command(id, "\0\0\xa1\x66status\7", 11);
}

static void overrun(void) /* more DATA than there is credit for */
{
    static char part[60000];
    uint32_t id;

    greet();
    id = await_command();
    for (;;)
        frame(id, DATA, 0, sizeof part, part);
}

static void deflated(void)
{
    uint32_t id;

    greet();
    id = await_command();
    frame(id, DATA, 2, 4, "\377\377\377\377");
    wait_for_end();
}

static void silent(void)
{
    greet();
    wait_for_end();
}

static void hung_up(void)
{
    greet();
    await_command();
}

static void rude_goodbye(void)
{
    greet();
    frame(0, GOODBYE, 0, 22, "\0\100\033[31mred\033]0;title\007\n x");
    wait_for_end();
}

static void rude_close(void) /* {"status": "many", "signal": escape codes, "reason": ...} */
{
    static const char result[] =
        "\0\0\xa3\x66status\x64many\x66signal\x66\033[31mX\x66reason\x63\033[m";
    uint32_t id;

    greet();
    id = await_command();
    close_command(id, result, sizeof result - 1);
}

static void calls_us(void) /* a host has no business calling the launcher */
{
    greet();
    frame(2, CALL, 0, 8,
          "\x82\x65"
          "facts\xf6");
    frame(4, OPEN, 0, 11,
          "\0\1\0\0\x82\x64"
          "exec\xf6");
    frame(0, PING, 0, 8, "12345678");
    read_until("12345678"); /* the PONG: it still lives */
    frame(0, GOODBYE, 0, 2, "\0\0");
    exit(0);
}

static const struct {
    const char *name;
    void (*play)(void);
    int says_system; /* the status line goes before it */
} modes[] = {
    {"babble", babble, 0},
    {"other-nonce", other_nonce, 0},
    {"endless-status", endless_status, 0},
    {"other-system", other_system, 0},
    {"always-full", always_full, 0},
    {"unknown-failure", unknown_failure, 0},
    {"no-agent", no_agent, 0},
    {"mute", mute, 0},
    {"http", http, 1},
    {"garbage", garbage, 1},
    {"zeros", zeros, 1},
    {"other-major", other_major, 1},
    {"half-preface", half_preface, 1},
    {"half-hello", half_hello, 1},
    {"not-hello", not_hello, 1},
    {"hello-huge-text", hello_huge_text, 1},
    {"hello-huge-array", hello_huge_array, 1},
    {"hello-deep", hello_deep, 1},
    {"hello-endless", hello_endless, 1},
    {"hello-twice", hello_twice, 1},
    {"unknown-type", unknown_type, 1},
    {"unknown-stream", unknown_stream, 1},
    {"half-frame", half_frame, 1},
    {"long-call", long_call, 1},
    {"early-bird", early_bird, 1},
    {"big-credit", big_credit, 1},
    {"overrun", overrun, 1},
    {"deflated", deflated, 1},
    {"silent", silent, 1},
    {"hung-up", hung_up, 1},
    {"rude-goodbye", rude_goodbye, 1},
    {"rude-close", rude_close, 1},
    {"calls-us", calls_us, 1},
};

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: fakeagent MODE\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_DFL);
    read_until("n=");
    get(nonce, NONCE);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(modes[i].name, argv[1]) != 0)
            continue;
        if (modes[i].says_system)
            say_system("Linux x86_64");
        modes[i].play();
        return 0;
    }
    fputs("fakeagent: no such mode\n", stderr);
    return 2;
}
