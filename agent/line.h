/* The line: two descriptors that carry the agent's own session, with whose end the loop ends. */
#ifndef GRAPNEL_AGENT_LINE_H
#define GRAPNEL_AGENT_LINE_H

struct agent;
struct line;
struct session;

/* Begins a session on the agent's line; makes the descriptors non-blocking.  When all is over, the
 * loop is broken.  NULL: no memory. */
struct line *line_new(struct agent *a);
/* Frees it with its session; the descriptors stay open.  NULL is legal. */
void line_free(struct line *l);

struct session *line_session(struct line *l);

#endif
