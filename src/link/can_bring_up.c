/*
 * `--bring-up`: a CAN interface with the right bit rate, a queue for several nodes, and a restart
 * after bus-off. libsocketcan does what ip(8) does; it writes to stderr when the kernel refuses, so
 * the right to do so is looked at first.
 */
#include <errno.h>
#include <libsocketcan.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/can_backend.h"

enum { QUEUE_WANTED = 128, RESTART_MS = 100, CAP_NET_ADMIN_BIT = 12 /* capabilities(7) */ };

/* CapEff of proc(5): has this process the right to configure interfaces? */
bool can_may_configure(const struct host *host)
{
    char path[HOST_PATH_MAX], line[256];
    unsigned long long effective = 0;
    host_path(path, "%s/self/status", host->proc);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "CapEff: %llx", &effective) == 1) /* NOLINT(cert-err34-c) */
            break;
    if (file)
        (void)fclose(file);
    return (effective >> CAP_NET_ADMIN_BIT & 1) != 0;
}

static bool set_queue(const char *name)
{
    struct ifreq request = {.ifr_qlen = QUEUE_WANTED};
    (void)snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done = fd >= 0 && ioctl(fd, SIOCSIFTXQLEN, &request) == 0;
    if (fd >= 0)
        (void)close(fd);
    return done;
}

static void hint_commands(const struct can_status *status, uint32_t bitrate, struct error *err)
{
    const char *name = status->name;
    error_hint(err,
               "sudo ip link set %s down\n"
               "sudo ip link set %s type can bitrate %u%s\n"
               "sudo ip link set %s txqueuelen %d\n"
               "sudo ip link set %s up",
               name, name, (unsigned)bitrate, can_restart_words(status), name, QUEUE_WANTED, name);
}

static int check(const struct can_status *status, uint32_t bitrate, struct error *err)
{
    char holder[128];
    if (!can_may_configure(host_here())) {
        error_set(err, ERR_PERMISSION, "%s: taking it up at %u bit/s needs administrator's rights",
                  status->name, (unsigned)bitrate);
        hint_commands(status, bitrate, err);
        return ERR_PERMISSION;
    }
    if (status->up && status->bitrate != bitrate && status->state != CAN_BUS_OFF &&
        can_holder(status->name, holder, sizeof holder)) {
        error_set(err, ERR_BUSY, "%s: it is up at %u bit/s, not %u, and %s receives on it",
                  status->name, (unsigned)status->bitrate, (unsigned)bitrate, holder);
        error_hint(err, "stop that first: the bit rate can be changed only while the interface "
                        "is down");
        return ERR_BUSY;
    }
    return OK;
}

/* Down, configured, up. A driver that refuses to restart after bus-off is no reason to leave it
 * down. */
static bool restart(const struct can_status *status, uint32_t bitrate)
{
    const char *name = status->name;
    if ((status->up && can_do_stop(name) != 0) ||
        (status->physical && can_set_bitrate(name, bitrate) != 0))
        return false;
    if (status->physical && !status->restarts_itself && status->restart_ms == 0)
        (void)can_set_restart_ms(name, RESTART_MS);
    return can_do_start(name) == 0;
}

int can_bring_up(const char *name, uint32_t bitrate, struct error *err)
{
    struct can_status status;
    int rc = can_status(&status, name, err);
    if (rc != OK || can_is_unix(name))
        return rc;
    bool runs =
        status.up && status.state != CAN_BUS_OFF && (!status.physical || status.bitrate == bitrate);
    if (runs && (!status.physical || status.queue >= QUEUE_WANTED))
        return OK;
    rc = check(&status, bitrate, err);
    if (rc != OK)
        return rc;
    if ((status.queue < QUEUE_WANTED && !set_queue(name)) ||
        (!runs && !restart(&status, bitrate))) {
        error_set(err, ERR_FAILED, "%s: the kernel refuses %u bit/s", name, (unsigned)bitrate);
        hint_commands(&status, bitrate, err);
        return ERR_FAILED;
    }
    return OK;
}
