/*
 * SIGINT and SIGTERM: the first asks to stop, the work finishes its block and leaves cleanly; the
 * second exits at once. A vanished reader of standard output must not kill a write: SIGPIPE is off.
 */
#include "commands/cli.h"

#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
    (void)signal;
    if (stop)
        _exit(130);
    stop = 1;
}

const volatile sig_atomic_t *signals_install(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &action, NULL);
    return &stop;
}
