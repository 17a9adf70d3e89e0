/* Memories in mapped files: see keep.h. */
#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool complain(const char *path, const char *what)
{
    fprintf(stderr, "vboard: %s: %s\n", path, what);
    return false;
}

static bool map_file(struct vmemory *memory, const char *path, size_t *had)
{
    struct stat file;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    bool good = fd >= 0 && fstat(fd, &file) == 0;

    if (good && file.st_size > (off_t)memory->size) {
        close(fd);
        return complain(path, "longer than the memory it should hold");
    }
    good = good && ftruncate(fd, (off_t)memory->size) == 0;
    if (good) {
        *had = (size_t)file.st_size;
        memory->bytes = mmap(NULL, memory->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (!good || memory->bytes == MAP_FAILED) {
        good = complain(path, strerror(errno));
        memory->bytes = NULL;
    }
    if (fd >= 0)
        close(fd);
    return good;
}

bool keep_map(struct vmemory *memory, size_t size, const char *path, bool *fresh)
{
    size_t had = 0;

    *memory = (struct vmemory){.size = size, .stuck = UINT64_MAX};
    if (path) {
        if (!map_file(memory, path, &had))
            return false;
    } else {
        const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
        /* cppcheck-suppress invalidFunctionArg ; -1 is what MAP_ANONYMOUS wants */
        memory->bytes = mmap(NULL, size, prot, flags, -1, 0);
        if (memory->bytes == MAP_FAILED) {
            memory->bytes = NULL;
            return complain("a memory", strerror(errno));
        }
    }
    memset(memory->bytes + had, 0xff, size - had);
    *fresh = had == 0;
    return true;
}

void keep_unmap(struct vmemory *memory)
{
    if (!memory->bytes)
        return;
    msync(memory->bytes, memory->size, MS_SYNC);
    munmap(memory->bytes, memory->size);
    memory->bytes = NULL;
}
