/* All that is Linux's own, in one place, with what there is elsewhere as the fallback.
 *
 * Kernel headers are not used: they do not come with every libc.  Where the running kernel is
 * older than a call the fallback is taken, so each function may be called anywhere. */
#ifndef GRAPNEL_AGENT_LINUX_H
#define GRAPNEL_AGENT_LINUX_H

#include <stdint.h>
#include <sys/types.h>

/* Orphans among the descendants of the caller become its children.  0, or -E_UNSUPPORTED. */
int linux_subreaper(void);

/* The caller gets `signal` when its parent dies.  0, or -E_UNSUPPORTED. */
int linux_parent_death(int signal);

/* Closes every descriptor from `first` on. */
void linux_close_from(int first);

/* A new empty file that has no name and takes writing, CLOEXEC: in memory where that is possible,
 * otherwise an unlinked one in a temporary directory.  Its descriptor, or -E_SYSTEM with errno. */
int linux_blob(const char *name);

/* Makes a file of linux_blob unchangeable, so that it may be run.  *fd may become another one.
 * 0, or -E_SYSTEM with errno (the file stays open). */
int linux_seal(int *fd);

/* Runs the program in file `fd`, as execve does; no /proc is needed, and the program does not get
 * the descriptor if that is CLOEXEC.  It must be in the system's own format: a script is not found
 * by its interpreter (ENOENT).  Returns only when it failed, with errno.  Async-signal-safe. */
void linux_run_file(int fd, char *const *argv, char *const *envp);

/* Gives every signal its default action, those included that the C library keeps for itself and
 * lets nobody touch: a launcher or a make that ignored them would pass that on for ever.
 * Async-signal-safe. */
void linux_default_signals(void);

/* Enlarges the buffer of a pipe to at least `bytes` if the system allows it. */
void linux_pipe_size(int fd, int bytes);

/* Sends `number` to process `pid`, if that is still the one that began at `started` (a value of
 * the process table, see tree.h).  0 (also when it is gone), or -E_SYSTEM when it is not
 * permitted. */
int linux_signal(pid_t pid, uint64_t started, int number);

/* Resident memory of a process, bytes; 0 when it cannot be seen. */
uint64_t linux_resident(pid_t pid);

/* Path of the running program's own file in path[size].  0, or -E_SYSTEM with errno. */
int linux_own_path(char *path, size_t size);

/* The running program's own file, opened for reading and CLOEXEC, even when its name is gone.
 * -E_SYSTEM with errno on failure. */
int linux_own_file(void);

#endif
