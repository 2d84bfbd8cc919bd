/* With which exit statuses a worker says why it ends by itself.  Code that runs in it can end it
 * with any of them, too: they are for words to people, and decide nothing. */
#ifndef GRAPNEL_PROTO_WORKER_STATUS_H
#define GRAPNEL_PROTO_WORKER_STATUS_H

enum worker_status {
    WORKER_STATUS_USAGE = 100,    /* its command line is not understood */
    WORKER_STATUS_PROTOCOL = 101, /* the launcher broke the protocol of the inner link */
    WORKER_STATUS_MEMORY = 102,   /* its memory limit does not let it go on */
    WORKER_STATUS_CPU = 103,      /* its CPU limit was reached */
    WORKER_STATUS_SERVICE = 104,  /* its service could not be loaded; stderr tells why */
};

#endif
