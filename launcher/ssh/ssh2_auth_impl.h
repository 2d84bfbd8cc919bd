/* Shared by the files of ssh2_auth only. */
#ifndef GRAPNEL_LAUNCHER_SSH2_AUTH_IMPL_H
#define GRAPNEL_LAUNCHER_SSH2_AUTH_IMPL_H

#include "launcher/ssh/ssh2_auth.h"
#include "launcher/ssh/ssh2_prompt.h"

enum ssh2_method { SSH2_METHOD_PUBLICKEY, SSH2_METHOD_KBDINT, SSH2_METHOD_PASSWORD, SSH2_METHODS };

extern const char *const ssh2_auth_methods[SSH2_METHODS];

enum ssh2_auth_state {
    SSH2_STATE_CHOOSE,   /* which method comes next */
    SSH2_STATE_LIST,     /* asking what the server allows ("none") */
    SSH2_STATE_KEY,      /* an identity was chosen: its public key is needed */
    SSH2_STATE_OFFER,    /* libssh2 is at it */
    SSH2_STATE_QUESTION, /* keyboard-interactive runs in a thread */
    SSH2_STATE_SECRET,   /* a password is being asked for */
    SSH2_STATE_SEND,     /* ... and sent */
    SSH2_STATE_END
};

struct ssh2_auth {
    struct ssh2_auth_options o;
    struct ssh2_identities *ids;
    struct ssh2_session *session;
    struct ssh2_prompt *prompt;
    enum ssh2_auth_state state;
    enum ssh2_method order[SSH2_METHODS];
    size_t order_n;
    char *allowed; /* the server's list; NULL: not known (any more) */
    enum ssh2_auth_haste haste;
    int decided;                    /* a signature was sent */
    int blind;                      /* ... before the server had said that it takes the key */
    int repeated_rsa;               /* an RSA key that was refused was tried again, patiently */
    unsigned prompts[SSH2_METHODS]; /* how often each was tried */
    int given_up[SSH2_METHODS];
    int possible; /* somebody, or a file, answers questions; -1: not known yet */
    const uint8_t *blob;
    size_t blob_n;
    char tried[400]; /* "publickey (3 keys), password" */
    unsigned keys_tried;
    struct error passphrase; /* a key that the server would have taken stayed locked */
    char unasked[300];       /* why a question could not be put: "password: ..." */
};

void ssh2_auth_trace(const struct ssh2_auth *a, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* True when `name` stands in a comma-separated list (NULL: none). */
int ssh2_auth_listed(const char *list, const char *name);
/* A method fits when the server allows it (as far as that is known) and there is something to try.
 */
int ssh2_auth_fits(struct ssh2_auth *a, enum ssh2_method m);

/* A method is given up, as its question could not be put; why is in e. */
void ssh2_auth_unasked(struct ssh2_auth *a, enum ssh2_method m, const struct error *e);
/* Nothing is left to try: fills e and returns its code. */
int ssh2_auth_give_up(struct ssh2_auth *a, struct error *e);
/* 0, or, if the connection is over, its code with e filled.  Servers hang up after too many
 * attempts. */
int ssh2_auth_hung_up(struct ssh2_auth *a, struct error *e);

/* One step in the state of that name: SSH2_AUTH_DONE when the state has changed, else as
 * ssh2_auth_step. */
int ssh2_auth_list_step(struct ssh2_auth *a, struct error *e);
int ssh2_auth_key_step(struct ssh2_auth *a);
int ssh2_auth_offer_step(struct ssh2_auth *a, struct error *e);
int ssh2_auth_question_step(struct ssh2_auth *a, struct error *e);
int ssh2_auth_secret_step(struct ssh2_auth *a, struct error *e);
int ssh2_auth_send_step(struct ssh2_auth *a, struct error *e);

#endif
