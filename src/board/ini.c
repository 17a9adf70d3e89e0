/* See ini.h. iniparser 4.1 reads files only, by name: a piece is a file in memory, memfd_create(2).
 */
#include "board/ini.h"

#include <errno.h>
#include <iniparser/iniparser.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PIECE_LINES = 128 }; /* a piece ends at the first head after that many */

/* ---- one piece ---- */

/* iniparser hands its complaints to a callback without a user pointer. */
static _Thread_local char complaint[512];

static int keep_complaint(const char *format, ...)
{
    if (complaint[0])
        return 0; /* the first one is the cause */
    va_list args;
    va_start(args, format);
    int n = vsnprintf(complaint, sizeof complaint, format, args);
    va_end(args);
    return n;
}

/* "iniparser: syntax error in PIECE (LINE):\n-> TEXT" → "FILE:LINE: syntax error: TEXT" */
static int report_complaint(const char *file, unsigned lines_before, struct error *err)
{
    const char *paren = strrchr(complaint, '(');
    const char *newline = strchr(complaint, '\n');
    if (newline)
        for (paren = newline; paren > complaint && *paren != '('; paren--)
            continue;
    unsigned line = lines_before + (paren ? (unsigned)strtoul(paren + 1, NULL, 10) : 0);
    const char *text = newline ? strstr(newline, "-> ") : NULL;
    char broken[128] = "";
    if (text)
        (void)snprintf(broken, sizeof broken, ": %.*s", (int)strcspn(text + 3, "\r\n"), text + 3);
    error_set(err, ERR_BOARDS_FILE, "%s:%u: %s%s", file, line,
              strstr(complaint, "too long") ? "line longer than 1024 characters"
                                            : "neither [section], key = value nor ; comment",
              broken);
    return error_hint(err, "mend that line; docs/adding-a-board.md shows the form");
}

/* NULL: no memory, or a complaint. */
static dictionary *parse(const char *text, size_t length)
{
    char path[32];
    int fd = memfd_create("boards", MFD_CLOEXEC);
    dictionary *parsed = NULL;
    complaint[0] = '\0';
    if (fd < 0)
        return NULL;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    iniparser_set_error_callback(keep_complaint);
    if (write(fd, text, length) == (ssize_t)length)
        parsed = iniparser_load(path);
    iniparser_set_error_callback(NULL);
    (void)close(fd);
    return parsed;
}

static int add_piece(struct ini *ini, const char *file, const char *text, size_t length,
                     unsigned lines_before, struct error *err)
{
    void **grown = realloc(ini->dictionaries, (ini->count + 1) * sizeof *grown);
    if (!grown)
        return error_memory(err);
    ini->dictionaries = grown;
    grown[ini->count] = parse(text, length);
    if (!grown[ini->count])
        return complaint[0]
                   ? report_complaint(file, lines_before, err)
                   : error_set(err, ERR_BOARDS_FILE, "reading %s: %s", file, strerror(errno));
    ini->count++;
    return OK;
}

/* ---- the cuts ---- */

struct head {
    const char *name; /* in the text, up to ] */
    size_t length;
    unsigned line;
};

struct heads {
    struct head *list;
    size_t count;
};

static bool add_head(struct heads *heads, const char *text, unsigned line)
{
    struct head *grown = realloc(heads->list, (heads->count + 1) * sizeof *grown);
    if (!grown)
        return false;
    heads->list = grown;
    grown[heads->count++] = (struct head){text + 1, strcspn(text + 1, "]\r\n"), line};
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct head *first = a, *second = b;
    size_t shorter = first->length < second->length ? first->length : second->length;
    int order = strncasecmp(first->name, second->name, shorter);
    if (order == 0)
        order = (first->length > second->length) - (first->length < second->length);
    return order ? order : (first->line > second->line) - (first->line < second->line);
}

static int check_heads(struct heads *heads, const char *file, struct error *err)
{
    if (heads->count > 1)
        qsort(heads->list, heads->count, sizeof *heads->list, by_name);
    for (size_t i = 1; i < heads->count; i++) {
        const struct head *first = &heads->list[i - 1], *second = &heads->list[i];
        if (first->length != second->length ||
            strncasecmp(first->name, second->name, first->length) != 0)
            continue;
        error_set(err, ERR_BOARDS_FILE, "%s:%u: section [%.*s] is given twice, here and in line %u",
                  file, second->line, (int)second->length, second->name, first->line);
        return error_hint(err, "put all its keys below one heading");
    }
    return OK;
}

/* Hands the text over piece by piece, and notes each head. */
static int cut(struct ini *ini, struct heads *heads, const char *file, const char *text,
               struct error *err)
{
    const char *piece = text;
    unsigned line = 1, piece_line = 1;
    for (const char *at = text, *end; *at; at = end, line++) {
        end = at + strcspn(at, "\n");
        end += *end == '\n';
        const char *first = at + strspn(at, " \t");
        bool continued = at - text >= 2 && at[-2] == '\\'; /* the line before goes on here */
        if (*first != '[' || continued)
            continue;
        if (!add_head(heads, first, line))
            return error_memory(err);
        if (line - piece_line < PIECE_LINES)
            continue;
        if (add_piece(ini, file, piece, (size_t)(at - piece), piece_line - 1, err))
            return error_status(err);
        piece = at;
        piece_line = line;
    }
    return add_piece(ini, file, piece, strlen(piece), piece_line - 1, err);
}

/* ---- the file ---- */

/* The whole file, terminated; free() it even after a failure. */
static int read_text(char **text, const char *file, struct error *err)
{
    FILE *f = fopen(file, "re");
    size_t room = 0;
    ssize_t length = f ? getdelim(text, &room, '\0', f) : -1;
    int number = errno;
    bool empty = f && length < 0 && feof(f), cut_short = length >= 0 && !feof(f);
    if (f)
        (void)fclose(f);
    if (empty && (*text || (*text = malloc(1)) != NULL)) {
        **text = '\0';
        return OK;
    }
    if (length < 0)
        return error_set(err, ERR_BOARDS_FILE, "boards file %s: %s", file, strerror(number));
    if (cut_short)
        return error_set(err, ERR_BOARDS_FILE, "boards file %s: a NUL byte: this is no text", file);
    return OK;
}

int ini_read(struct ini *ini, const char *file, struct error *err)
{
    struct heads heads = {0};
    char *text = NULL;
    int status = read_text(&text, file, err);
    if (!status)
        status = cut(ini, &heads, file, text, err);
    if (!status)
        status = check_heads(&heads, file, err);
    free(heads.list);
    free(text);
    return status;
}

void ini_free(struct ini *ini)
{
    for (size_t i = 0; i < ini->count; i++)
        iniparser_freedict(ini->dictionaries[i]);
    free(ini->dictionaries);
}
