/* boards.ini from anybody: whatever the file says, it is read or refused, never more. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "board/board_db.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char path[64];
    struct board_db *db = NULL;
    const struct board *board;
    struct error err;
    int fd = memfd_create("boards.ini", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length)
        abort();
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const char *const files[] = {path};
    if (board_db_load(&db, files, 1, &err) == OK) {
        for (size_t i = 0; (board = board_at(db, i)); i++)
            for (size_t k = 0; k < board->loader_count; k++)
                (void)loader_number(&board->loaders[k], "erase", 0);
        (void)board_find(db, "uno", &board, &err);
        board_db_free(db);
    }
    if (board_db_read(&db, files, 1, true, &err) == OK) {
        (void)board_find(db, "uno", &board, &err);
        (void)board_db_all(db, &err);
        board_db_free(db);
    }
    (void)close(fd);
    return 0;
}
