/*
 * Who else is on a CAN interface. The kernel lists what is received there (/proc/net/can, Linux
 * Documentation/networking/can.rst), but not by whom; that a descriptor is a CAN socket tells the
 * attribute system.sockprotoname of sockfs.
 */
#include <linux/can/raw.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/xattr.h>

#include "link/can_backend.h"

/* One line of a list: "can0  3f1  c00007ff  0000…  0000…  12  raw". Gateways forward, they do not
 * take. */
static bool is_receiver(char *line, const char *name)
{
    char *save = NULL, *last = NULL;
    const char *first = strtok_r(line, " \t\n", &save);
    for (char *word = strtok_r(NULL, " \t\n", &save); word; word = strtok_r(NULL, " \t\n", &save))
        last = word;
    return first && last && (strcmp(first, name) == 0 || strcmp(first, "any") == 0) &&
           strcmp(last, "gw") != 0;
}

/* Who speaks with nodes picks their ids; who receives everything (rcvlist_all) looks on: candump.
 */
static size_t receivers(const struct host *host, const char *name)
{
    static const char *const lists[] = {"fil", "inv", "sff", "eff"};
    char path[HOST_PATH_MAX], line[256];
    size_t count = 0;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        host_path(path, "%s/net/can/rcvlist_%s", host->proc, lists[i]);
        FILE *file = fopen(path, "re");
        while (file && fgets(line, sizeof line, file))
            count += is_receiver(line, name);
        if (file)
            (void)fclose(file);
    }
    return count;
}

/* How many ids one of our own descriptors receives on the interface. */
static size_t own_filters(int fd, unsigned index)
{
    struct sockaddr_can address = {0};
    struct can_filter filters[CAN_LISTEN_MAX];
    socklen_t size = sizeof address, filters_size = sizeof filters;
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0 || address.can_family != AF_CAN ||
        (unsigned)address.can_ifindex != index ||
        getsockopt(fd, SOL_CAN_RAW, CAN_RAW_FILTER, filters, &filters_size) != 0)
        return 0;
    return filters_size / sizeof *filters;
}

static size_t own_receivers(const struct host *host, const char *name)
{
    unsigned index = if_nametoindex(name);
    char path[HOST_PATH_MAX];
    const char *entry;
    size_t count = 0;
    host_path(path, "%s/self/fd", host->proc);
    DIR *dir = opendir(path);
    while (dir && (entry = host_next_name(dir)) != NULL) {
        char *end;
        long fd = strtol(entry, &end, 10);
        if (end != entry && *end == '\0' && fd >= 0 && fd <= 0x7fffffff)
            count += own_filters((int)fd, index);
    }
    if (dir)
        (void)closedir(dir);
    return count;
}

bool can_holder_on(const struct host *host, const char *name,
                   bool (*is_can)(const char *path, const char *process), char *text, size_t size)
{
    struct held holder;
    text[0] = '\0';
    if (receivers(host, name) <= own_receivers(host, name))
        return false;
    if (host_socket_holder(host, is_can, &holder))
        host_holder_text(&holder, text, size);
    else
        (void)snprintf(text, size, "another process");
    return true;
}

static bool is_can_socket(const char *path, const char *process)
{
    char protocol[32];
    ssize_t length = getxattr(path, "system.sockprotoname", protocol, sizeof protocol);
    return length >= 3 && memcmp(protocol, "CAN", 3) == 0 && strcmp(process, "candump") != 0;
}

bool can_holder(const char *name, char *text, size_t size)
{
    return can_holder_on(host_here(), name, is_can_socket, text, size);
}
