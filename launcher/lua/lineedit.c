#include "launcher/lua/lineedit.h"

#include <dlfcn.h>
#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/errors.h"

#define HISTORY_LINES 1000

/* What is used of libedit. */
struct library {
    void *handle;
    __typeof__(el_init) *init;
    __typeof__(el_end) *end;
    __typeof__(el_gets) *gets;
    __typeof__(el_set) *set;
    __typeof__(el_get) *get;
    __typeof__(el_source) *source;
    __typeof__(history_init) *history_init;
    __typeof__(history_end) *history_end;
    __typeof__(history) *history;
};

struct lineedit {
    FILE *in, *out;
    struct library lib;
    EditLine *el; /* NULL: lines are read as they are */
    History *past;
    char *file, *prompt;
    locale_t locale; /* the user's, for what a character is; the program may not have set it */
};

static int load(struct library *lib)
{
    struct {
        const char *name;
        void *at;
    } const names[] = {
        {"el_init", &lib->init},
        {"el_end", &lib->end},
        {"el_gets", &lib->gets},
        {"el_set", &lib->set},
        {"el_get", &lib->get},
        {"el_source", &lib->source},
        {"history_init", &lib->history_init},
        {"history_end", &lib->history_end},
        {"history", &lib->history},
    };

    /* It stays, since what it knows of the terminal does. */
    lib->handle = dlopen(GRAPNEL_LIBEDIT, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!lib->handle)
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *symbol = dlsym(lib->handle, names[i].name);
        if (!symbol)
            return 0;
        memcpy(names[i].at, &symbol, sizeof symbol);
    }
    return 1;
}

/* libedit gives the editor only, and what belongs to it must be asked for. */
static char *show_prompt(EditLine *el)
{
    static char none[] = "";
    struct lineedit *l = NULL;
    struct library lib = {.handle = dlopen(GRAPNEL_LIBEDIT, RTLD_NOW | RTLD_NOLOAD)};
    void *symbol = lib.handle ? dlsym(lib.handle, "el_get") : NULL;

    memcpy(&lib.get, &symbol, sizeof symbol);
    if (lib.get)
        lib.get(el, EL_CLIENTDATA, &l);
    if (lib.handle)
        dlclose(lib.handle);
    return l && l->prompt ? l->prompt : none;
}

static void start_history(struct lineedit *l, const char *file)
{
    HistEvent event;

    l->past = l->lib.history_init();
    if (!l->past)
        return;
    l->lib.history(l->past, &event, H_SETSIZE, HISTORY_LINES);
    l->lib.history(l->past, &event, H_SETUNIQUE, 1);
    if (file && (l->file = strdup(file)) != NULL)
        l->lib.history(l->past, &event, H_LOAD, file);
    l->lib.set(l->el, EL_HIST, l->lib.history, l->past);
}

static void start_editor(struct lineedit *l, const char *file)
{
    locale_t before;

    if (!isatty(fileno(l->in)) || !isatty(fileno(l->out)) || !load(&l->lib))
        return;
    l->locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
    before = uselocale(l->locale);
    l->el = l->lib.init("grapnel", l->in, l->out, stderr);
    if (l->el) {
        l->lib.set(l->el, EL_CLIENTDATA, l);
        l->lib.set(l->el, EL_PROMPT, show_prompt);
        l->lib.set(l->el, EL_EDITOR, "emacs");
        start_history(l, file);
        l->lib.source(l->el, NULL);
    }
    uselocale(before);
}

struct lineedit *lineedit_new(FILE *in, FILE *out, const char *history)
{
    struct lineedit *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->in = in;
    l->out = out;
    start_editor(l, history);
    return l;
}

/* Both give the line with its newline, borrowed or not, and its length: 0 at the end, or -1. */
static ssize_t edited(struct lineedit *l, const char **text)
{
    locale_t before = uselocale(l->locale ? l->locale : (locale_t)0);
    int n = 0;

    errno = 0;
    *text = l->lib.gets(l->el, &n);
    uselocale(before);
    return *text ? n : (n < 0 ? -1 : 0);
}

static ssize_t plain(struct lineedit *l, const char *prompt, char **text)
{
    size_t room = 0;
    ssize_t n;

    if (isatty(fileno(l->in))) {
        fputs(prompt, l->out);
        fflush(l->out);
    }
    errno = 0;
    n = getline(text, &room, l->in);
    if (n < 0 && feof(l->in))
        n = 0;
    clearerr(l->in);
    return n;
}

int lineedit_read(struct lineedit *l, const char *prompt, char **line)
{
    const char *text = NULL;
    ssize_t n;

    *line = NULL;
    free(l->prompt);
    l->prompt = strdup(prompt);
    if (l->el) {
        n = edited(l, &text);
        *line = n > 0 ? strndup(text, (size_t)n) : NULL;
    } else {
        n = plain(l, prompt, line);
    }
    if (n > 0 && *line) {
        if ((*line)[n - 1] == '\n')
            (*line)[n - 1] = '\0';
        return 1;
    }
    free(*line);
    *line = NULL;
    if (n == 0)
        return 0;
    if (n > 0 || errno == ENOMEM)
        return -E_NOMEM;
    return errno == EINTR ? -E_CANCELLED : -E_IO;
}

void lineedit_add(struct lineedit *l, const char *text)
{
    HistEvent event;

    if (l->past && *text)
        l->lib.history(l->past, &event, H_ENTER, text);
}

void lineedit_free(struct lineedit *l)
{
    HistEvent event;

    if (!l)
        return;
    if (l->past && l->file)
        l->lib.history(l->past, &event, H_SAVE, l->file);
    if (l->past)
        l->lib.history_end(l->past);
    if (l->el)
        l->lib.end(l->el);
    if (l->lib.handle)
        dlclose(l->lib.handle);
    if (l->locale)
        freelocale(l->locale);
    free(l->file);
    free(l->prompt);
    free(l);
}
