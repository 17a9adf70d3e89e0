/* What people do to a virtual board: SIGHUP is the reset button, SIGUSR1 a power cycle, SIGTERM and
 * SIGINT the end. They come through a descriptor that can be waited for. */
#ifndef VBOARD_SIGNALS_H
#define VBOARD_SIGNALS_H

/* A signalfd in non-blocking mode; the signals are blocked from here on. Negative: it cannot be. */
int signals_catch(void);

/* The next signal that has come, 0 if there is none. */
int signals_next(int signals);

#endif
