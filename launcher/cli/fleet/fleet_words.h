/* What stands for something else of each host in the words of a command: %h the host, %u the user,
 * %n its number from 1 on, %{KEY} what the inventory knows of it, %% a percent sign. */
#ifndef GRAPNEL_CLI_FLEET_WORDS_H
#define GRAPNEL_CLI_FLEET_WORDS_H

#include <stddef.h>

/* What one host has to say. */
struct fleet_words_host {
    const char *name; /* as it was named: [USER@]HOST[:PORT], ssh://… */
    size_t number;    /* from 1 on */
    const char *user; /* NULL: is asked for by `value` with the key "%u" */
    /* NULL: there is none. */
    const char *(*value)(void *arg, const char *key);
    void *arg;
};

/* The word for that host, for free.  shell: the word is a line for a shell; then what is put in
 * must mean itself there.  NULL with why[] filled: an unknown sequence, a value that the host has
 * not or that a shell would read as more than a word, memory. */
char *fleet_words(const char *word, const struct fleet_words_host *host, int shell, char *why,
                  size_t why_size);

/* Copies the host of a name into size bytes: without user, port and the brackets of an address. */
void fleet_words_host_of(char *to, size_t size, const char *name);

#endif
