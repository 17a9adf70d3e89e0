/*
 * What on this machine gets in the way: see doctor.h. One function for each thing that people have
 * lost an evening to; each looks at a few files and adds a finding or none.
 *
 * Documents: Linux Documentation/ABI/testing/sysfs-bus-usb (power/control), sysfs-class-net,
 * FTDI AN232B-04 (latency timer). Who may open and who holds a port: doctor_access.c.
 */
#include "doctor_visit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link/ports.h"

enum {
    FINDINGS_MAX = 128,
    LATENCY_GOOD = 2,   /* milliseconds; a request and its reply should not wait for longer */
    NET_TYPE_CAN = 280, /* ARPHRD_CAN */
    NET_UP = 1,         /* IFF_UP */
};

const char *severity_name(enum severity severity)
{
    static const char *const names[] = {"note", "warning", "problem"};
    return names[severity];
}

struct finding *doctor_found(struct visit *visit, enum severity severity)
{
    struct finding *finding = &visit->findings[visit->count];
    if (visit->count + 1 < FINDINGS_MAX)
        visit->count++;
    *finding = (struct finding){.severity = severity};
    return finding;
}

/* ---- USB ---- */

static void look_at_latency(struct visit *visit)
{
    for (size_t i = 0; i < visit->port_count; i++) {
        char path[HOST_PATH_MAX];
        unsigned long milliseconds;
        host_path(path, "%s/class/tty/%s/device/latency_timer", visit->host->sys,
                  doctor_tty_name(&visit->ports[i]));
        if (!host_number(path, 10, &milliseconds) || milliseconds <= LATENCY_GOOD)
            continue;
        struct finding *finding = doctor_found(visit, SEVERITY_NOTE);
        WHAT(finding, "%s holds every short answer back for %lu ms (FTDI latency timer)",
             visit->ports[i].path, milliseconds);
        REMEDY(finding,
               "mflash lowers it while it runs; for good: echo 1 | sudo tee "
               "/sys/class/tty/%s/device/latency_timer",
               doctor_tty_name(&visit->ports[i]));
    }
}

static void look_at_autosuspend(struct visit *visit)
{
    for (size_t i = 0; i < visit->port_count; i++) {
        char device[HOST_PATH_MAX], path[HOST_PATH_MAX], text[16];
        unsigned long delay;
        if (!ports_usb_device(visit->host, doctor_tty_name(&visit->ports[i]), device))
            continue;
        host_path(path, "%s/power/control", device);
        if (!host_line(path, text, sizeof text) || strcmp(text, "auto") != 0)
            continue;
        host_path(path, "%s/power/autosuspend_delay_ms", device);
        if (host_line(path, text, sizeof text) &&
            (text[0] == '-' || !host_number(path, 10, &delay)))
            continue; /* negative: never */
        struct finding *finding = doctor_found(visit, SEVERITY_NOTE);
        WHAT(finding, "%s may be put to sleep by USB autosuspend", visit->ports[i].path);
        REMEDY(finding, "if it drops out: echo on | sudo tee /sys/bus/usb/devices/%s/power/control",
               visit->ports[i].bus_path);
    }
}

/* Makers of the USB serial bridges that boards carry. */
static const struct {
    unsigned long vid;
    const char *name, *module;
} bridges[] = {
    {0x0403, "FTDI", "ftdi_sio"},
    {0x067b, "Prolific", "pl2303"},
    {0x10c4, "Silicon Labs CP210x", "cp210x"},
    {0x1a86, "WCH CH34x", "ch341"},
};

/* An interface of a serial bridge that no driver has taken has no port. */
static void look_at_interface(struct visit *visit, const char *name)
{
    char path[HOST_PATH_MAX], driver[32];
    unsigned long vid;
    size_t device = strcspn(name, ":");
    host_path(path, "%s/bus/usb/devices/%.*s/idVendor", visit->host->sys, (int)device, name);
    if (!host_number(path, 16, &vid))
        return;
    host_path(path, "%s/bus/usb/devices/%s/driver", visit->host->sys, name);
    if (host_link_name(path, driver, sizeof driver))
        return;
    for (size_t i = 0; i < sizeof bridges / sizeof bridges[0]; i++) {
        if (bridges[i].vid != vid)
            continue;
        struct finding *finding = doctor_found(visit, SEVERITY_PROBLEM);
        WHAT(finding, "a %s serial adapter is plugged in at %.*s, but no driver has taken it",
             bridges[i].name, (int)device, name);
        REMEDY(finding,
               "sudo modprobe %s; if that does not help, look for brltty or a virtual "
               "machine that took the device",
               bridges[i].module);
    }
}

static void look_for_orphans(struct visit *visit)
{
    char path[HOST_PATH_MAX];
    host_path(path, "%s/bus/usb/devices", visit->host->sys);
    DIR *dir = opendir(path);
    const char *entry;
    while (dir && (entry = host_next_name(dir)) != NULL)
        if (strchr(entry, ':'))
            look_at_interface(visit, entry);
    if (dir)
        (void)closedir(dir);
}

/* ---- CAN ---- */

static void look_at_network(struct visit *visit, const char *name)
{
    char path[HOST_PATH_MAX];
    unsigned long type, flags;
    host_path(path, "%s/class/net/%s/type", visit->host->sys, name);
    if (!host_number(path, 10, &type) || type != NET_TYPE_CAN)
        return;
    host_path(path, "%s/class/net/%s/flags", visit->host->sys, name);
    if (!host_number(path, 16, &flags) || (flags & NET_UP))
        return;
    struct finding *finding = doctor_found(visit, SEVERITY_WARNING);
    WHAT(finding, "the CAN interface %.32s is down", name);
    REMEDY(finding, "sudo ip link set %.32s up type can bitrate 1000000 (the rate of your nodes)",
           name);
}

static void look_at_can(struct visit *visit)
{
    char path[HOST_PATH_MAX];
    host_path(path, "%s/class/net", visit->host->sys);
    DIR *dir = opendir(path);
    const char *entry;
    while (dir && (entry = host_next_name(dir)) != NULL)
        if (entry[0] != '.')
            look_at_network(visit, entry);
    if (dir)
        (void)closedir(dir);
}

/* ---- power ---- */

/* A Raspberry Pi notes when its supply fell below 4.63 V (kernel driver raspberrypi-hwmon). */
static void look_at_supply(struct visit *visit)
{
    for (int i = 0; i < 16; i++) {
        char path[HOST_PATH_MAX], name[32];
        unsigned long alarm;
        host_path(path, "%s/class/hwmon/hwmon%d/name", visit->host->sys, i);
        if (!host_line(path, name, sizeof name) || strcmp(name, "rpi_volt") != 0)
            continue;
        host_path(path, "%s/class/hwmon/hwmon%d/in0_lcrit_alarm", visit->host->sys, i);
        if (!host_number(path, 10, &alarm) || alarm == 0)
            continue;
        struct finding *finding = doctor_found(visit, SEVERITY_WARNING);
        WHAT(finding, "this Raspberry Pi gets too little voltage: USB devices may drop out");
        REMEDY(finding, "a stronger supply or a shorter, thicker cable; power boards on their own");
    }
}

/* ---- all of it ---- */

static int gravest_first(const void *a, const void *b)
{
    const struct finding *first = a, *second = b;
    if (first->severity != second->severity)
        return (int)second->severity - (int)first->severity;
    return strverscmp(first->what, second->what);
}

static void look_everywhere(struct visit *visit)
{
    doctor_look_at_access(visit);
    look_at_latency(visit);
    look_at_autosuspend(visit);
    look_for_orphans(visit);
    look_at_can(visit);
    look_at_supply(visit);
    qsort(visit->findings, visit->count, sizeof *visit->findings, gravest_first);
}

enum { GROUPS_MAX = 256 };

static struct user this_user(gid_t groups[GROUPS_MAX])
{
    int count = getgroups(GROUPS_MAX - 1, groups);
    struct user user = {geteuid(), groups, count > 0 ? (size_t)count : 0};
    groups[user.group_count++] = getegid();
    return user;
}

int doctor(struct finding **findings, size_t *count, const struct host *host,
           const struct user *user, struct error *err)
{
    gid_t groups[GROUPS_MAX];
    struct user me = this_user(groups);
    struct serial_port *ports;
    struct visit visit = {.host = host ? host : host_here(), .user = user ? user : &me};
    *findings = NULL;
    *count = 0;
    int rc = ports_list(&ports, &visit.port_count, visit.host, err);
    if (rc == OK)
        rc = ports_holders(ports, visit.port_count, visit.host, err);
    if (rc != OK) {
        free(ports);
        return rc;
    }
    visit.ports = ports;
    visit.findings = calloc(FINDINGS_MAX, sizeof *visit.findings);
    if (visit.findings)
        look_everywhere(&visit);
    else
        rc = error_memory(err);
    free(ports);
    *findings = visit.findings;
    *count = visit.count;
    return rc;
}
