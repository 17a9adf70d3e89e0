/* Small files, links and processes of this machine: see host.h. */
#include "link/host.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

const struct host *host_here(void)
{
    static const struct host here = {"/sys", "/proc", "/dev", "/etc", "/run"};
    return &here;
}

void host_path(char path[HOST_PATH_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    /* clang-tidy 14 forgets the va_start when it checks several files in one run. */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    int length = vsnprintf(path, HOST_PATH_MAX, format, args);
    va_end(args);
    if (length < 0 || length >= HOST_PATH_MAX)
        path[0] = '\0';
}

void host_printable(char *text, size_t size, const char *from)
{
    size_t n = 0;
    for (; n + 1 < size && from[n] != '\0'; n++)
        text[n] = isprint((unsigned char)from[n]) ? from[n] : '?';
    text[n] = '\0';
}

/* The file's first bytes, with a NUL behind them. Returns how many, -1 if it cannot be read. */
static ssize_t slurp(const char *path, char *bytes, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return -1;
    ssize_t length;
    do
        length = read(fd, bytes, size - 1);
    while (length < 0 && errno == EINTR);
    (void)close(fd);
    bytes[length > 0 ? length : 0] = '\0';
    return length;
}

bool host_line(const char *path, char *text, size_t size)
{
    char bytes[256];
    text[0] = '\0';
    if (slurp(path, bytes, sizeof bytes) < 0)
        return false;
    bytes[strcspn(bytes, "\r\n")] = '\0';
    host_printable(text, size, bytes);
    return true;
}

bool host_number(const char *path, int base, unsigned long *number)
{
    char text[32], *end;
    if (!host_line(path, text, sizeof text))
        return false;
    *number = strtoul(text, &end, base);
    return end != text;
}

uint16_t host_id(const char *directory, const char *name)
{
    char path[HOST_PATH_MAX];
    unsigned long number = 0;
    host_path(path, "%s/%s", directory, name);
    (void)host_number(path, 16, &number);
    return (uint16_t)number;
}

void host_text(const char *directory, const char *name, char *text, size_t size)
{
    char path[HOST_PATH_MAX];
    host_path(path, "%s/%s", directory, name);
    (void)host_line(path, text, size);
}

void host_group(gid_t group, char *name, size_t size)
{
    char buffer[4096];
    struct group entry, *found = NULL;
    if (getgrgid_r(group, &entry, buffer, sizeof buffer, &found) == 0 && found)
        (void)snprintf(name, size, "%s", found->gr_name);
    else
        (void)snprintf(name, size, "%u", (unsigned)group);
}

dev_t host_device_number(const char *path)
{
    char text[32], *end;
    if (!host_line(path, text, sizeof text))
        return 0;
    unsigned long first = strtoul(text, &end, 10);
    return *end == ':' ? makedev((unsigned)first, (unsigned)strtoul(end + 1, NULL, 10)) : 0;
}

const char *host_next_name(DIR *dir)
{
    /* Safe with threads as long as each has a DIR of its own; readdir_r is deprecated. */
    const struct dirent *entry = readdir(dir); /* cppcheck-suppress readdirCalled */
    return entry ? entry->d_name : NULL;
}

bool host_link_name(const char *path, char *text, size_t size)
{
    char target[HOST_PATH_MAX];
    text[0] = '\0';
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length <= 0)
        return false;
    target[length] = '\0';
    const char *slash = strrchr(target, '/');
    host_printable(text, size, slash ? slash + 1 : target);
    return true;
}
