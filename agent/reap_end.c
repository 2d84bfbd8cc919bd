#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/linux.h"
#include "agent/reap_internal.h"
#include "agent/warned.h"

#define PASS_FIRST_US 2000u    /* between the first passes of an ending */
#define PASS_MOST_US  100000u  /* and at most */
#define STUCK_US      5000000u /* a process that KILL did not end in this time is left alone */
#define STRAYS_MS     2000u    /* the grace of those whose keeper was killed */

/* What is to be ended. */
enum scope {
    SCOPE_ALL,
    SCOPE_COMMAND,
    SCOPE_OWNED,
    SCOPE_STRAYS,
};

struct reap_ending {
    struct reap_ending *next;
    enum scope scope;
    const struct reap_child *child; /* of a command, until its keeper is gone */
    unsigned owner;                 /* of SCOPE_COMMAND and SCOPE_OWNED */
    struct warned warned;
    uint64_t kill_at;  /* microseconds */
    reap_ended *ended; /* may be NULL */
    void *arg;
    unsigned empty_passes;
    unsigned quiet_passes; /* in a row, without anybody to send TERM */
    size_t refused;        /* processes of the last pass that may not be signalled */
    int over;
};

/* ---- passes ---- */

/* Is this the keeper of something that is to be ended? */
static int is_for(const struct reap_ending *e, const struct reap_child *c)
{
    return e->scope == SCOPE_ALL || c == e->child ||
           (e->scope == SCOPE_OWNED && c->owner == e->owner);
}

static int keeps_for(const struct reap *r, const struct reap_ending *e, pid_t pid)
{
    for (const struct reap_child *c = r->children; c != NULL; c = c->next) {
        if (c->keeper.pid == pid) {
            return is_for(e, c);
        }
    }
    return 0;
}

/* Marks what is to be ended.  Returns how many live. */
static size_t mark(struct reap *r, const struct reap_ending *e)
{
    if (e->scope == SCOPE_ALL || e->scope == SCOPE_COMMAND) {
        return tree_mark(&r->tree, e->scope == SCOPE_ALL ? getpid() : e->child->keeper.pid);
    }
    for (size_t i = 0; i < r->tree.count; i++) {
        struct tree_process *p = &r->tree.p[i];
        int root = e->scope == SCOPE_OWNED ? keeps_for(r, e, p->parent)
                                           : p->parent == getpid() && !reap_is_keeper(r, p->pid);
        p->marked = root != 0;
    }
    return tree_spread(&r->tree);
}

/* Nothing is left when an owner's keepers are gone.  Strays have lost the keeper that could tell
 * whose they are: all of them are waited for. */
static int none_owned(const struct reap *r, const struct reap_ending *owned)
{
    for (const struct reap_child *c = r->children; c != NULL; c = c->next) {
        if (is_for(owned, c)) {
            return 0;
        }
    }
    for (const struct reap_ending *e = r->endings; e != NULL; e = e->next) {
        if (e->scope == SCOPE_STRAYS && !e->over) {
            return 0;
        }
    }
    return 1;
}

static void signal_marked(struct reap *r, struct reap_ending *e, int kill_now)
{
    e->refused = 0;
    e->quiet_passes++;
    for (size_t i = 0; i < r->tree.count; i++) {
        const struct tree_process *p = &r->tree.p[i];
        if (!p->marked || p->dead) {
            continue;
        }
        if (kill_now) {
            e->refused += linux_signal(p->pid, p->started, SIGKILL) != 0;
            continue;
        }
        if (warned_has(&e->warned, p)) {
            e->refused += linux_signal(p->pid, p->started, 0) != 0;
            continue;
        }
        e->quiet_passes = 0;
        e->refused += linux_signal(p->pid, p->started, SIGTERM) != 0;
        if (p->state == 'T') {
            (void)linux_signal(p->pid, p->started, SIGCONT);
        }
    }
    warned_keep(&e->warned, &r->tree);
}

/* Where the process table cannot be read the process groups are what can be reached, but the
 * keepers still tell whether that was all. */
static void pass_blindly(const struct reap *r, struct reap_ending *e, int kill_now)
{
    for (const struct reap_child *c = r->children; c != NULL; c = c->next) {
        if (c->keeper.report >= 0 && is_for(e, c)) {
            (void)kill(-c->keeper.leader, kill_now ? SIGKILL : SIGTERM);
        }
    }
    e->quiet_passes++;
    e->over = e->scope == SCOPE_STRAYS; /* nobody knows who they are */
}

static void pass_ending(struct reap *r, struct reap_ending *e, int table, int childless,
                        uint64_t now)
{
    int kill_now = now >= e->kill_at;
    size_t count = 0;

    if (childless || (e->scope == SCOPE_OWNED && none_owned(r, e))) {
        e->refused = 0;
        e->over = 1;
        return;
    }
    if (table == 0) {
        count = mark(r, e);
        signal_marked(r, e, kill_now);
    } else {
        pass_blindly(r, e, kill_now);
    }
    /* The table is read while the tree changes: a process whose parent ends just then is missed
     * once, but not twice.  Only of strays, who have no keeper to tell it, must that be guessed. */
    e->empty_passes = count == 0 ? e->empty_passes + 1 : 0;
    if ((e->scope == SCOPE_STRAYS && e->empty_passes >= 2) ||
        (kill_now && count > 0 && count == e->refused)) {
        e->over = 1;
    } else if (now >= e->kill_at + STUCK_US) {
        e->refused = count > 0 ? count : 1; /* a keeper stays for one that the table hides */
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
        if (e->ended != NULL) {
            e->ended(e->arg, e->refused);
        }
        warned_free(&e->warned);
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
    int childless = reap_take_ends(r);
    uint64_t now = clock_now_us();
    uint64_t took;
    int table = 0;

    run_over(r);
    if (r->endings == NULL) {
        return;
    }
    if (!childless) {
        table = tree_scan(&r->tree);
    }
    for (struct reap_ending *e = r->endings; e != NULL; e = e->next) {
        if (!e->over) {
            pass_ending(r, e, table, childless, now);
        }
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

void reap_end_look(struct reap *r, int over)
{
    for (const struct reap_ending *e = r->endings; e != NULL; e = e->next) {
        over = over || e->over;
    }
    r->pause_us = PASS_FIRST_US;
    schedule(r, over ? 0 : PASS_FIRST_US / 2);
}

void reap_end_init(struct reap *r)
{
    ev_init(&r->pass_timer, on_pass);
    r->pass_timer.data = r;
}

/* ---- endings ---- */

static struct reap_ending *start(struct reap *r, enum scope scope, unsigned grace_ms)
{
    struct reap_ending *e = calloc(1, sizeof *e);

    if (e == NULL) {
        return NULL;
    }
    e->scope = scope;
    e->kill_at = clock_now_us() + (uint64_t)grace_ms * 1000u;
    e->next = r->endings;
    r->endings = e;
    r->pause_us = PASS_FIRST_US;
    schedule(r, 0);
    return e;
}

struct reap_ending *reap_end_command(struct reap *r, struct reap_child *c, unsigned grace_ms,
                                     reap_ended *ended, void *arg)
{
    struct reap_ending *e = start(r, SCOPE_COMMAND, grace_ms);

    if (e != NULL) {
        e->child = c->gone ? NULL : c;
        e->owner = c->owner;
        e->over = c->gone;
        e->ended = ended;
        e->arg = arg;
    }
    return e;
}

/* As the table is read while the tree changes, one look may miss somebody. */
int reap_end_warned(const struct reap *r, const struct reap_child *c)
{
    for (const struct reap_ending *e = r->endings; !c->gone && e != NULL; e = e->next) {
        if (is_for(e, c) && e->quiet_passes < 2 && clock_now_us() < e->kill_at) {
            return 0;
        }
    }
    return 1;
}

/* Of a command that has just ended the keeper may not be gone yet.  It will be before the table is
 * read, and then there is no need to. */
static int somebody_leaves(const struct reap *r)
{
    for (const struct reap_child *c = r->children; c != NULL; c = c->next) {
        if (c->leaving) {
            return 1;
        }
    }
    return 0;
}

struct reap_ending *reap_end_owned(struct reap *r, unsigned owner, unsigned grace_ms,
                                   reap_ended *ended, void *arg)
{
    struct reap_ending *e = r->endings;

    while (e != NULL) {
        struct reap_ending *next = e->next;
        if (e->owner == owner && e->scope == SCOPE_STRAYS) {
            e->ended = NULL;
        } else if (e->owner == owner && e->scope == SCOPE_COMMAND) {
            reap_stop(r, e);
        }
        e = next;
    }
    e = start(r, SCOPE_OWNED, grace_ms);
    if (e != NULL) {
        e->owner = owner;
        e->ended = ended;
        e->arg = arg;
        e->over = none_owned(r, e);
        schedule(r, !e->over && somebody_leaves(r) ? PASS_FIRST_US : 0);
    }
    return e;
}

struct reap_ending *reap_end_all(struct reap *r, unsigned grace_ms, reap_ended *ended, void *arg)
{
    struct reap_ending *e;

    while (r->endings != NULL) {
        reap_stop(r, r->endings);
    }
    e = start(r, SCOPE_ALL, grace_ms);
    if (e != NULL) {
        e->ended = ended;
        e->arg = arg;
        schedule(r, somebody_leaves(r) ? PASS_FIRST_US : 0);
    }
    return e;
}

void reap_stop(struct reap *r, struct reap_ending *e)
{
    for (struct reap_ending **at = &r->endings; e != NULL && *at != NULL; at = &(*at)->next) {
        if (*at == e) {
            *at = e->next;
            warned_free(&e->warned);
            free(e);
            return;
        }
    }
}

void reap_end_keeper(struct reap *r, const struct reap_child *c, int killed)
{
    int seen_to = 0; /* somebody ends the strays */

    for (struct reap_ending *e = r->endings; e != NULL; e = e->next) {
        if (e->child == c) {
            e->child = NULL;
            e->scope = killed ? SCOPE_STRAYS : e->scope;
            e->over = !killed;
            e->refused = 0;
        }
        seen_to = seen_to || e->scope == SCOPE_ALL || e->scope == SCOPE_STRAYS;
    }
    if (killed && !seen_to) {
        (void)start(r, SCOPE_STRAYS, STRAYS_MS);
    }
    for (struct reap_ending *e = r->endings; e != NULL; e = e->next) {
        if (e->scope == SCOPE_OWNED && none_owned(r, e)) {
            e->refused = 0;
            e->over = 1;
        }
    }
}
