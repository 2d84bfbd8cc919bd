/* One term of the targets' language: a name, with ranges of numbers in brackets.
 *
 * web[01-20,30-40/2].example.com: numbers and ranges of them, with steps; leading zeros are kept,
 * and then both ends have as many digits.  Several brackets make a product, of which the last
 * counts fastest.  Brackets at the start of the host that have a colon in them stand around an IPv6
 * address, and are part of the name: [fe80::1]:22; ranges may stand in it: [fe80::[1-9]]:22.
 * Numbers are decimal everywhere. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_PATTERN_H
#define GRAPNEL_LAUNCHER_TARGETS_PATTERN_H

#include "launcher/targets/names.h"

#define PATTERN_NAME_MAX   1000 /* bytes of one name */
#define PATTERN_DIGITS_MAX 17   /* of a number in a range */

/* Ranges as in Ansible's inventories: [01:50], [0:10:2], [a:f]. */
#define PATTERN_ANSIBLE 1u

/* Adds the names that n bytes of text stand for, in their order.  More names than the set may have
 * are noticed before any is made.  0 or negative with *e filled, which names the text and the place
 * in it; then some may have been added. */
int pattern_expand(struct names *set, const char *text, size_t n, unsigned flags, struct error *e);

#endif
