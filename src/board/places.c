/* Where boards files are: the shipped one, the machine's, the user's, and what is asked for. */
#include "board/board_db.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beside the build tree's executable, below an installation's prefix, or where the build was told.
 */
static void shipped_boards(char path[PATH_MAX])
{
    static const char *const places[] = {"../boards.ini", "../share/mflash/boards.ini"};
    char exe[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        int n = snprintf(path, PATH_MAX, "%s/%s", exe, places[i]);
        if (n > 0 && n < PATH_MAX && access(path, R_OK) == 0)
            return;
    }
    (void)snprintf(path, PATH_MAX, "%s/boards.ini", MFLASH_DATADIR);
}

static void config_boards(char path[PATH_MAX])
{
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    if (config && *config)
        (void)snprintf(path, PATH_MAX, "%s/mflash/boards.ini", config);
    else
        (void)snprintf(path, PATH_MAX, "%s/.config/mflash/boards.ini", home ? home : "");
}

int board_db_open(struct board_db **db, const char *more, struct error *err)
{
    enum { FILES_MAX = 5 };
    char shipped[PATH_MAX], config[PATH_MAX];
    shipped_boards(shipped);
    config_boards(config);
    const char *environment = getenv("MFLASH_BOARDS");
    const struct {
        const char *path;
        bool must_exist;
    } places[FILES_MAX] = {
        {shipped, true}, {"/etc/mflash/boards.ini", false},
        {config, false}, {environment && *environment ? environment : NULL, true},
        {more, true},
    };
    const char *files[FILES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < FILES_MAX; i++)
        if (places[i].path && (places[i].must_exist || access(places[i].path, R_OK) == 0))
            files[count++] = places[i].path;
    return board_db_read(db, files, count, true, err);
}
