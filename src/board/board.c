/*
 * Boards: sections of the boards files made into structs. See board.h for the keys.
 *
 * What is wrong anywhere in a file of the user's is said at once, with file and line. The shipped
 * file is right (its test reads it whole): of that one a board is made when it is asked for.
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

/* Has a section read with all that belongs to it, and so for what it is `like` (NULL: nothing). */
static int need_with_like(struct board_db *db, const char *name, const char **like,
                          struct error *err)
{
    *like = NULL;
    if (sections_need(&db->sections, name, err))
        return error_status(err);
    *like = section_get(section_find(&db->sections, name), "like");
    return *like ? sections_need(&db->sections, *like, err) : OK;
}

/* A method section whose board is nowhere, or does not list the method, is a typing mistake. */
static int check_method_section(struct board_db *db, const char *full_name, struct error *err)
{
    const char *slash = strrchr(full_name, '/');
    bool template = strncmp(full_name, "like/", 5) == 0;
    if (template && slash == full_name + 4)
        return OK;
    char name[256];
    (void)snprintf(name, sizeof name, "%.*s", (int)(slash - full_name), full_name);
    const char *like;
    if (need_with_like(db, name, &like, err))
        return error_status(err);
    const struct section *board = section_find(&db->sections, name);
    const struct section *section = section_find(&db->sections, full_name);
    const char *methods = section_get(board, "methods");
    if (board && !methods)
        methods = section_get(section_find(&db->sections, like ? like : ""), "methods");
    /* A template without `methods` serves boards that list their own. */
    if (board && (text_has_word(methods, slash + 1) || (template && !methods)))
        return OK;
    error_set(err, ERR_BOARDS_FILE, "%s:%u: [%s]: %s", section->file, section_line(section, NULL),
              section->name,
              board ? "the board's `methods` does not list it" : "there is no such board");
    return error_status(err);
}

static struct board *made_already(const struct board_db *db, const char *name)
{
    for (size_t i = 0; i < db->count; i++)
        if (strcmp(db->boards[i]->name, name) == 0)
            return db->boards[i];
    return NULL;
}

static bool has_room(struct board_db *db)
{
    struct board **grown = realloc(db->boards, (db->count + 1) * sizeof(void *));
    if (grown)
        db->boards = grown;
    return grown != NULL;
}

static int add_board(struct board_db *db, const struct section *own, struct error *err)
{
    struct board *fresh = keep(db, sizeof *fresh);
    if (!fresh || !has_room(db))
        return error_memory(err);
    if (make_board(db, fresh, own, err))
        return error_status(err);
    db->boards[db->count++] = fresh;
    return OK;
}

/* `name` is that of a section which has been read; others that belong to it may not have been. */
static int get_board(struct board_db *db, const char *name, const struct board **board,
                     struct error *err)
{
    if ((*board = made_already(db, name)))
        return OK;
    const char *like;
    if (need_with_like(db, name, &like, err) ||
        add_board(db, section_find(&db->sections, name), err))
        return error_status(err);
    *board = db->boards[db->count - 1];
    return OK;
}

/* The names of the sections that another file than `but` has the last word on, in file order. */
static const char **section_names(struct board_db *db, const char *but, size_t *count)
{
    const struct sections *sections = &db->sections;
    const struct section **order = keep(db, sections->count * sizeof(void *));
    const char **names = keep(db, sections->count * sizeof(void *));
    *count = 0;
    for (size_t i = 0; order && names && i < sections->count; i++)
        if (sections->list[i].file != but)
            order[(*count)++] = &sections->list[i];
    if (*count > 1)
        qsort(order, *count, sizeof(void *), in_file_order);
    for (size_t i = 0; i < *count; i++)
        names[i] = order[i]->name;
    return order && names ? names : NULL;
}

/* Makes the boards of all files but one (or NULL), as far as they are read. */
static int make_boards(struct board_db *db, const char *but, struct error *err)
{
    size_t count;
    const struct board *board;
    const char **names = section_names(db, but, &count);
    if (!names)
        return error_memory(err);
    for (size_t i = 0; i < count; i++)
        if (strchr(names[i], '/') && check_method_section(db, names[i], err))
            return error_status(err);
    for (size_t i = 0; i < count; i++)
        if (!strchr(names[i], '/') && get_board(db, names[i], &board, err))
            return error_status(err);
    return OK;
}

static int by_file_order(const void *a, const void *b, void *sections)
{
    const struct board *const *x = a, *const *y = b;
    const struct section *first = section_find(sections, (*x)->name);
    const struct section *second = section_find(sections, (*y)->name);
    return (first->order > second->order) - (first->order < second->order);
}

static int make_all(struct board_db *db, struct error *err)
{
    if (db->complete)
        return OK;
    if (sections_need(&db->sections, NULL, err) || make_boards(db, NULL, err))
        return error_status(err);
    if (db->count > 1)
        qsort_r(db->boards, db->count, sizeof(void *), by_file_order, &db->sections);
    db->complete = true;
    return OK;
}

int board_db_all(struct board_db *db, struct error *err)
{
    pthread_mutex_lock(&db->lock);
    int status = make_all(db, err);
    pthread_mutex_unlock(&db->lock);
    return status;
}

static int open_files(struct board_db *db, const char *const *files, size_t count, bool shipped,
                      struct error *err)
{
    for (size_t i = 0; i < count; i++)
        if (sections_open(&db->sections, files[i], shipped && i == 0, err))
            return error_status(err);
    if (!shipped)
        return make_all(db, err);
    if (sections_need(&db->sections, "", err))
        return error_status(err);
    return make_boards(db, db->sections.files[0].name, err);
}

int board_db_read(struct board_db **db, const char *const *files, size_t count, bool shipped,
                  struct error *err)
{
    struct board_db *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return error_memory(err);
    fresh->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    int status = open_files(fresh, files, count, shipped, err);
    if (status) {
        board_db_free(fresh);
        return status;
    }
    *db = fresh;
    return OK;
}

int board_db_load(struct board_db **db, const char *const *files, size_t count, struct error *err)
{
    return board_db_read(db, files, count, false, err);
}

void board_db_free(struct board_db *db)
{
    if (!db)
        return;
    sections_free(&db->sections);
    for (size_t i = 0; i < db->kept_count; i++)
        free(db->kept[i]);
    free(db->kept);
    free(db->boards);
    free(db);
}

size_t board_count(const struct board_db *db)
{
    return db->count;
}

const struct board *board_at(const struct board_db *db, size_t n)
{
    return n < db->count ? db->boards[n] : NULL;
}

static bool has_alias(const struct section *section, const char *name)
{
    const char *list = section_get(section, "alias"), *word;
    size_t length;
    while (list && (word = text_word(&list, &length)))
        if (strlen(name) == length && strncasecmp(word, name, length) == 0)
            return true;
    return false;
}

/* By its name, or else the first that has this alias. */
static const struct section *section_called(const struct board_db *db, const char *name)
{
    const struct section *first = NULL;
    for (size_t i = 0; i < db->sections.count; i++) {
        const struct section *section = &db->sections.list[i];
        if (!is_board(section))
            continue;
        if (strcasecmp(section->name, name) == 0)
            return section;
        if (has_alias(section, name) && (!first || section->order < first->order))
            first = section;
    }
    return first;
}

static const char *board_name_at(const void *list, size_t n)
{
    const struct board *board = board_at(list, n);
    return board ? board->name : NULL;
}

static int report_unknown(const struct board_db *db, const char *name, struct error *err)
{
    char near[256];
    text_nearest(near, sizeof near, name, board_name_at, db);
    error_set(err, ERR_USAGE, "no board is called %s", name);
    if (near[0])
        return error_hint(err, "did you mean %s? `mflash boards` lists all", near);
    return error_hint(err, "`mflash boards` lists all, `mflash boards PATTERN` some");
}

static int find(struct board_db *db, const char *name, const struct board **board,
                struct error *err)
{
    if (sections_need(&db->sections, name, err))
        return error_status(err);
    const struct section *section = section_called(db, name);
    if (!section && make_all(db, err))
        return error_status(err);
    if (!section && !(section = section_called(db, name)))
        return report_unknown(db, name, err);
    return get_board(db, section->name, board, err);
}

int board_find(struct board_db *db, const char *name, const struct board **board, struct error *err)
{
    pthread_mutex_lock(&db->lock);
    int status = find(db, name, board, err);
    pthread_mutex_unlock(&db->lock);
    return status;
}

const struct loader *board_loader(const struct board *board, const char *method)
{
    for (size_t i = 0; i < board->loader_count; i++)
        if (strcmp(board->loaders[i].method, method) == 0)
            return &board->loaders[i];
    return NULL;
}
