/* The way of a program to its account's broker, if there is one. */
#ifndef GRAPNEL_LAUNCHER_BROKER_DIAL_H
#define GRAPNEL_LAUNCHER_BROKER_DIAL_H

#include <stddef.h>
#include <sys/types.h>

#include "proto/errors.h"

/* A connected socket, non-blocking, whose other end is of our account; *pid is its process, and
 * `where` (of `size` bytes, may be NULL) gets the socket's path.  Negative with *e filled:
 * -E_NOT_HELD when there is no broker, -E_UNSAFE and others when it cannot be trusted or used. */
int dial_broker(char *where, size_t size, pid_t *pid, struct error *e);

#endif
