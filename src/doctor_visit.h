/* What the doctor's looks share. Private to doctor*.c. */
#ifndef MFLASH_DOCTOR_VISIT_H
#define MFLASH_DOCTOR_VISIT_H

#include <stdio.h>
#include <string.h>

#include "doctor.h"
#include "link/ports.h"

struct visit {
    const struct host *host;
    const struct user *user;
    const struct serial_port *ports;
    size_t port_count;
    struct finding *findings;
    size_t count;
};

/* The next finding, to be filled in with WHAT and REMEDY. */
struct finding *doctor_found(struct visit *visit, enum severity severity);

#define WHAT(finding, ...) ((void)snprintf((finding)->what, sizeof(finding)->what, __VA_ARGS__))
#define REMEDY(finding, ...) \
    ((void)snprintf((finding)->remedy, sizeof(finding)->remedy, __VA_ARGS__))

static inline const char *doctor_tty_name(const struct serial_port *port)
{
    return strrchr(port->path, '/') + 1;
}

/* Who may open the ports, who has them open, and who is about to. */
void doctor_look_at_access(struct visit *visit);

#endif
