/* See screen.h. The cursor rests at the end of the last live line. */
#include "commands/screen.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ROW_MAX = 512 };

struct screen {
    pthread_mutex_t lock;
    bool terminal;
    size_t drawn; /* lines on the terminal now */
    size_t count;
    char rows[][ROW_MAX];
};

static struct winsize terminal_size(void)
{
    struct winsize size = {0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || !size.ws_col || !size.ws_row)
        size = (struct winsize){.ws_col = 80, .ws_row = 24};
    return size;
}

unsigned screen_columns(void)
{
    return terminal_size().ws_col;
}

struct screen *screen_new(size_t rows, bool terminal)
{
    struct screen *screen = calloc(1, sizeof *screen + rows * sizeof *screen->rows);
    if (!screen)
        return NULL;
    (void)pthread_mutex_init(&screen->lock, NULL);
    screen->terminal = terminal;
    screen->count = rows;
    return screen;
}

static void erase(struct screen *screen)
{
    for (size_t i = 0; i < screen->drawn; i++)
        (void)fputs(i ? "\033[A\r\033[K" : "\r\033[K", stderr);
    screen->drawn = 0;
}

/* Lines that would scroll away could not be erased again: those that do not fit wait. */
static void draw(struct screen *screen)
{
    size_t room = terminal_size().ws_row > 1 ? terminal_size().ws_row - 1u : 1;
    for (size_t i = 0; i < screen->count && screen->drawn < room; i++)
        if (screen->rows[i][0])
            (void)fprintf(stderr, "%s%s", screen->drawn++ ? "\n" : "", screen->rows[i]);
    (void)fflush(stderr);
}

void screen_set(struct screen *screen, size_t row, const char *text)
{
    if (!screen->terminal || row >= screen->count)
        return;
    (void)pthread_mutex_lock(&screen->lock);
    (void)snprintf(screen->rows[row], ROW_MAX, "%s", text);
    erase(screen);
    draw(screen);
    (void)pthread_mutex_unlock(&screen->lock);
}

void screen_hide(struct screen *screen)
{
    (void)pthread_mutex_lock(&screen->lock);
    erase(screen);
}

void screen_show(struct screen *screen)
{
    draw(screen);
    (void)pthread_mutex_unlock(&screen->lock);
}

void screen_free(struct screen *screen)
{
    if (!screen)
        return;
    erase(screen);
    (void)fflush(stderr);
    (void)pthread_mutex_destroy(&screen->lock);
    free(screen);
}
