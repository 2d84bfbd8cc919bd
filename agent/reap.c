#include "agent/reap.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/linux.h"
#include "agent/reap_internal.h"

/* ---- commands and their keepers ---- */

static void stop_hearing(struct reap_child *c)
{
    if (c->keeper.report >= 0) {
        ev_io_stop(c->reap->loop, &c->heard);
        close(c->keeper.report);
        c->keeper.report = -1;
    }
}

static void tell(struct reap_child *c, const struct keeper_report *end)
{
    stop_hearing(c);
    if (c->exited != NULL) {
        c->exited(c->arg, end);
        c->exited = NULL;
    }
}

static void on_heard(struct ev_loop *loop, ev_io *w, int events)
{
    struct reap_child *c = w->data;
    struct keeper_report end;
    int heard = keeper_hear(c->keeper.report, &end);

    (void)events;
    if (heard > 0) {
        c->leaving = end.last;
        tell(c, &end);
    } else if (heard < 0) {
        ev_io_stop(loop, w); /* the keeper's own end tells the rest */
    }
}

struct reap_child *reap_watch(struct reap *r, const struct keeper *k, unsigned owner,
                              reap_exited *exited, void *arg)
{
    struct reap_child *c = calloc(1, sizeof *c);

    if (c == NULL) {
        (void)kill(k->pid, SIGKILL);
        close(k->report);
        return NULL;
    }
    c->reap = r;
    c->keeper = *k;
    c->owner = owner;
    c->exited = exited;
    c->arg = arg;
    c->owned = 1;
    ev_io_init(&c->heard, on_heard, k->report, EV_READ);
    c->heard.data = c;
    ev_io_start(r->loop, &c->heard);
    c->next = r->children;
    r->children = c;
    return c;
}

void reap_end_input(const struct reap_child *c)
{
    if (!c->gone) {
        keeper_end_input(&c->keeper);
    }
}

void reap_forget(struct reap_child *c)
{
    if (c == NULL) {
        return;
    }
    c->exited = NULL;
    c->owned = 0;
    if (c->gone) {
        free(c);
    }
}

static void drop(struct reap_child *c)
{
    stop_hearing(c);
    c->gone = 1;
    if (!c->owned) {
        free(c);
    }
}

static void keeper_gone(struct reap *r, pid_t pid, int status)
{
    struct reap_child **at = &r->children;
    struct reap_child *c;

    while (*at != NULL && (*at)->keeper.pid != pid) {
        at = &(*at)->next;
    }
    c = *at;
    if (c == NULL) {
        return;
    }
    *at = c->next;
    reap_end_keeper(r, c, WIFSIGNALED(status));
    if (c->keeper.report >= 0) {
        struct keeper_report end;
        if (keeper_hear(c->keeper.report, &end) <= 0) {
            memset(&end, 0, sizeof end);
            end.status = SIGKILL; /* a command dies with its keeper */
            end.at = clock_now_us();
        }
        tell(c, &end);
    }
    drop(c);
}

int reap_take_ends(struct reap *r)
{
    pid_t pid;
    int status;

    for (;;) {
        pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == EINTR) {
            continue;
        }
        if (pid <= 0) {
            return pid < 0 && errno == ECHILD;
        }
        keeper_gone(r, pid, status);
    }
}

static void on_child(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop;
    (void)events;
    reap_end_look(w->data, reap_take_ends(w->data));
}

/* ---- asked for by others ---- */

int reap_is_keeper(const struct reap *r, pid_t pid)
{
    for (const struct reap_child *c = r->children; c != NULL; c = c->next) {
        if (c->keeper.pid == pid) {
            return 1;
        }
    }
    return 0;
}

/* While the leader is there its number is the group's, and the group is reached at once, those
 * included that are being forked. */
void reap_signal_group(struct reap *r, const struct reap_child *c, int number)
{
    const struct keeper *k = &c->keeper;
    struct tree_process leader;
    int table;

    if (c->gone) {
        return;
    }
    if (tree_look(k->leader, &leader) == 0 && leader.parent == k->pid) {
        (void)kill(-k->leader, number);
        return;
    }
    table = tree_scan(&r->tree);
    if (table != 0 && k->report >= 0) {
        (void)kill(-k->leader, number);
    }
    if (table != 0) {
        return;
    }
    (void)tree_mark(&r->tree, k->pid);
    for (size_t i = 0; i < r->tree.count; i++) {
        const struct tree_process *p = &r->tree.p[i];
        if (p->marked && !p->dead && p->group == k->leader) {
            (void)linux_signal(p->pid, p->started, number);
        }
    }
}

size_t reap_count(struct reap *r)
{
    size_t count = 0;

    if (tree_scan(&r->tree) != 0) {
        return 0;
    }
    (void)tree_mark(&r->tree, getpid());
    for (size_t i = 0; i < r->tree.count; i++) {
        const struct tree_process *p = &r->tree.p[i];
        count += p->marked && !p->dead && !reap_is_keeper(r, p->pid);
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
    reap_end_init(r);
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
        struct reap_child *c = r->children;
        r->children = c->next;
        drop(c);
    }
    ev_signal_stop(r->loop, &r->child_signal);
    ev_timer_stop(r->loop, &r->pass_timer);
    tree_free(&r->tree);
    free(r);
}
