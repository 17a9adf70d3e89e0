/* See ini.h. iniparser 4.1 reads files only, by name: a piece is a file in memory, memfd_create(2).
 */
#include "board/ini.h"

#include <ctype.h>
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

static int parse_piece(struct ini_piece *piece, const char *file, struct error *err)
{
    piece->dictionary = parse(piece->text, piece->length);
    if (piece->dictionary)
        return OK;
    return complaint[0] ? report_complaint(file, piece->lines_before, err)
                        : error_set(err, ERR_BOARDS_FILE, "reading %s: %s", file, strerror(errno));
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

static bool add_piece(struct ini *ini, const char *text, size_t length, unsigned lines_before)
{
    struct ini_piece *grown = realloc(ini->pieces, (ini->count + 1) * sizeof *grown);
    if (!grown)
        return false;
    ini->pieces = grown;
    grown[ini->count++] = (struct ini_piece){text, length, lines_before, NULL};
    return true;
}

/* Cuts the text into pieces, and notes each head. False: no memory. */
static bool cut(struct ini *ini, struct heads *heads)
{
    const char *text = ini->text, *piece = text;
    unsigned line = 1, piece_line = 1;
    for (const char *at = text, *end; *at; at = end, line++) {
        end = at + strcspn(at, "\n");
        end += *end == '\n';
        const char *first = at + strspn(at, " \t");
        bool continued = at - text >= 2 && at[-2] == '\\'; /* the line before goes on here */
        if (*first != '[' || continued)
            continue;
        if (!add_head(heads, first, line))
            return false;
        if (line - piece_line < PIECE_LINES)
            continue;
        if (!add_piece(ini, piece, (size_t)(at - piece), piece_line - 1))
            return false;
        piece = at;
        piece_line = line;
    }
    return add_piece(ini, piece, strlen(piece), piece_line - 1);
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

static char *fold(const char *text)
{
    char *folded = strdup(text);
    for (char *at = folded; at && *at; at++)
        *at = (char)tolower((unsigned char)*at);
    return folded;
}

int ini_open(struct ini *ini, const char *file, struct error *err)
{
    struct heads heads = {0};
    int status = read_text(&ini->text, file, err);
    if (!status && (!(ini->folded = fold(ini->text)) || !cut(ini, &heads)))
        status = error_memory(err);
    if (!status)
        status = check_heads(&heads, file, err);
    free(heads.list);
    return status;
}

static bool stands_in(const struct ini *ini, const struct ini_piece *piece, const char *folded_word)
{
    const char *begin = ini->folded + (piece->text - ini->text);
    size_t length = strlen(folded_word);
    return length && memmem(begin, piece->length, folded_word, length) != NULL;
}

int ini_need(struct ini *ini, const char *file, const char *word, bool *more, struct error *err)
{
    char *folded = word ? fold(word) : NULL;
    int status = word && !folded ? error_memory(err) : OK;
    for (size_t i = 0; !status && i < ini->count; i++) {
        struct ini_piece *piece = &ini->pieces[i];
        if (piece->dictionary || (folded && !stands_in(ini, piece, folded)))
            continue;
        status = parse_piece(piece, file, err);
        *more = true;
    }
    free(folded);
    return status;
}

void ini_free(struct ini *ini)
{
    for (size_t i = 0; i < ini->count; i++)
        if (ini->pieces[i].dictionary)
            iniparser_freedict(ini->pieces[i].dictionary);
    free(ini->pieces);
    free(ini->folded);
    free(ini->text);
}
