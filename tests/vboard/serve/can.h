/* Serves virtual nodes of a CAN bus in real time, until SIGTERM or SIGINT. */
#ifndef VBOARD_SERVE_CAN_H
#define VBOARD_SERVE_CAN_H

#include "options.h"

/* The exit status: 0 after SIGTERM, 2 if the board cannot act out what was asked, 1 otherwise. */
int serve_can(const struct options *options);

#endif
