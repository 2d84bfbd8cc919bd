/* The bootstrap's script run by real shells, with a shell script in the agent's place. */
#ifndef TESTS_UNIT_BOOTRIG_H
#define TESTS_UNIT_BOOTRIG_H

#include "launcher/bootstrap/bootstrap.h"

#define BOOTRIG_SHELLS 9

/* Fixture: a home, in which are the temporary directories, too, and the agent; at the end nothing
 * of an agent may be left. */
void bootrig_setup(void);
void bootrig_teardown(void);
extern char bootrig_home[];
extern struct agents_binary bootrig_agent;
/* Gives the agent the hashes that it has; before, it has one that is not its own. */
void bootrig_hash(void);

/* One attempt: `shell` runs the command with the environment's TMPDIR = home. */
struct bootrig_attempt {
    enum bootstrap_result result;
    struct error error;
    char rest[8192]; /* what followed the start */
    size_t rest_length;
    int ran;
    struct bootstrap_options next;
    char uname[64];
    const char *kept; /* what is said of it, and how loudly */
    int level;
};

/* cut: the line ends after so many bytes of the agent; 0: it does not.  path: PATH there, if not
 * NULL.  With NO_HOME in the environment there is no HOME. */
struct bootrig_attempt bootrig_try(const char *const *shell, const struct bootstrap_options *o,
                                   const char *path, size_t cut);
void bootrig_expect_started(const struct bootrig_attempt *a);
/* Folders of agents in the home. */
size_t bootrig_entries_left(void);
void bootrig_own_uname(char *text, size_t size);

/* NULL-terminated words before the command. */
extern const char *const bootrig_shells[BOOTRIG_SHELLS][4];
extern const char *const bootrig_sh[];

/* A folder with the named tools only. */
void bootrig_tools(char *folder, size_t size, const char *const *names);
void bootrig_remove_tools(const char *folder);

#endif
