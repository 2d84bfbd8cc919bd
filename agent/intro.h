/* What comes before the link where a launcher believes that it starts an agent, and meets one that
 * is there already: it has the login shell run its start script, and sends an agent and padding to
 * that.  Here the script is only looked at for what it wants to be told, and what comes ahead of
 * the link is passed over. */
#ifndef GRAPNEL_AGENT_INTRO_H
#define GRAPNEL_AGENT_INTRO_H

#include <stddef.h>
#include <stdint.h>

#define INTRO_MOST  (1024 * 1024) /* bytes that are passed over */
#define INTRO_ZEROS 64            /* so many zeros stand before the link, at least */
#define INTRO_SIGN                                                                                 \
    32                 /* bytes at once that are a sign of life; the link is told of so many       \
                        * times at most, see LINK_ZEROS_MAX */
#define INTRO_NONCE 32 /* characters of the start script's nonce */

struct intro {
    size_t passed; /* bytes so far */
    size_t zeros;  /* in a row, just now */
    size_t matched;
    int over; /* the link's preface has come */
};

/* The status line that a start script of ours, `command` (NULL: there is none), would print here,
 * in line[size].  Its length; 0 when it is no start script, or does not fit. */
size_t intro_line(const char *command, char *line, size_t size);

/* Takes bytes of the line until the link's preface, which it takes, too: i->over is set then.
 * Returns how many were taken; i begins as zeros. */
size_t intro_take(struct intro *i, const uint8_t *bytes, size_t n);

#endif
