/* Reading lines from a person at a terminal, with editing and history, or from anything else. */
#ifndef GRAPNEL_LAUNCHER_LUA_LINEEDIT_H
#define GRAPNEL_LAUNCHER_LUA_LINEEDIT_H

#include <stdio.h>

struct lineedit;

/* Reads from `in` and prompts on `out`, both of which stay the caller's.  Where both are terminals,
 * and libedit is there, lines can be edited, as ~/.editrc says, and come back from `history`, a
 * file (NULL: none).  libedit is loaded only here, since loading takes time.  NULL: out of memory.
 */
struct lineedit *lineedit_new(FILE *in, FILE *out, const char *history);

/* Waits for one line.  The prompt is shown where `in` is a terminal.  1: *line is it, without its
 * newline, for the caller to free; 0: the end; -E_CANCELLED: a signal came whose handler was
 * installed without SA_RESTART (Ctrl-C), and what had been typed is dropped; -E_IO, -E_NOMEM. */
int lineedit_read(struct lineedit *l, const char *prompt, char **line);

/* Adds to the history what has proved to be worth it, several lines of one statement maybe. */
void lineedit_add(struct lineedit *l, const char *text);

/* Writes the history, which only its owner can read then, and frees l. */
void lineedit_free(struct lineedit *l);

#endif
