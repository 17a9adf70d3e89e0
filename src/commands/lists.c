/* `mflash boards` and `mflash methods`. */
#include "commands/cli.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"

/* ---- boards ---- */

static bool matches(const struct board *board, const char *pattern)
{
    if (!pattern || strcasestr(board->name, pattern) || strcasestr(board->title, pattern) ||
        strcasestr(board->chip->name, pattern))
        return true;
    for (size_t i = 0; i < board->alias_count; i++)
        if (strcasestr(board->aliases[i], pattern))
            return true;
    return false;
}

static void method_words(const struct board *board, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < board->loader_count; i++)
        text_append(out, size, "%s%s", i ? " " : "", board->loaders[i].method);
}

static json_t *settings_object(const struct loader *loader)
{
    json_t *settings = json_object();
    for (size_t i = 0; i < loader->setting_count; i++)
        (void)json_object_set_new(settings, loader->settings[i].key,
                                  json_string(loader->settings[i].value));
    return settings;
}

static json_t *board_object(const struct board *board)
{
    json_t *methods_array = json_array(), *aliases = json_array(), *usb = json_array(),
           *settings = json_object();
    for (size_t i = 0; i < board->loader_count; i++) {
        (void)json_array_append_new(methods_array, json_string(board->loaders[i].method));
        (void)json_object_set_new(settings, board->loaders[i].method,
                                  settings_object(&board->loaders[i]));
    }
    for (size_t i = 0; i < board->alias_count; i++)
        (void)json_array_append_new(aliases, json_string(board->aliases[i]));
    for (size_t i = 0; i < board->usb_count; i++)
        (void)json_array_append_new(
            usb, json_sprintf("%04x:%04x", board->usb[i].vid, board->usb[i].pid));
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "name", board->name, "title",
                     board->title, "chip", board->chip->name, "aliases", aliases, "methods",
                     methods_array, "usb", usb, "settings", settings);
}

static void print_loader(const struct loader *loader)
{
    const struct method *method = method_find(loader->method);
    (void)printf("%-10s %s\n", loader->method,
                 method ? method->summary : "(this build does not speak it)");
    for (size_t i = 0; i < loader->setting_count; i++) {
        const struct setting *setting = &loader->settings[i];
        /* A `like` may have said it before: show what is in force. */
        if (loader_setting(loader, setting->key) == setting->value)
            (void)printf("           %s = %s\n", setting->key, setting->value);
    }
}

static void print_chip(const struct chip *chip)
{
    for (size_t i = 0; i < chip->region_count; i++) {
        const struct region *region = &chip->regions[i];
        char size[32];
        report_bytes(size, sizeof size, (size_t)region->size);
        (void)printf("%-10s %s at 0x%" PRIx64 ", pages of %" PRIu32 "\n", region->name, size,
                     region->start, region->page);
    }
    if (chip->avr)
        (void)printf("signature  %02x %02x %02x\n", chip->avr->signature[0],
                     chip->avr->signature[1], chip->avr->signature[2]);
}

static void print_everything(const struct board *board)
{
    char words[256];
    (void)printf("board      %s\nname       %s\nchip       %s\n", board->name, board->title,
                 board->chip->name);
    print_chip(board->chip);
    for (size_t i = 0; i < board->alias_count; i++)
        (void)printf("%-10s %s\n", i ? "" : "alias", board->aliases[i]);
    for (size_t i = 0; i < board->usb_count; i++)
        (void)printf("%-10s %04x:%04x\n", i ? "" : "usb", board->usb[i].vid, board->usb[i].pid);
    method_words(board, words, sizeof words);
    (void)printf("methods    %s\n", words);
    for (size_t i = 0; i < board->loader_count; i++)
        print_loader(&board->loaders[i]);
    const char *const facts[][2] = {{"note", board->note},
                                    {"inferred", board->inferred},
                                    {"source", board->source},
                                    {"file", board->file},
                                    {"shadows", board->shadows}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
        if (facts[i][1])
            (void)printf("%-10s %s\n", facts[i][0], facts[i][1]);
}

static void print_row(const struct board *board)
{
    char words[256];
    method_words(board, words, sizeof words);
    (void)printf("%-28s %-12s %-22s %s\n", board->name, board->chip->name, words, board->title);
}

static void show_board(struct app *app, const struct board *board, bool everything)
{
    if (app->options.json)
        report_object(&app->report, board_object(board));
    else if (app->options.quiet)
        (void)printf("%s\n", board->name);
    else if (everything)
        print_everything(board);
    else
        print_row(board);
}

int command_boards(struct app *app, struct error *err)
{
    const char *pattern = app->options.word_count ? app->options.words[0] : NULL;
    const struct board *board;
    struct error ignored;
    if (app_words(app, 1, err) || app_boards(app, err))
        return error_status(err);
    if (pattern && board_find(app->db, pattern, &board, &ignored) == OK) {
        show_board(app, board, true);
        return OK;
    }
    if (board_db_all(app->db, err))
        return error_status(err);
    size_t shown = 0;
    for (size_t i = 0; i < board_count(app->db); i++) {
        if (!matches(board_at(app->db, i), pattern))
            continue;
        show_board(app, board_at(app->db, i), false);
        shown++;
    }
    return shown ? OK : board_find(app->db, pattern ? pattern : "", &board, err);
}

/* ---- methods ---- */

static void possible_words(const struct method *method, char *out, size_t size)
{
    out[0] = '\0';
    for (int op = 0; op < OP_COUNT; op++)
        if (!method_refusal(method, (enum operation)op))
            text_append(out, size, "%s%s", *out ? ", " : "", operation_name((enum operation)op));
}

static json_t *method_object(const struct method *method)
{
    json_t *can = json_array(), *cannot = json_object();
    for (int op = 0; op < OP_COUNT; op++) {
        const char *because = method_refusal(method, (enum operation)op);
        const char *name = operation_name((enum operation)op);
        if (because)
            (void)json_object_set_new(cannot, name, json_string(because));
        else
            (void)json_array_append_new(can, json_string(name));
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", method->name, "summary", method->summary,
                     "document", method->document, "can", can, "cannot", cannot);
}

static void print_method(const struct app *app, const struct method *method)
{
    char words[512];
    possible_words(method, words, sizeof words);
    (void)printf("%-10s %s (%s)\n           can: %s\n", method->name, method->summary,
                 method->document, words);
    for (int op = 0; op < OP_COUNT && app->options.verbose; op++) {
        const char *because = method_refusal(method, (enum operation)op);
        if (because)
            (void)printf("           %s: not possible, because %s\n",
                         operation_name((enum operation)op), because);
    }
}

int command_methods(struct app *app, struct error *err)
{
    if (app_words(app, 0, err))
        return error_status(err);
    for (size_t i = 0; methods[i]; i++) {
        if (app->options.json)
            report_object(&app->report, method_object(methods[i]));
        else if (app->options.quiet)
            (void)printf("%s\n", methods[i]->name);
        else
            print_method(app, methods[i]);
    }
    return OK;
}
