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
#include "board/boards_file.h"

struct board_db {
    struct sections sections;
    struct board *boards;
    size_t count;
    void **kept; /* small allocations that live as long as the database */
    size_t kept_count;
};

/* Zeroed memory that lives as long as the database. */
static void *keep(struct board_db *db, size_t size)
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

static int wrong(const struct section *section, const char *key, struct error *err,
                 const char *what, const char *value)
{
    return error_set(err, ERR_BOARDS_FILE, "%s:%u: [%s] %s = %s: %s", section->file,
                     section_line(section, key), section->name, key, value, what);
}

/* ---- values ---- */

static int parse_ids(const struct section *section, const char *value, struct usb_id *ids,
                     size_t max, size_t *count, struct error *err)
{
    size_t length;
    const char *word;
    const char *cursor = value;
    for (*count = 0; (word = text_word(&cursor, &length)); (*count)++) {
        unsigned vid, pid;
        int used = 0;
        if (*count == max)
            return wrong(section, "usb", err, "too many ids", value);
        if (length != 9 || sscanf(word, "%4x:%4x%n", &vid, &pid, &used) != 2 || used != 9)
            return wrong(section, "usb", err, "ids are written vvvv:pppp", value);
        ids[*count] = (struct usb_id){(uint16_t)vid, (uint16_t)pid};
    }
    return OK;
}

static int parse_numbers(const struct section *section, const char *key, const char *value,
                         uint64_t *numbers, size_t max, size_t *count, struct error *err)
{
    size_t length;
    const char *word;
    const char *cursor = value;
    for (*count = 0; (word = text_word(&cursor, &length)); (*count)++) {
        char number[32];
        if (*count == max)
            return wrong(section, key, err, "too many values", value);
        (void)snprintf(number, sizeof number, "%.*s", (int)length, word);
        if (length >= sizeof number || !text_number(number, &numbers[*count]))
            return wrong(section, key, err, "a number is wanted (decimal, 0x…, with K or M)",
                         value);
    }
    return OK;
}

/* ---- loaders ---- */

static int parse_loader_numbers(struct loader *loader, const struct section *own, struct error *err)
{
    const struct {
        const char *key;
        uint64_t *numbers;
        size_t max, *count;
    } keys[] = {
        {"start", &loader->start, 1, &(size_t){0}},
        {"end", &loader->end, 1, &(size_t){0}},
        {"starts", loader->starts, sizeof loader->starts / sizeof loader->starts[0],
         &loader->start_count},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *value = loader_setting(loader, keys[i].key);
        if (value && parse_numbers(own, keys[i].key, value, keys[i].numbers, keys[i].max,
                                   keys[i].count, err))
            return error_status(err);
        if (value && i == 0)
            loader->has_start = true;
    }
    const char *bauds = loader_setting(loader, "baud");
    uint64_t rates[8] = {0};
    if (bauds && parse_numbers(own, "baud", bauds, rates, 8, &loader->baud_count, err))
        return error_status(err);
    for (size_t i = 0; i < loader->baud_count; i++)
        loader->bauds[i] = (uint32_t)rates[i];
    return OK;
}

/* Settings of the `like` first, the board's own behind them: the last one wins. */
static int make_loader(struct board_db *db, struct loader *loader, const struct section *like,
                       const struct section *own, struct error *err)
{
    size_t shared = like ? like->count : 0, mine = own ? own->count : 0;
    struct setting *settings = keep(db, (shared + mine) * sizeof *settings);
    if (!settings)
        return error_memory(err);
    if (shared)
        memcpy(settings, like->settings, shared * sizeof *settings);
    if (mine)
        memcpy(settings + shared, own->settings, mine * sizeof *settings);
    loader->settings = settings;
    loader->setting_count = shared + mine;
    loader->enter = loader_setting(loader, "enter");
    loader->ask = loader_setting(loader, "ask");
    const struct section *at = own ? own : like;
    if (!at)
        return OK;
    const char *ids = loader_setting(loader, "usb");
    if (ids && parse_ids(at, ids, loader->usb, sizeof loader->usb / sizeof loader->usb[0],
                         &loader->usb_count, err))
        return error_status(err);
    if (parse_loader_numbers(loader, at, err))
        return error_status(err);
    /* A board's own `start` stands instead of the `starts` it would have been given, and the other
     * way round: its DFU loader may be one in flash. */
    if (section_get(own, "start"))
        loader->start_count = 0;
    else if (section_get(own, "starts"))
        loader->has_start = false;
    return OK;
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
            return wrong(own, "methods", err, "too many methods", word);
        memcpy(method, word, length);
        struct loader *loader = &loaders[board->loader_count++];
        loader->method = method;
        if (make_loader(db, loader, like ? method_section(db, like, method) : NULL,
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
        return wrong(own, "like", err, "there is no such section", like);
    if (shared && section_get(shared, "like"))
        return wrong(own, "like", err, "that section has a `like` itself; one level only", like);
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
        return wrong(own, section_get(own, "chip") ? "chip" : "like", err,
                     "no such chip in the chip table", chip);
    if (!board->title)
        board->title = board->name;
    const char *ids = section_get(own, "usb");
    if (ids && parse_ids(own, ids, board->usb, sizeof board->usb / sizeof board->usb[0],
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

const char *loader_setting(const struct loader *loader, const char *key)
{
    for (size_t i = loader ? loader->setting_count : 0; i-- > 0;)
        if (strcmp(loader->settings[i].key, key) == 0)
            return loader->settings[i].value;
    return NULL;
}

uint64_t loader_number(const struct loader *loader, const char *key, uint64_t fallback)
{
    const char *value = loader_setting(loader, key);
    uint64_t number;
    return value && text_number(value, &number) ? number : fallback;
}
