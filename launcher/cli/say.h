/* What the command says: errors and notes on standard error, JSON and harmless text on standard
 * output. */
#ifndef GRAPNEL_CLI_SAY_H
#define GRAPNEL_CLI_SAY_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "launcher/grapnel.h"

#define SAY_FAILED 255 /* exit status when grapnel itself failed */

/* Fills *error with a failure of the command itself: name of the code, and the printf-formatted
 * cause with its way out.  Returns -1. */
int say_fail(struct grapnel_error *error, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One line on standard error, "grapnel: text", in one write; control characters are escaped. */
void say_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One line for a failure. */
void say_error(const struct grapnel_error *error);

/* Text made harmless for a terminal: controls, invalid UTF-8, and characters that reorder or hide
 * text become \xNN.  Into size bytes, cut to fit, always terminated.  Returns out. */
const char *say_safe(char *out, size_t size, const char *text);
/* The same of n bytes, which have a zero byte behind them; tabs pass.  `to` has room for 4 * n.
 * Returns how many there are then. */
size_t say_safe_bytes(char *to, const void *bytes, size_t n);
/* The same to a stream. */
void say_text(FILE *f, const char *text);

/* A JSON string of n bytes of text; what is not UTF-8 is escaped as by say_safe. */
json_t *say_json_text(const char *text);
/* Puts bytes into an object: as `key` when they are UTF-8, else as `key`_base64.  0, or -1: memory
 * is out. */
int say_json_bytes(json_t *object, const char *key, const void *bytes, size_t n);
/* Bytes in base64, for free.  NULL: memory is out. */
char *say_base64(const void *bytes, size_t n);
/* {"name", "phase", "text", "detail", "hint"}. */
json_t *say_json_error(const struct grapnel_error *error);
/* One line of JSON on standard output; takes the object.  A NULL (memory was out) fails.  0, or
 * negative with *error filled. */
int say_json(json_t *object, struct grapnel_error *error);

/* A copy of valid JSON text for standard output, to be freed by free: as it is, but if that is a
 * terminal without what could be obeyed or hidden there.  NULL: memory is out. */
char *say_json_safe(const char *text);

/* Brings all of standard output out: 0, or negative with *error filled (full disk, closed pipe). */
int say_flush(struct grapnel_error *error);

#endif
