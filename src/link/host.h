/*
 * The machine mflash runs on, as its file systems show it: sysfs (Linux Documentation/ABI), /proc
 * (proc(5)), /dev. Read only, nothing is opened that belongs to a device. The roots are parameters
 * so that a test can make a machine out of a few directories.
 */
#ifndef MFLASH_HOST_H
#define MFLASH_HOST_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct host {
    const char *sys, *proc, *dev, *etc, *run;
};

/* "/sys", "/proc", "/dev", "/etc", "/run". */
const struct host *host_here(void);

enum { HOST_PATH_MAX = 512 };

/* Puts the parts together. A path that does not fit becomes "" (which opens nothing). */
void host_path(char path[HOST_PATH_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* First line of a small file. What a device says about itself ends up in such files: bytes that do
 * not print become '?', and no more than fits is kept. False: no such file (text is then ""). */
bool host_line(const char *path, char *text, size_t size);

/* The number in such a file, in C notation or `base`. */
bool host_number(const char *path, int base, unsigned long *number);

/* Last part of what a symbolic link points to: the name of a driver, of a subsystem. */
bool host_link_name(const char *path, char *text, size_t size);

/* The two numbers of "MAJOR:MINOR" in a device's `dev` file, as one; 0 if there is none. */
dev_t host_device_number(const char *path);

/* A number in hexadecimal, as the ids of USB; 0 if there is none. */
uint16_t host_id(const char *directory, const char *name);

/* First line of a file in a directory; "" if there is none. */
void host_text(const char *directory, const char *name, char *text, size_t size);

/* Name of a group of this machine, or its number. */
void host_group(gid_t group, char *name, size_t size);

/* Name of the next entry of a directory, NULL at its end. */
const char *host_next_name(DIR *dir);

/* Copies what fits, bytes that do not print as '?'. */
void host_printable(char *text, size_t size, const char *from);

/* A device node and who has it open. */
struct held {
    const char *path;
    dev_t device;   /* of the node; 0: compare names only */
    dev_t instance; /* of the file system, for ptys (each devpts counts its own); else 0 */
    pid_t pid;      /* found: 0 = nobody, or nobody that this user may see */
    char name[64];  /* "klippy", "ModemManager" */
    char unit[96];  /* "klipper.service", or "" */
};

/* One pass over /proc for all nodes; this process itself is left out. */
void host_holders(const struct host *host, struct held *nodes, size_t count);

/* The same for the node at `path`, whatever is there. */
struct held host_holder(const struct host *host, const char *path);

bool host_is_pty(dev_t device);

/* The first process but this one with a socket that `is` says yes to, given its path below /proc
 * and the process's name. False: none that this user may see. */
bool host_socket_holder(const struct host *host, bool (*is)(const char *path, const char *process),
                        struct held *holder);

/* "klippy (pid 812)". */
void host_holder_text(const struct held *node, char *text, size_t size);

/* Is a program of that name running? Its pid, or 0. */
pid_t host_running(const struct host *host, const char *name);

#endif
