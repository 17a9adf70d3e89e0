/*
 * Who runs, and who has a device node open: /proc/PID/{comm,cmdline,cgroup,fd} of proc(5).
 * A user sees the descriptors of his own processes only; root sees all.
 */
#include "link/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Linux Documentation/admin-guide/devices.txt. */
enum { PTY_MAJOR_FIRST = 136, PTY_MAJOR_LAST = 143 };

/* The next directory entry that is a number: a process, or a descriptor. 0-based ids are legal. */
static bool next_number(DIR *dir, int *number)
{
    const char *name;
    while ((name = host_next_name(dir)) != NULL) {
        char *end;
        long value = strtol(name, &end, 10);
        if (end != name && *end == '\0' && value >= 0 && value <= 0x7fffffff) {
            *number = (int)value;
            return true;
        }
    }
    return false;
}

static size_t read_file(const char *path, char *bytes, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(bytes, 1, size - 1, file) : 0;
    if (file)
        (void)fclose(file);
    bytes[length] = '\0';
    return length;
}

/* `python klippy.py …` is known to people as klippy: the first argument that is no option. */
static void script_name(char *name, size_t size, const char *arguments, size_t length)
{
    const char *end = arguments + length;
    const char *at = arguments + strlen(arguments) + 1;
    while (at < end && *at == '-')
        at += strlen(at) + 1;
    if (at >= end)
        return;
    const char *slash = strrchr(at, '/');
    host_printable(name, size, slash ? slash + 1 : at);
    char *suffix = strstr(name, ".py");
    if (suffix && suffix != name && suffix[3] == '\0')
        *suffix = '\0';
}

static void process_name(const struct host *host, int pid, char *name, size_t size)
{
    char path[HOST_PATH_MAX], arguments[1024];
    host_path(path, "%s/%d/comm", host->proc, pid);
    (void)host_line(path, name, size);
    if (strncmp(name, "python", 6) != 0)
        return;
    host_path(path, "%s/%d/cmdline", host->proc, pid);
    size_t length = read_file(path, arguments, sizeof arguments);
    script_name(name, size, arguments, length);
}

/* The systemd service of a process: the last part of its cgroup path that ends in ".service". */
static void process_unit(const struct host *host, int pid, char *unit, size_t size)
{
    char path[HOST_PATH_MAX], text[1024];
    unit[0] = '\0';
    host_path(path, "%s/%d/cgroup", host->proc, pid);
    (void)read_file(path, text, sizeof text);
    char *save = NULL;
    for (char *part = strtok_r(text, "/\n", &save); part; part = strtok_r(NULL, "/\n", &save)) {
        size_t length = strlen(part);
        if (length > 8 && strcmp(part + length - 8, ".service") == 0 &&
            strncmp(part, "user@", 5) != 0)
            host_printable(unit, size, part);
    }
}

/* Does this descriptor mean this node? By number too, since containers rename nodes. */
static bool means(const struct held *node, const struct stat *is, const char *target)
{
    if (strcmp(target, node->path) == 0)
        return true;
    return node->device != 0 && S_ISCHR(is->st_mode) && is->st_rdev == node->device &&
           (node->instance == 0 || is->st_dev == node->instance);
}

static void look_at_descriptor(const struct host *host, int pid, int fd, struct held *nodes,
                               size_t count)
{
    char link[HOST_PATH_MAX], target[HOST_PATH_MAX];
    struct stat is;
    host_path(link, "%s/%d/fd/%d", host->proc, pid, fd);
    ssize_t length = readlink(link, target, sizeof target - 1);
    /* Only nodes are looked at more closely: a stat of a file on a dead network hangs. */
    if (length < 5 || memcmp(target, "/dev/", 5) != 0)
        return;
    target[length] = '\0';
    if (stat(link, &is) != 0)
        is = (struct stat){.st_mode = 0};
    for (size_t i = 0; i < count; i++) {
        if (nodes[i].pid != 0 || !means(&nodes[i], &is, target))
            continue;
        nodes[i].pid = pid;
        process_name(host, pid, nodes[i].name, sizeof nodes[i].name);
        process_unit(host, pid, nodes[i].unit, sizeof nodes[i].unit);
    }
}

static void look_at_process(const struct host *host, int pid, struct held *nodes, size_t count)
{
    char path[HOST_PATH_MAX];
    host_path(path, "%s/%d/fd", host->proc, pid);
    DIR *dir = opendir(path);
    int fd;
    while (dir && next_number(dir, &fd))
        look_at_descriptor(host, pid, fd, nodes, count);
    if (dir)
        (void)closedir(dir);
}

void host_holders(const struct host *host, struct held *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        nodes[i].pid = 0;
    DIR *dir = count > 0 ? opendir(host->proc) : NULL;
    int pid;
    while (dir && next_number(dir, &pid))
        if (pid != getpid())
            look_at_process(host, pid, nodes, count);
    if (dir)
        (void)closedir(dir);
}

bool host_is_pty(dev_t device)
{
    return major(device) >= PTY_MAJOR_FIRST && major(device) <= PTY_MAJOR_LAST;
}

struct held host_holder(const struct host *host, const char *path)
{
    struct held node = {.path = path};
    struct stat is;
    if (stat(path, &is) == 0 && S_ISCHR(is.st_mode)) {
        node.device = is.st_rdev;
        node.instance = host_is_pty(is.st_rdev) ? is.st_dev : 0;
    }
    host_holders(host, &node, 1);
    return node;
}

/* Has this process such a socket? */
static bool has_socket(const struct host *host, int pid, const char *name,
                       bool (*is)(const char *path, const char *process))
{
    char path[HOST_PATH_MAX], target[HOST_PATH_MAX];
    bool found = false;
    int fd;
    host_path(path, "%s/%d/fd", host->proc, pid);
    DIR *dir = opendir(path);
    while (dir && !found && next_number(dir, &fd)) {
        host_path(path, "%s/%d/fd/%d", host->proc, pid, fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        found = length > 8 && memcmp(target, "socket:[", 8) == 0 && is(path, name);
    }
    if (dir)
        (void)closedir(dir);
    return found;
}

bool host_socket_holder(const struct host *host, bool (*is)(const char *path, const char *process),
                        struct held *holder)
{
    DIR *dir = opendir(host->proc);
    int pid;
    *holder = (struct held){0};
    while (dir && holder->pid == 0 && next_number(dir, &pid)) {
        process_name(host, pid, holder->name, sizeof holder->name);
        if (pid != getpid() && has_socket(host, pid, holder->name, is))
            holder->pid = pid;
    }
    if (dir)
        (void)closedir(dir);
    if (holder->pid != 0)
        process_unit(host, holder->pid, holder->unit, sizeof holder->unit);
    return holder->pid != 0;
}

void host_holder_text(const struct held *node, char *text, size_t size)
{
    (void)snprintf(text, size, "%s (pid %d)", node->name, (int)node->pid);
}

pid_t host_running(const struct host *host, const char *name)
{
    char path[HOST_PATH_MAX], comm[64];
    DIR *dir = opendir(host->proc);
    int pid, found = 0;
    while (dir && found == 0 && next_number(dir, &pid)) {
        host_path(path, "%s/%d/comm", host->proc, pid);
        if (host_line(path, comm, sizeof comm) && strcmp(comm, name) == 0)
            found = pid;
    }
    if (dir)
        (void)closedir(dir);
    return found;
}
