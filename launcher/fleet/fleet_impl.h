/* What the files of fleets share: fleet.c (hosts, and the connections that are kept), job.c (who
 * begins when, until all have ended), task.c (one host's part in a job), attempt.c (how it is
 * connected to), work.c (what is done there; for maps: map_impl.h), keys.c (the same where nobody logs
 * in), told.c (results), wait.c (the public questions).  Not for anyone else; everything needs the
 * context's lock.
 *
 * Whatever happens to a task is noted there; job_look then runs once the loop comes round, ends
 * and begins tasks, and calls back.  So nothing is freed beneath its caller. */
#ifndef GRAPNEL_LAUNCHER_FLEET_FLEET_IMPL_H
#define GRAPNEL_LAUNCHER_FLEET_FLEET_IMPL_H

#include "launcher/connection.h"
#include "launcher/fleet/window.h"
#include "launcher/route.h"
#include "proto/values.h"
#include "proto/wire.h"

struct aliases;
struct crew;
struct input;
struct map;
struct question;
struct scan;
struct script;
struct task;

enum job_kind { JOB_RUN, JOB_PING, JOB_FACTS, JOB_CALL, JOB_SCRIPT, JOB_MAP, JOB_KEYS };

struct host {
    char *name;
    struct grapnel_server *server; /* kept from one job to the next; NULL: none */
};

struct grapnel_fleet {
    struct grapnel *g;
    struct grapnel_fleet_options options;   /* but for `connect` */
    struct grapnel_connect_options connect; /* strings and lists are its own */
    size_t count;
    struct host *hosts;
    struct grapnel_fleet_job *job; /* that is not freed; NULL: none */
    struct window window;
    struct aliases *aliases; /* NULL: names are not compared */
};

struct grapnel_fleet_job {
    struct grapnel_fleet *f;
    struct grapnel *g;
    struct grapnel_fleet_handler handler;
    void *arg;
    enum job_kind kind;
    struct grapnel_exec_options exec; /* JOB_RUN: strings and lists are its own */
    struct grapnel_instance_options instance;
    struct grapnel_call_options call; /* JOB_CALL, JOB_SCRIPT: likewise */
    struct input *input;              /* JOB_RUN, JOB_SCRIPT: NULL: none */
    struct map *map;                  /* JOB_MAP */
    unsigned key_kinds;               /* JOB_KEYS: by keys.c */
    struct task **tasks;              /* by host; NULL: not begun, or told */
    size_t next;                      /* the first host that has not begun */
    struct task *again, **again_tail; /* whose turn for another attempt has come */
    struct task *over, **over_tail;   /* have ended, and nobody was told */
    struct task *told, **told_tail;   /* for wait_any … */
    struct task *taken;               /* … and what it gave last */
    struct grapnel_fleet_counts counts;
    size_t fanout;      /* most hosts at work */
    size_t at_work;     /* tasks that have begun and not ended, also those that wait in between */
    size_t waiting;     /* of them: for another attempt */
    size_t batch_begun; /* hosts of the present batch */
    size_t kept_bytes;  /* output in memory */
    struct error stop;  /* code 0: hosts still begin */
    int cancelled;
    int enough; /* there is nothing left to do for hosts that have not begun */
    int over_told;
    void (*watch)(void *arg); /* fleet_watch; NULL: nobody */
    void *watch_arg;
    ev_timer look;  /* job_look was called */
    ev_timer pause; /* until the window admits another one */
    ev_timer total;
    int looking;
};

enum task_state {
    TASK_WAITING,    /* for another attempt */
    TASK_CONNECTING, /* the agent has not answered */
    TASK_RUNNING,
    TASK_CLOSING, /* the work is over, the connection is not */
    TASK_OVER,
};

/* One host's part in a job. */
struct task {
    struct task *next; /* in one of its job's lists */
    struct grapnel_fleet_job *job;
    size_t host;
    enum task_state state;
    struct grapnel_server *server;
    struct grapnel_exec *exec;
    struct grapnel_instance *instance;
    struct grapnel_future *future;
    struct question *question; /* a ping that is under way */
    struct crew *crew;         /* JOB_MAP: its instances */
    uint64_t did;              /* and what they have done */
    struct script *script;     /* what a script says and asks for */
    struct scan *scan;         /* JOB_KEYS: by keys.c; there is no server then */
    int work_over;             /* what was to be done has ended, somehow */
    int stopped;               /* it was cancelled */
    int connecting;            /* counted as such … */
    int in_window;             /* … and by the window */
    unsigned token;            /* the window's */
    unsigned failures, refusals;
    ev_timer timer;                          /* by state: another attempt, confirmation, closing */
    uint64_t opened_us;                      /* the present attempt began */
    uint64_t phase_us[GRAPNEL_FLEET_PHASES]; /* began, after that; 0: did not */
    uint64_t ended_us;                       /* likewise the work's end */
    uint64_t input_at;                       /* bytes of the input that were given */
    struct wire_buf out, err;
    size_t
        kept; /* bytes of output in memory: gathered, or those that the handler has not done with */
    struct grapnel_exec_status status;
    int has_status;
    struct value *value, *results; /* of calls the first of the results, if there is any */
    struct grapnel_error *error;   /* NULL: none */
    struct grapnel_fleet_result result;
};

/* ---- job.c ---- */

/* Starts a job (may be NULL) that was filled, unless *e has a code: then frees it, and NULL with
 * *error filled. */
struct grapnel_fleet_job *job_start(struct grapnel_fleet_job *job, struct error *e,
                                    struct grapnel_error *error);
/* A job of that kind, for f, that does nothing yet.  NULL with *e filled. */
struct grapnel_fleet_job *job_new(struct grapnel_fleet *f, enum job_kind kind,
                                  const struct grapnel_fleet_handler *handler, void *arg,
                                  struct error *e);
/* True when the caller has given no `thing`, which *error then says. */
int job_lacks(const void *thing, const char *what, struct grapnel_error *error);
/* Something has changed: see what there is to do, soon. */
void job_look(struct grapnel_fleet_job *job);
/* Nothing more begins; those that run are stopped if `cut` is set. */
void job_stop(struct grapnel_fleet_job *job, int cut, const struct error *why);
/* All is done: hosts that are at work end, and no other begins, which is no failure. */
void job_enough(struct grapnel_fleet_job *job);

/* ---- task.c ---- */

/* Begins the host's part.  NULL: memory is out. */
struct task *task_begin(struct grapnel_fleet_job *job, size_t host);
/* A host that is not begun, and why (code 0: there was no need).  NULL: memory is out. */
struct task *task_refuse(struct grapnel_fleet_job *job, size_t host, const struct error *why);
/* Stops it, for that reason; its end follows. */
void task_stop(struct task *t, const struct error *why);
/* There is nothing left for it to do. */
void task_enough(struct task *t);
/* What was to be done is over: with *e (code 0: all went well). */
void task_work_over(struct task *t, const struct error *e);
/* Cuts what is left of it, and frees it. */
void task_free(struct task *t);

/* It is over: its connection stays or goes, and its end is told soon. */
void task_over(struct task *t);
/* The same, with this failure, if it has none. */
void task_fail(struct task *t, const struct error *e);
/* The work has begun: if it has a time limit, it is over some time after that also when the host
 * says nothing. */
void task_watch_time(struct task *t);
/* Its one timer, which means something else in each state. */
void task_set_timer(struct task *t, int64_t ms);
/* Cuts its connection, if there is one. */
void task_drop_server(struct task *t);

/* ---- attempt.c ---- */

/* Begins an attempt, the first or another one. */
void attempt_begin(struct task *t);
/* Takes the connection that was kept from a former job: true, and its part has begun; or there is
 * none that is alive. */
int attempt_use_kept(struct task *t);
/* The agent has answered; nothing when that is known. */
void attempt_ready(struct task *t);
/* The attempt, if one is under way, has ended like that. */
void attempt_end(struct task *t, enum window_end how);
/* It takes long: others, who need not wait for it, may have its place in the window. */
void attempt_linger(struct task *t);
/* It has failed: there will be another one, or that is the host's end. */
void attempt_failed(struct task *t, const struct error *e);
/* A phase of it has begun: its name as grapnel_connect_options.phase has it. */
void attempt_phase(struct task *t, const char *phase, uint64_t elapsed_us);
/* It goes on, but the window has room for another one. */
void attempt_leave_window(struct task *t, enum window_end how);

/* ---- work.c ---- */

/* Begins what is to be done, on a connection that may not be ready.  0 or negative with *e. */
int work_begin(struct task *t, struct error *e);
/* The agent has answered. */
void work_ready(struct task *t);
/* Asks the host to stop it. */
void work_cancel(struct task *t);
/* There may be input for it. */
void work_input(struct task *t);
/* Bytes of output, 1 stdout, 2 stderr: how many are done with. */
size_t work_output(struct task *t, int which, const uint8_t *bytes, size_t n);
/* Nothing calls back any more. */
void work_free(struct task *t);

/* ---- keys.c ---- */

/* What aliases share, for free: keys are a host's, whoever logs in.  NULL: memory is out. */
char *keys_name(const struct route *route);
/* Begins to ask a host for its keys; takes the route.  0 or negative with *e. */
int keys_begin(struct task *t, struct route *route, struct error *e);
/* Nothing calls back any more; may be called from a callback of it. */
void keys_free(struct task *t);

/* ---- told.c ---- */

/* Fills t->result. */
void told_fill(struct task *t);
/* Frees what only a result needs. */
void told_clear(struct task *t);
/* Fills t's error, if it has none. */
void told_fail(struct task *t, const struct error *e);

#endif
