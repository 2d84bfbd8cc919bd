/* The objects of one end of a link that the other end holds references to: which id stands for
 * which object, and how many times it was sent.
 *
 * Each sending of a ref counts one up (refs_issue), each RELEASE so many down (refs_release); at
 * zero the object is given back to its owner.  Ids begin with 1 and are never used again, so that
 * an id of a released object stands for nothing forever.  All of it is O(1). */
#ifndef GRAPNEL_PROTO_REFS_H
#define GRAPNEL_PROTO_REFS_H

#include <stddef.h>
#include <stdint.h>

#define REFS_MAX (1024 * 1024) /* default of the most objects in a table */

struct refs;

/* The peer holds nothing of `object` any more.  `id` stands for nothing by then; the callback may
 * issue and release, but not free the table. */
typedef void refs_gone(void *arg, void *object, int64_t id);

/* A table for at most `most` objects (0: REFS_MAX).  gone may be NULL.  NULL when memory is out. */
struct refs *refs_new(size_t most, refs_gone *gone, void *arg);

/* Runs gone for all that is left (which may not issue now), and frees.  NULL is legal. */
void refs_free(struct refs *t);

/* Counts one more sending of `object` (not NULL), which is in the table or put into it.  Its id; or
 * -E_LIMIT (`most`), -E_NOMEM, -E_ARGUMENT (NULL).  A sending that does not take place after all is
 * taken back with refs_release. */
int64_t refs_issue(struct refs *t, void *object);

/* The object of that id, as long as the peer holds it; else NULL, whatever the id. */
void *refs_find(const struct refs *t, int64_t id);

/* The id of an object that is in the table; 0: it is not.  Counts nothing. */
int64_t refs_id(const struct refs *t, const void *object);

/* Takes `count` sendings back, and at zero runs gone.  0; -E_PROTOCOL, and nothing has happened,
 * when count < 1, or the id was never issued, or not so many are left. */
int refs_release(struct refs *t, int64_t id, int64_t count);

/* The number of objects in the table, and of the sendings of one that are left (0: not there). */
size_t refs_count(const struct refs *t);
int64_t refs_held(const struct refs *t, int64_t id);

#endif
