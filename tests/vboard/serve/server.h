/* Serves one virtual board on a pty, in real time, until SIGTERM or SIGINT. */
#ifndef VBOARD_SERVER_H
#define VBOARD_SERVER_H

#include "options.h"

/* The exit status: 0 after SIGTERM, 2 if the board cannot act out what was asked, 1 otherwise. */
int serve(const struct options *options);

#endif
