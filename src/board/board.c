/*
 * Boards: sections of the boards files made into structs. See board.h for the keys.
 *
 * Everything is resolved when the files are loaded, so that what is wrong anywhere in them is said
 * at once, with file and line.
 */
#include "board/board.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "board/board_db.h"

void *keep(struct board_db *db, size_t size)
{
    void **grown = realloc(db->kept, (db->kept_count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    db->kept = grown;
    void *memory = calloc(1, size ? size : 1);
    if (memory)
        db->kept[db->kept_count++] = memory;
    return memory;
}

static const struct section *method_section(const struct board_db *db, const char *board,
                                            const char *method)
{
    char name[256];
    (void)snprintf(name, sizeof name, "%s/%s", board, method);
    return section_find(&db->sections, name);
}

static int make_loaders(struct board_db *db, struct board *board, const struct section *own,
                        const char *like, const char *names, struct error *err)
{
    enum { MOST = 16 };
    struct loader *loaders = keep(db, MOST * sizeof *loaders);
    if (!loaders)
        return error_memory(err);
    size_t length;
    const char *word;
    while ((word = text_word(&names, &length))) {
        char *method = keep(db, length + 1);
        if (!method)
            return error_memory(err);
        if (board->loader_count == MOST)
            return section_wrong(own, "methods", err, "too many methods", word);
        memcpy(method, word, length);
        struct loader *loader = &loaders[board->loader_count++];
        loader->method = method;
        if (make_loader(db, loader, board->chip, like ? method_section(db, like, method) : NULL,
                        method_section(db, board->name, method), err))
            return error_status(err);
    }
    board->loaders = loaders;
    return OK;
}

/* ---- boards ---- */

static int make_aliases(struct board_db *db, struct board *board, const char *list,
                        struct error *err)
{
    enum { MOST = 8 };
    const char **aliases = keep(db, MOST * sizeof *aliases);
    if (!aliases)
        return error_memory(err);
    size_t length;
    const char *word;
    while (board->alias_count < MOST && (word = text_word(&list, &length))) {
        char *alias = keep(db, length + 1);
        if (!alias)
            return error_memory(err);
        memcpy(alias, word, length);
        aliases[board->alias_count++] = alias;
    }
    board->aliases = aliases;
    return OK;
}

static int make_board(struct board_db *db, struct board *board, const struct section *own,
                      struct error *err)
{
    const char *like = section_get(own, "like");
    const struct section *shared = like ? section_find(&db->sections, like) : NULL;
    if (like && !shared)
        return section_wrong(own, "like", err, "there is no such section", like);
    if (shared && section_get(shared, "like"))
        return section_wrong(own, "like", err, "that section has a `like` itself; one level only",
                             like);
    *board = (struct board){
        .name = own->name,
        .title = section_get(own, "name"),
        .mcu = section_get(own, "mcu"),
        .note = section_get(own, "note"),
        .source = section_get(own, "source"),
        .inferred = section_get(own, "inferred"),
        .file = own->file,
        .shadows = own->shadows,
    };
    const char *chip = section_get(own, "chip");
    chip = chip ? chip : section_get(shared, "chip");
    const char *names = section_get(own, "methods");
    names = names ? names : section_get(shared, "methods");
    if (!chip || !names)
        return error_set(err, ERR_BOARDS_FILE, "%s:%u: [%s] has no `%s`", own->file,
                         section_line(own, NULL), own->name, chip ? "methods" : "chip");
    if (!(board->chip = chip_find(chip)))
        return section_wrong(own, section_get(own, "chip") ? "chip" : "like", err,
                             "no such chip in the chip table", chip);
    if (!board->title)
        board->title = board->name;
    const char *ids = section_get(own, "usb");
    if (ids && section_ids(own, ids, board->usb, sizeof board->usb / sizeof board->usb[0],
                           &board->usb_count, err))
        return error_status(err);
    if (make_aliases(db, board, section_get(own, "alias"), err))
        return error_status(err);
    return make_loaders(db, board, own, like, names, err);
}

static bool is_board(const struct section *section)
{
    return !strchr(section->name, '/');
}

static int in_file_order(const void *a, const void *b)
{
    const struct section *const *x = a, *const *y = b;
    return ((*x)->order > (*y)->order) - ((*x)->order < (*y)->order);
}

/* A method section whose board is nowhere, or does not list the method, is a typing mistake. */
static int check_method_section(const struct board_db *db, const struct section *section,
                                struct error *err)
{
    const char *slash = strrchr(section->name, '/');
    bool template = strncmp(section->name, "like/", 5) == 0;
    if (template && slash == section->name + 4)
        return OK;
    char name[256];
    (void)snprintf(name, sizeof name, "%.*s", (int)(slash - section->name), section->name);
    const struct section *board = section_find(&db->sections, name);
    const char *methods = section_get(board, "methods");
    if (board && !methods)
        methods =
            section_get(section_find(&db->sections,
                                     section_get(board, "like") ? section_get(board, "like") : ""),
                        "methods");
    /* A template without `methods` serves boards that list their own. */
    if (board && (text_has_word(methods, slash + 1) || (template && !methods)))
        return OK;
    error_set(err, ERR_BOARDS_FILE, "%s:%u: [%s]: %s", section->file, section_line(section, NULL),
              section->name,
              board ? "the board's `methods` does not list it" : "there is no such board");
    return error_status(err);
}

static int make_boards(struct board_db *db, struct error *err)
{
    const struct section **order = keep(db, db->sections.count * sizeof(void *));
    db->boards = keep(db, db->sections.count * sizeof *db->boards);
    if (!order || !db->boards)
        return error_memory(err);
    size_t boards = 0;
    for (size_t i = 0; i < db->sections.count; i++) {
        const struct section *section = &db->sections.list[i];
        if (is_board(section))
            order[boards++] = section;
        else if (check_method_section(db, section, err))
            return error_status(err);
    }
    if (boards)
        qsort(order, boards, sizeof(void *), in_file_order);
    for (; db->count < boards; db->count++)
        if (make_board(db, &db->boards[db->count], order[db->count], err))
            return error_status(err);
    return OK;
}

int board_db_load(struct board_db **db, const char *const *files, size_t count, struct error *err)
{
    struct board_db *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return error_memory(err);
    int status = OK;
    for (size_t i = 0; !status && i < count; i++)
        status = sections_read(&fresh->sections, files[i], err);
    if (!status)
        status = make_boards(fresh, err);
    if (status) {
        board_db_free(fresh);
        return status;
    }
    *db = fresh;
    return OK;
}

void board_db_free(struct board_db *db)
{
    if (!db)
        return;
    sections_free(&db->sections);
    for (size_t i = 0; i < db->kept_count; i++)
        free(db->kept[i]);
    free(db->kept);
    free(db);
}

size_t board_count(const struct board_db *db)
{
    return db->count;
}

const struct board *board_at(const struct board_db *db, size_t n)
{
    return n < db->count ? &db->boards[n] : NULL;
}

static bool has_name(const struct board *board, const char *name)
{
    if (strcasecmp(board->name, name) == 0)
        return true;
    for (size_t i = 0; i < board->alias_count; i++)
        if (strcasecmp(board->aliases[i], name) == 0)
            return true;
    return false;
}

static const char *board_name_at(const void *list, size_t n)
{
    const struct board *board = board_at(list, n);
    return board ? board->name : NULL;
}

int board_find(const struct board_db *db, const char *name, const struct board **board,
               struct error *err)
{
    for (size_t i = 0; i < db->count; i++) {
        if (has_name(&db->boards[i], name)) {
            *board = &db->boards[i];
            return OK;
        }
    }
    char near[256];
    text_nearest(near, sizeof near, name, board_name_at, db);
    error_set(err, ERR_USAGE, "no board is called %s", name);
    if (near[0])
        return error_hint(err, "did you mean %s? `mflash boards` lists all", near);
    return error_hint(err, "`mflash boards` lists all, `mflash boards PATTERN` some");
}

const struct loader *board_loader(const struct board *board, const char *method)
{
    for (size_t i = 0; i < board->loader_count; i++)
        if (strcmp(board->loaders[i].method, method) == 0)
            return &board->loaders[i];
    return NULL;
}
