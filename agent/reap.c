#include "agent/reap.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/follow.h"
#include "agent/linux.h"
#include "agent/tree.h"
#include "proto/errors.h"

#define PASS_FIRST_US 2000u    /* between the first passes of an ending */
#define PASS_MOST_US  100000u  /* and at most */
#define STUCK_US      5000000u /* a process that KILL did not end in this time is left alone */

struct reap_child {
    struct reap_child *next;
    pid_t pid;
    reap_exited *exited;
    void *arg;
};

struct reap_ending {
    struct reap_ending *next;
    struct follow follow;
    uint64_t kill_at; /* microseconds */
    reap_ended *ended;
    void *arg;
    unsigned empty_passes;
    size_t refused; /* processes of the last pass that may not be signalled */
    int over;
};

struct reap {
    struct ev_loop *loop;
    ev_signal child_signal;
    ev_timer pass_timer;
    struct reap_child *children;
    struct reap_ending *endings;
    struct tree tree;
    uint64_t pause_us; /* until the next pass */
};

/* ---- taking the ends of children ---- */

static struct reap_child *take_child(struct reap *r, pid_t pid)
{
    for (struct reap_child **at = &r->children; *at != NULL; at = &(*at)->next) {
        struct reap_child *c = *at;
        if (c->pid == pid) {
            *at = c->next;
            return c;
        }
    }
    return NULL;
}

/* Returns true when there is no child at all, and so no descendant. */
static int take_ends(struct reap *r)
{
    struct rusage usage;
    struct reap_child *c;
    pid_t pid;
    int status;

    for (;;) {
        pid = wait4(-1, &status, WNOHANG, &usage);
        if (pid < 0 && errno == EINTR) {
            continue;
        }
        if (pid <= 0) {
            return pid < 0 && errno == ECHILD;
        }
        c = take_child(r, pid);
        if (c != NULL) {
            c->exited(c->arg, status, &usage);
            free(c);
        }
    }
}

struct reap_child *reap_watch(struct reap *r, pid_t pid, reap_exited *exited, void *arg)
{
    struct reap_child *c = calloc(1, sizeof *c);

    if (c == NULL) {
        return NULL;
    }
    c->pid = pid;
    c->exited = exited;
    c->arg = arg;
    c->next = r->children;
    r->children = c;
    return c;
}

void reap_forget(struct reap *r, struct reap_child *c)
{
    if (c != NULL) {
        free(take_child(r, c->pid));
    }
}

/* ---- passes ---- */

static int is_leader(void *arg, pid_t pid)
{
    const struct reap *r = arg;

    for (const struct reap_child *c = r->children; c != NULL; c = c->next) {
        if (c->pid == pid) {
            return 1;
        }
    }
    return 0;
}

static void signal_marked(struct reap *r, struct reap_ending *e, int kill_now)
{
    e->refused = 0;
    for (size_t i = 0; i < r->tree.count; i++) {
        const struct tree_process *p = &r->tree.p[i];
        if (!p->marked || p->dead) {
            continue;
        }
        if (kill_now) {
            e->refused += linux_signal(p->pid, p->started, SIGKILL) != 0;
            continue;
        }
        if (follow_knows(&e->follow, p)) {
            e->refused += linux_signal(p->pid, p->started, 0) != 0;
            continue; /* it has had its TERM */
        }
        e->refused += linux_signal(p->pid, p->started, SIGTERM) != 0;
        if (p->state == 'T') {
            (void)linux_signal(p->pid, p->started, SIGCONT);
        }
    }
}

/* Where the process table cannot be read the process groups are what can be reached. */
static void signal_groups(const struct reap *r, const struct reap_ending *e, int number)
{
    for (const struct reap_child *c = r->children; c != NULL; c = c->next) {
        if (e->follow.leader == 0 || c->pid == e->follow.leader) {
            (void)kill(-c->pid, number);
        }
    }
}

static void pass_ending(struct reap *r, struct reap_ending *e, int table, int childless,
                        uint64_t now)
{
    int kill_now = now >= e->kill_at;
    size_t count = 0;

    if (!childless && table != 0) {
        signal_groups(r, e, kill_now ? SIGKILL : SIGTERM);
        e->over =
            e->follow.leader != 0 ? !is_leader(r, e->follow.leader) : now >= e->kill_at + STUCK_US;
        return;
    }
    if (!childless) {
        count = follow_mark(&e->follow, &r->tree, is_leader, r);
        signal_marked(r, e, kill_now);
        follow_keep(&e->follow, &r->tree);
    }
    /* The table is read while the tree changes: a process whose parent ends just then is missed
     * once, but not twice.  To be without children is certain at once. */
    e->empty_passes = count == 0 ? e->empty_passes + 1 : 0;
    if (childless || (e->follow.leader != 0 && e->empty_passes >= 2)) {
        e->refused = 0;
        e->over = 1;
    } else if (kill_now && count > 0 && count == e->refused) {
        e->over = 1;
    } else if (now >= e->kill_at + STUCK_US) {
        e->refused = count;
        e->over = 1;
    }
}

static void run_over(struct reap *r)
{
    struct reap_ending **at = &r->endings;

    while (*at != NULL) {
        struct reap_ending *e = *at;
        if (!e->over) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        e->ended(e->arg, e->refused);
        follow_free(&e->follow);
        free(e);
        at = &r->endings; /* the callback may have changed the list */
    }
}

static void schedule(struct reap *r, uint64_t after_us)
{
    ev_timer_stop(r->loop, &r->pass_timer);
    if (r->endings != NULL) {
        ev_timer_set(&r->pass_timer, (double)after_us / 1e6, 0.0);
        ev_timer_start(r->loop, &r->pass_timer);
    }
}

static void pass(struct reap *r)
{
    int childless = take_ends(r);
    uint64_t now = clock_now_us();
    uint64_t took;
    int table = 0;

    if (r->endings == NULL) {
        return;
    }
    if (!childless) {
        table = tree_scan(&r->tree, getpid());
    }
    for (struct reap_ending *e = r->endings; e != NULL; e = e->next) {
        pass_ending(r, e, table, childless, now);
    }
    run_over(r);
    ev_now_update(r->loop);
    took = clock_now_us() - now;
    r->pause_us = r->pause_us * 2 < PASS_MOST_US ? r->pause_us * 2 : PASS_MOST_US;
    schedule(r, took > r->pause_us ? took : r->pause_us);
}

static void on_pass(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    pass(w->data);
}

static void on_child(struct ev_loop *loop, ev_signal *w, int events)
{
    struct reap *r = w->data;

    (void)loop;
    (void)events;
    (void)take_ends(r);
    if (r->endings != NULL) {
        r->pause_us = PASS_FIRST_US; /* something has moved: look again soon */
        schedule(r, PASS_FIRST_US / 2);
    }
}

/* ---- endings ---- */

static struct reap_ending *start(struct reap *r, pid_t leader, unsigned grace_ms, reap_ended *ended,
                                 void *arg)
{
    struct reap_ending *e = calloc(1, sizeof *e);

    if (e == NULL) {
        return NULL;
    }
    e->follow.leader = leader;
    e->kill_at = clock_now_us() + (uint64_t)grace_ms * 1000u;
    e->ended = ended;
    e->arg = arg;
    e->next = r->endings;
    r->endings = e;
    r->pause_us = PASS_FIRST_US;
    schedule(r, 0);
    return e;
}

struct reap_ending *reap_end_command(struct reap *r, pid_t leader, uint64_t since, int alone,
                                     unsigned grace_ms, reap_ended *ended, void *arg)
{
    struct reap_ending *e = start(r, leader, grace_ms, ended, arg);

    if (e != NULL) {
        e->follow.since = since;
        e->follow.alone = alone;
    }
    return e;
}

struct reap_ending *reap_end_all(struct reap *r, unsigned grace_ms, reap_ended *ended, void *arg)
{
    while (r->endings != NULL) {
        reap_stop(r, r->endings);
    }
    return start(r, 0, grace_ms, ended, arg);
}

void reap_stop(struct reap *r, struct reap_ending *e)
{
    for (struct reap_ending **at = &r->endings; e != NULL && *at != NULL; at = &(*at)->next) {
        if (*at == e) {
            *at = e->next;
            follow_free(&e->follow);
            free(e);
            return;
        }
    }
}

void reap_signal_group(struct reap *r, pid_t leader, int number)
{
    if (is_leader(r, leader)) {
        (void)kill(-leader, number); /* not taken yet, so the number is still the command's */
        return;
    }
    if (tree_scan(&r->tree, getpid()) != 0) {
        return;
    }
    for (size_t i = 0; i < r->tree.count; i++) {
        const struct tree_process *p = &r->tree.p[i];
        if (p->below && !p->dead && p->group == leader) {
            (void)linux_signal(p->pid, p->started, number);
        }
    }
}

size_t reap_count(struct reap *r)
{
    size_t count = 0;

    if (tree_scan(&r->tree, getpid()) != 0) {
        return 0;
    }
    for (size_t i = 0; i < r->tree.count; i++) {
        count += r->tree.p[i].below && !r->tree.p[i].dead;
    }
    return count;
}

/* ---- life ---- */

struct reap *reap_new(struct ev_loop *loop)
{
    struct reap *r = calloc(1, sizeof *r);

    if (r == NULL) {
        return NULL;
    }
    r->loop = loop;
    ev_init(&r->pass_timer, on_pass);
    r->pass_timer.data = r;
    ev_signal_init(&r->child_signal, on_child, SIGCHLD);
    r->child_signal.data = r;
    ev_signal_start(loop, &r->child_signal);
    return r;
}

void reap_free(struct reap *r)
{
    if (r == NULL) {
        return;
    }
    while (r->endings != NULL) {
        reap_stop(r, r->endings);
    }
    while (r->children != NULL) {
        reap_forget(r, r->children);
    }
    ev_signal_stop(r->loop, &r->child_signal);
    ev_timer_stop(r->loop, &r->pass_timer);
    tree_free(&r->tree);
    free(r);
}
