/*
 * Who may open the ports, who has them open, and which services are known to reach for them.
 * Documents: ModemManager(8), brltty(1), group(5); udev's notes in /run/udev/data, one
 * "E:KEY=VALUE" a line.
 */
#include "doctor_visit.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "link/usb.h"

enum { GROUPS_TOLD_MAX = 16 };

static bool contains(const gid_t *groups, size_t count, gid_t group)
{
    for (size_t i = 0; i < count; i++)
        if (groups[i] == group)
            return true;
    return false;
}

/* By mode bits; what an access list adds (logind's uaccess) only the kernel can tell, and only for
 * the user who asks. */
static bool may_use(const struct user *user, const char *node, const struct stat *is)
{
    if (user->uid == 0)
        return true;
    mode_t wanted = 0006;
    if (user->uid == is->st_uid)
        wanted = 0600;
    else if (contains(user->groups, user->group_count, is->st_gid))
        wanted = 0060;
    if ((is->st_mode & wanted) == wanted)
        return true;
    return user->uid == geteuid() && access(node, R_OK | W_OK) == 0;
}

/* Name of a group by /etc/group, "NAME:x:GID:…"; its number if it has none. */
static void group_name(const struct host *host, gid_t group, char *name, size_t size)
{
    char path[HOST_PATH_MAX], line[512];
    (void)snprintf(name, size, "%u", (unsigned)group);
    host_path(path, "%s/group", host->etc);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        char *save = NULL;
        const char *entry = strtok_r(line, ":", &save);
        (void)strtok_r(NULL, ":", &save); /* the password */
        const char *number = strtok_r(NULL, ":", &save);
        if (entry && number && strtoul(number, NULL, 10) == group)
            host_printable(name, size, entry);
    }
    if (file)
        (void)fclose(file);
}

/* One finding for each group of nodes: with four adapters the remedy is still one command. */
static void look_at_permissions(struct visit *visit)
{
    gid_t told[GROUPS_TOLD_MAX];
    size_t told_count = 0;
    for (size_t i = 0; i < visit->port_count && told_count < GROUPS_TOLD_MAX; i++) {
        char node[HOST_PATH_MAX], group[64];
        struct stat is;
        host_path(node, "%s/%s", visit->host->dev, doctor_tty_name(&visit->ports[i]));
        if (stat(node, &is) != 0 || may_use(visit->user, node, &is))
            continue;
        if (contains(told, told_count, is.st_gid))
            continue;
        told[told_count++] = is.st_gid;
        group_name(visit->host, is.st_gid, group, sizeof group);
        struct finding *finding = doctor_found(visit, SEVERITY_PROBLEM);
        WHAT(finding, "you may not open %s (group %s, mode %04o)", visit->ports[i].path, group,
             (unsigned)(is.st_mode & 07777));
        if ((is.st_mode & 0060) == 0060 && is.st_gid != 0)
            REMEDY(finding, "sudo usermod -aG %s $USER, then log in again", group);
        else
            REMEDY(finding, "a udev rule that gives the node to the group dialout, or sudo");
    }
}

/* A loader that no kernel driver serves is reached through its own node, which belongs to root
 * unless a rule gives it away. */
static bool is_loader(const struct usb_device *device)
{
    const uint16_t hid_vid = 0x1209, hid_pid = 0xbeba;
    for (size_t i = 0; i < device->interface_count; i++)
        if (device->interfaces[i].class == 0xfe && device->interfaces[i].subclass == 1)
            return true; /* DFU 1.1 table 4.4 */
    return device->vid == hid_vid && device->pid == hid_pid;
}

static void look_at_usb_loaders(struct visit *visit)
{
    struct usb_device *devices;
    size_t count;
    struct error ignored;
    if (usb_devices(&devices, &count, visit->host, &ignored))
        return;
    for (size_t i = 0; i < count; i++) {
        char node[HOST_PATH_MAX];
        struct stat is;
        host_path(node, "%s/bus/usb/%03u/%03u", visit->host->dev, devices[i].bus,
                  devices[i].address);
        if (!is_loader(&devices[i]) || stat(node, &is) != 0 || may_use(visit->user, node, &is))
            continue;
        struct finding *finding = doctor_found(visit, SEVERITY_PROBLEM);
        WHAT(finding, "you may not open the bootloader at %s (%04x:%04x, mode %04o)",
             devices[i].bus_path, devices[i].vid, devices[i].pid, (unsigned)(is.st_mode & 07777));
        REMEDY(finding,
               "`sudo make install` puts mflash's udev rules in place; then plug the board "
               "in again");
    }
    free(devices);
}

static void look_at_holders(struct visit *visit)
{
    for (size_t i = 0; i < visit->port_count; i++) {
        struct held node = {.path = visit->ports[i].path};
        if (visit->ports[i].holder[0] == '\0')
            continue;
        host_holders(visit->host, &node, 1);
        struct finding *finding = doctor_found(visit, SEVERITY_WARNING);
        WHAT(finding, "%s is held by %s", visit->ports[i].path, visit->ports[i].holder);
        if (node.unit[0])
            REMEDY(finding, "sudo systemctl stop %s while you flash", node.unit);
        else
            REMEDY(finding, "close that program while you flash");
    }
}

/* udev's notes about a device: does any line of it say so? */
static bool udev_says(const struct host *host, const char *tty, const char *line)
{
    char path[HOST_PATH_MAX], text[512];
    host_path(path, "%s/class/tty/%s/dev", host->sys, tty);
    if (!host_line(path, text, 32))
        return false;
    host_path(path, "%s/udev/data/c%s", host->run, text);
    FILE *file = fopen(path, "re");
    bool says = false;
    while (file && !says && fgets(text, sizeof text, file)) {
        text[strcspn(text, "\n")] = '\0';
        says = strcmp(text, line) == 0;
    }
    if (file)
        (void)fclose(file);
    return says;
}

static void look_at_modem_manager(struct visit *visit)
{
    pid_t pid = host_running(visit->host, "ModemManager");
    size_t probed = 0;
    const struct serial_port *first = NULL;
    for (size_t i = 0; pid != 0 && i < visit->port_count; i++) {
        const struct serial_port *port = &visit->ports[i];
        if (!port->usb || udev_says(visit->host, doctor_tty_name(port), "E:ID_MM_DEVICE_IGNORE=1"))
            continue;
        first = first ? first : port;
        probed++;
    }
    if (probed == 0)
        return;
    struct finding *finding = doctor_found(visit, SEVERITY_WARNING);
    WHAT(finding, "ModemManager (pid %d) runs and may talk to %s%s, also in the middle of a flash",
         (int)pid, first->path, probed > 1 ? " and others" : "");
    REMEDY(finding,
           "sudo systemctl disable --now ModemManager, or a udev rule: "
           "ATTRS{idVendor}==\"%04x\", ENV{ID_MM_DEVICE_IGNORE}=\"1\"",
           first->vid);
}

static void look_at_brltty(struct visit *visit)
{
    pid_t pid = host_running(visit->host, "brltty");
    if (pid == 0)
        return;
    struct finding *finding = doctor_found(visit, SEVERITY_WARNING);
    WHAT(finding,
         "brltty (pid %d) runs: it takes CH340, CP210x and FTDI adapters for braille displays, and "
         "their ports vanish",
         (int)pid);
    REMEDY(finding, "sudo systemctl mask --now brltty.service brltty-udev.service");
}

void doctor_look_at_access(struct visit *visit)
{
    look_at_permissions(visit);
    look_at_usb_loaders(visit);
    look_at_holders(visit);
    look_at_modem_manager(visit);
    look_at_brltty(visit);
}
