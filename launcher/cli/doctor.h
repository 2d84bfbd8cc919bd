/* grapnel doctor: a connection, phase by phase, and what is left of it. */
#ifndef GRAPNEL_CLI_DOCTOR_H
#define GRAPNEL_CLI_DOCTOR_H

struct options;

/* Returns 0, 1 if something was left behind on the host, or SAY_FAILED if a phase failed. */
int doctor_verb(const struct options *o);

#endif
