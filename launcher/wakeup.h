/* A descriptor that becomes readable when it is told to, for those who sleep in a poll. */
#ifndef GRAPNEL_LAUNCHER_WAKEUP_H
#define GRAPNEL_LAUNCHER_WAKEUP_H

/* Whoever has it guards it with a lock of its own.  All zero: not there. */
struct wakeup {
    int reader, writer;
    int there, set;
};

/* 0, or -E_DESCRIPTORS. */
int wakeup_make(struct wakeup *w);
void wakeup_free(struct wakeup *w);

/* Makes w->reader readable until it is cleared; cheap when it is already. */
void wakeup_set(struct wakeup *w);
void wakeup_clear(struct wakeup *w);

#endif
