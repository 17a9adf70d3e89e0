/*
 * What this machine knows of a CAN interface: sysfs (Linux
 * Documentation/ABI/testing/sysfs-class-net) and netlink (can_link.c); and what is wrong with it,
 * in words.
 */
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "link/can_backend.h"

enum {
    QUEUE_WANTED = 128, /* Klipper docs/CANBUS.md; Linux gives 10 */
    ERROR_WARNING = 96,
    LISTED_MAX = 32,
};

const char *can_bus_state_name(enum can_bus_state state)
{
    static const char *const names[] = {
        [CAN_BUS_UNKNOWN] = "UNKNOWN",       [CAN_BUS_ACTIVE] = "ERROR-ACTIVE",
        [CAN_BUS_WARNING] = "ERROR-WARNING", [CAN_BUS_PASSIVE] = "ERROR-PASSIVE",
        [CAN_BUS_OFF] = "BUS-OFF",           [CAN_BUS_STOPPED] = "STOPPED",
        [CAN_BUS_SLEEPING] = "SLEEPING",
    };
    return (size_t)state < sizeof names / sizeof names[0] ? names[state] : names[CAN_BUS_UNKNOWN];
}

/* ---- sysfs ---- */

static unsigned long number_of(const struct host *host, const char *name, const char *file,
                               int base)
{
    char path[HOST_PATH_MAX];
    unsigned long number;
    host_path(path, "%s/class/net/%s/%s", host->sys, name, file);
    return host_number(path, base, &number) ? number : 0;
}

/* A name that could be an interface's, and one that is of CAN. */
static bool is_can(const struct host *host, const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strlen(name) < IFNAMSIZ && !strchr(name, '/') &&
           number_of(host, name, "type", 10) == ARPHRD_CAN;
}

static void read_sysfs(const struct host *host, struct can_status *status)
{
    char path[HOST_PATH_MAX], driver[64];
    const char *name = status->name;
    status->up = (number_of(host, name, "flags", 0) & IFF_UP) != 0;
    status->queue = (unsigned)number_of(host, name, "tx_queue_len", 10);
    status->received = number_of(host, name, "statistics/rx_packets", 10);
    status->sent = number_of(host, name, "statistics/tx_packets", 10);
    host_path(path, "%s/class/net/%s/device/subsystem", host->sys, name);
    status->physical = host_link_name(path, driver, sizeof driver);
    status->line = !status->physical; /* netlink knows better than sysfs whether it is virtual */
    host_path(path, "%s/class/net/%s/device/driver", host->sys, name);
    status->restarts_itself =
        status->line || (host_link_name(path, driver, sizeof driver) && !strcmp(driver, "gs_usb"));
}

const char *can_restart_words(const struct can_status *status)
{
    return status->restarts_itself ? "" : " restart-ms 100";
}

int can_status_on(const struct host *host, struct can_status *status, const char *name,
                  struct error *err)
{
    *status = (struct can_status){.state = CAN_BUS_UNKNOWN};
    if (!is_can(host, name))
        return can_no_such_interface(host, name, err);
    (void)snprintf(status->name, sizeof status->name, "%s", name);
    read_sysfs(host, status);
    return OK;
}

int can_status(struct can_status *status, const char *name, struct error *err)
{
    if (can_is_unix(name)) {
        *status = (struct can_status){.up = true, .state = CAN_BUS_UNKNOWN};
        (void)snprintf(status->name, sizeof status->name, "%s", name);
        return OK;
    }
    int rc = can_status_on(host_here(), status, name, err);
    if (rc == OK)
        (void)can_link_ask(status);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct can_status *)a)->name, ((const struct can_status *)b)->name);
}

size_t can_interfaces_on(const struct host *host, struct can_status *list, size_t max)
{
    char path[HOST_PATH_MAX];
    const char *name;
    size_t count = 0;
    host_path(path, "%s/class/net", host->sys);
    DIR *dir = opendir(path);
    while (dir && count < max && (name = host_next_name(dir)) != NULL)
        if (is_can(host, name) && can_status_on(host, &list[count], name, NULL) == OK)
            count++;
    if (dir)
        (void)closedir(dir);
    if (count > 1)
        qsort(list, count, sizeof *list, by_name);
    return count;
}

size_t can_interfaces(struct can_status *list, size_t max)
{
    size_t count = can_interfaces_on(host_here(), list, max);
    for (size_t i = 0; i < count; i++)
        (void)can_link_ask(&list[i]);
    return count;
}

/* ---- in words ---- */

int can_no_such_interface(const struct host *host, const char *name, struct error *err)
{
    struct can_status list[LISTED_MAX];
    char names[256] = "";
    size_t count = can_interfaces_on(host, list, LISTED_MAX);
    for (size_t i = 0; i < count; i++)
        text_append(names, sizeof names, "%s%s", i ? ", " : "", list[i].name);
    if (count > 0)
        error_set(err, ERR_NO_DEVICE, "%s: there is no such CAN interface; there is %s", name,
                  names);
    else
        error_set(err, ERR_NO_DEVICE, "%s: this machine has no CAN interface now", name);
    error_hint(err, "is the adapter or bridge plugged in, and its driver loaded (`sudo modprobe "
                    "gs_usb`)? A bridge that is in its bootloader is no interface");
    return ERR_NO_DEVICE;
}

/* "500000", or what stands for it. */
static const char *rate_text(const struct can_status *status, char *text, size_t size)
{
    if (status->bitrate)
        (void)snprintf(text, size, "%u", (unsigned)status->bitrate);
    else
        (void)snprintf(text, size, "BITRATE");
    return text;
}

static void advise_up(const struct can_status *status, char *text, size_t size)
{
    char rate[16];
    if (status->physical)
        (void)snprintf(text, size, "%s is down: `sudo ip link set %s up type can bitrate %s%s`%s",
                       status->name, status->name, rate_text(status, rate, sizeof rate),
                       can_restart_words(status),
                       status->bitrate ? "" : ", with the rate that the nodes' firmware has");
    else
        (void)snprintf(text, size, "%s is down: `sudo ip link set %s up`", status->name,
                       status->name);
}

static void advise_wire(const struct can_status *status, char *text, size_t size)
{
    char errors[64] = "";
    if (status->tx_errors || status->rx_errors)
        (void)snprintf(errors, sizeof errors, " (error counters: %u sending, %u receiving)",
                       status->tx_errors, status->rx_errors);
    (void)snprintf(text, size,
                   "%s is %s%s: the bit rate is not that of the nodes, or wiring or termination "
                   "is bad (60 ohm from CANH to CANL with the power off); then `sudo ip link set "
                   "%s down`, `sudo ip link set %s up`",
                   status->name, can_bus_state_name(status->state), errors, status->name,
                   status->name);
}

bool can_advice(const struct can_status *status, char *text, size_t size)
{
    const char *name = status->name;
    bool told = status->physical && status->state != CAN_BUS_UNKNOWN;
    text[0] = '\0';
    if (!status->up)
        advise_up(status, text, size);
    else if (status->state == CAN_BUS_OFF || status->state == CAN_BUS_PASSIVE ||
             status->tx_errors >= ERROR_WARNING)
        advise_wire(status, text, size);
    else if (told && !status->restarts_itself && status->restart_ms == 0)
        (void)snprintf(text, size,
                       "%s does not recover from bus-off by itself: `sudo ip link set %s down`, "
                       "`sudo ip link set %s up type can restart-ms 100`",
                       name, name, name);
    else if (status->physical && status->queue < QUEUE_WANTED)
        (void)snprintf(text, size,
                       "%s queues %u frames, little for several nodes at once: `sudo ip link set "
                       "%s txqueuelen %d`",
                       name, status->queue, name, QUEUE_WANTED);
    return text[0] != '\0';
}

int can_interface_down(const struct can_status *status, struct error *err)
{
    char advice[ERROR_HINT_MAX];
    error_set(err, ERR_FAILED, "opening %s: the interface is down", status->name);
    if (can_advice(status, advice, sizeof advice))
        error_hint(err, "%s", advice);
    return ERR_FAILED;
}
