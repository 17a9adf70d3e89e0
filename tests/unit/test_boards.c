/* The shipped boards.ini: what a look at each entry must find. And how broken files are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "board/board_db.h"
#include "board/regions.h"
#include "method.h"

static const char known_methods[] =
    "stk500v1 stk500v2 avr109 isp halfkay avr-dfu samba stm32-uart dfu hid katapult-can "
    "katapult-usb katapult-serial picoboot uf2 msc sdcard swd";
static const char common_keys[] = "start end starts baud usb enter ask";
static const char enter_words[] = "dtr touch-1200 klipper-serial klipper-can ask";

static const char template[] = "/tmp/mflash-boards-XXXXXX";

/* A file of that text; its path replaces the template in `path`. */
static void make_file(char path[sizeof template], const char *text)
{
    memcpy(path, template, sizeof template);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static struct board_db *load(const char *const *files, size_t count)
{
    struct board_db *db = NULL;
    struct error err;
    if (board_db_load(&db, files, count, &err))
        fail_msg("%s", err.message);
    return db;
}

static int setup(void **state)
{
    static const char *const shipped[] = {"boards.ini"};
    *state = load(shipped, 1);
    return 0;
}

static int teardown(void **state)
{
    board_db_free(*state);
    return 0;
}

static void every_method_is_one_of_the_contract(void **state)
{
    for (size_t i = 0; i < board_count(*state); i++) {
        const struct board *board = board_at(*state, i);
        assert_true(board->loader_count > 0);
        for (size_t k = 0; k < board->loader_count; k++)
            if (!text_has_word(known_methods, board->loaders[k].method))
                fail_msg("%s: %s", board->name, board->loaders[k].method);
    }
}

static bool key_is_known(const struct loader *loader, const char *key)
{
    const struct method *method = method_find(loader->method);
    if (text_has_word(common_keys, key) || strncmp(key, "recipe.", 7) == 0 ||
        strncmp(key, "loader.", 7) == 0)
        return true;
    if (strncmp(key, "region.", 7) == 0)
        return !method || method->regions;
    for (size_t i = 0; method && method->keys && method->keys[i]; i++)
        if (strcmp(method->keys[i], key) == 0)
            return true;
    return !method; /* a method that this build does not have says nothing of its keys */
}

static void every_key_is_one_the_method_understands(void **state)
{
    for (size_t i = 0; i < board_count(*state); i++) {
        const struct board *board = board_at(*state, i);
        for (size_t k = 0; k < board->loader_count; k++)
            for (size_t n = 0; n < board->loaders[k].setting_count; n++)
                if (!key_is_known(&board->loaders[k], board->loaders[k].settings[n].key))
                    fail_msg("%s/%s: %s", board->name, board->loaders[k].method,
                             board->loaders[k].settings[n].key);
    }
}

static void assert_inside(const struct board *board, const struct loader *loader, uint64_t address)
{
    const struct region *flash = chip_region(board->chip, MEM_FLASH);
    const uint64_t memory_mapped_qspi = 0x90000000; /* STM32H750 boards run from there */
    if (address != memory_mapped_qspi &&
        (address < flash->start || address >= flash->start + flash->size))
        fail_msg("%s/%s: 0x%llx", board->name, loader->method, (unsigned long long)address);
}

/* Loaders have one start; ROM loaders and probes the starts of what may sit below the application.
 */
static void loaders_say_where_applications_start_inside_the_flash(void **state)
{
    for (size_t i = 0; i < board_count(*state); i++) {
        const struct board *board = board_at(*state, i);
        for (size_t k = 0; k < board->loader_count; k++) {
            const struct loader *loader = &board->loaders[k];
            if (strcmp(loader->method, "isp") == 0)
                continue;
            if (loader->has_start == (loader->start_count > 0))
                fail_msg("%s/%s: start or starts", board->name, loader->method);
            if (loader->has_start)
                assert_inside(board, loader, loader->start);
            for (size_t n = 0; n < loader->start_count; n++)
                assert_inside(board, loader, loader->starts[n]);
        }
    }
}

static void loaders_end_on_a_page_above_their_start(void **state)
{
    for (size_t i = 0; i < board_count(*state); i++) {
        const struct board *board = board_at(*state, i);
        const struct region *flash = chip_region(board->chip, MEM_FLASH);
        for (size_t k = 0; k < board->loader_count; k++) {
            const struct loader *loader = &board->loaders[k];
            if (!loader->end)
                continue;
            assert_true(loader->end > loader->start);
            assert_true(loader->end <= flash->start + flash->size);
            assert_int_equal(loader->end % flash->page, 0);
        }
    }
}

static void enter_words_are_of_the_closed_list_and_ask_has_its_text(void **state)
{
    for (size_t i = 0; i < board_count(*state); i++) {
        const struct board *board = board_at(*state, i);
        for (size_t k = 0; k < board->loader_count; k++) {
            const char *cursor = board->loaders[k].enter, *word;
            size_t length;
            while ((word = text_word(&cursor, &length))) {
                char text[32];
                (void)snprintf(text, sizeof text, "%.*s", (int)length, word);
                if (!text_has_word(enter_words, text))
                    fail_msg("%s: enter = %s", board->name, text);
            }
            if (text_has_word(board->loaders[k].enter, "ask"))
                assert_non_null(board->loaders[k].ask);
        }
    }
}

static void names_and_aliases_are_unique(void **state)
{
    for (size_t i = 0; i < board_count(*state); i++) {
        const struct board *board = board_at(*state, i), *found;
        struct error err;
        assert_int_equal(board_find(*state, board->name, &found, &err), OK);
        assert_ptr_equal(found, board);
        for (size_t k = 0; k < board->alias_count; k++) {
            assert_int_equal(board_find(*state, board->aliases[k], &found, &err), OK);
            if (found != board)
                fail_msg("alias %s is of %s and of %s", board->aliases[k], board->name,
                         found->name);
        }
    }
}

static void every_board_has_a_source(void **state)
{
    for (size_t i = 0; i < board_count(*state); i++) {
        const struct board *board = board_at(*state, i);
        if (!board->source && strncmp(board->name, "generic-", 8) != 0)
            fail_msg("%s", board->name);
    }
}

/* iniparser lets the last of two equal keys win silently: here it is a mistake. */
static void no_key_is_given_twice_and_no_line_is_too_long(void **state)
{
    (void)state;
    FILE *f = fopen("boards.ini", "r");
    assert_non_null(f);
    char line[2048], section[256] = "", seen[64][64];
    size_t keys = 0;
    while (fgets(line, sizeof line, f)) {
        char key[64];
        assert_true(strlen(line) < 1000);
        if (line[0] == '[') {
            (void)snprintf(section, sizeof section, "%.*s", (int)strcspn(line, "\n"), line);
            keys = 0;
        } else if (sscanf(line, "%63[a-zA-Z0-9.-] =", key) == 1 && strchr(line, '=')) {
            for (size_t i = 0; i < keys; i++)
                if (strcmp(seen[i], key) == 0)
                    fail_msg("%s: %s", section, key);
            assert_true(keys < 64);
            (void)snprintf(seen[keys++], sizeof seen[0], "%s", key);
        }
    }
    (void)fclose(f);
}

static void a_typing_mistake_is_answered_with_the_nearest_names(void **state)
{
    const struct board *board;
    struct error err;
    assert_int_equal(board_find(*state, "arduino-mega256", &board, &err), ERR_USAGE);
    assert_non_null(strstr(err.hint, "arduino-mega2560"));
}

static void boards_of_one_kind_share_what_they_are_like(void **state)
{
    const struct board *board;
    struct error err;
    assert_int_equal(board_find(*state, "ramps", &board, &err), OK);
    const struct loader *loader = board_loader(board, "stk500v2");
    assert_non_null(loader);
    assert_int_equal(loader->end, 0x3e000);
    assert_int_equal(loader->bauds[0], 115200);
    assert_int_equal(board_find(*state, "arduino-nano", &board, &err), OK);
    loader = board_loader(board, "stk500v1");
    assert_int_equal(loader->end, 0x7800); /* its own value wins over the shared 0x7e00 */
    assert_int_equal(loader->baud_count, 2);
}

/* ---- broken files ---- */

static int load_text(const char *text, struct error *err)
{
    char path[sizeof template];
    make_file(path, text);
    const char *files[] = {path};
    struct board_db *db = NULL;
    int status = board_db_load(&db, files, 1, err);
    board_db_free(db);
    (void)unlink(path);
    return status;
}

#define H7 "[x]\nchip = stm32h743xx\nmethods = dfu\n[x/dfu]\n"
#define NINE_REGIONS                                                                          \
    "region.a = 0x90000000 4K 4K\nregion.b = 0x91000000 4K 4K\nregion.c = 0x92000000 4K 4K\n" \
    "region.d = 0x93000000 4K 4K\nregion.e = 0x94000000 4K 4K\nregion.f = 0x95000000 4K 4K\n" \
    "region.g = 0x96000000 4K 4K\nregion.h = 0x97000000 4K 4K\nregion.i = 0x98000000 4K 4K\n"

static void broken_files_are_refused_with_file_and_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *line, *says;
    } cases[] = {
        {"[x]\nchip = m328p\nmethods = isp\nnonsense\n", ":4:", "nonsense"},
        {"[x]\nchip = m999\nmethods = isp\n", ":2:", "no such chip"},
        {"[x]\nchip = m328p\n", ":1:", "no `methods`"},
        {"[x]\nlike = y\n", ":2:", "no such section"},
        {"[x]\nchip = m328p\nmethods = isp\nusb = 1a86\n", ":4:", "vvvv:pppp"},
        {"[x]\nchip = m328p\nmethods = isp\n[x/isp]\nbaud = fast\n", ":5:", "number"},
        {"[x]\nchip = m328p\nmethods = isp\n[x/stk500v1]\nbaud = 1\n", ":4:", "does not list"},
        {"[z/isp]\nbaud = 1\n", ":1:", "no such board"},
        {"[x]\nchip = m328p\n[y]\nname = y\n[X]\nmethods = isp\n",
         ":5:", "twice, here and in line 1"},
        {"chip = m328p\n[x]\nmethods = isp\n", "chip", "before any [section]"},
        {H7 "region.qspi = 0x90000000 8M\n", ":5:", "START SIZE SECTOR"},
        {H7 "region.qspi = 0x90000000 8M 4K 256\n", ":5:", "START SIZE SECTOR"},
        {H7 "region.qspi = 0x90000000 8M large\n", ":5:", "START SIZE SECTOR"},
        {H7 "region.qspi = 0x90000000 0 4K\n", ":5:", "be 0"},
        {H7 "region.qspi = 0x90000000 8M 0\n", ":5:", "be 0"},
        {H7 "region.qspi = 0x90000800 8M 4K\n", ":5:", "multiples"},
        {H7 "region.qspi = 0x90000000 5000 4K\n", ":5:", "multiples"},
        {H7 "region.qspi = 0x90000000 4K 8K\n", ":5:", "multiples"},
        {H7 "region.qspi = 0xfff00000 2M 4K\n", ":5:", "32 bits"},
        {H7 "region. = 0x90000000 8M 4K\n", ":5:", "no name"},
        {H7 "region.flash = 0x90000000 8M 4K\n", ":5:", "already is a region flash, 0x8000000.."},
        {H7 "region.qspi = 0x081e0000 8M 4K\n", ":5:", "overlaps the region flash, 0x8000000.."},
        {H7 "region.a = 0x90000000 8M 4K\nregion.b = 0x90700000 8M 4K\n",
         ":6:", "overlaps the region a, 0x90000000..0x907fffff"},
        {H7 NINE_REGIONS, ":13:", "too many regions"},
        {"[t]\nchip = stm32h743xx\nmethods = dfu\n[t/dfu]\nregion.qspi = 1 2\n"
         "[x]\nlike = t\n[x/dfu]\nalt = 1\n",
         ":5:", "START SIZE SECTOR"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err;
        if (load_text(cases[i].text, &err) != ERR_BOARDS_FILE)
            fail_msg("accepted: %s", cases[i].text);
        if (!strstr(err.message, cases[i].line) || !strstr(err.message, cases[i].says))
            fail_msg("case %zu: %s", i, err.message);
    }
}

/* Handed to iniparser in pieces, it has the lines of the file all the same. */
static void a_long_file_is_refused_with_its_own_line(void **state)
{
    (void)state;
    static char text[64 * 1024];
    struct error err;
    size_t at = 0;
    for (unsigned i = 0; i < 400; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "[b%u]\nchip = m328p\nmethods = isp\nask = \"one \\\n[two]\"\n", i);
    assert_int_equal(load_text(text, &err), OK);
    (void)snprintf(text + at, sizeof text - at, "[c]\nnonsense\n");
    assert_int_equal(load_text(text, &err), ERR_BOARDS_FILE);
    if (!strstr(err.message, ":2002:"))
        fail_msg("%s", err.message);
    (void)snprintf(text + at, sizeof text - at, "[b7]\nchip = m328p\n");
    assert_int_equal(load_text(text, &err), ERR_BOARDS_FILE);
    if (!strstr(err.message, ":2001:") || !strstr(err.message, "in line 36"))
        fail_msg("%s", err.message);
}

/* A board's own region stands instead of the one of the same name that it would have been given. */
static void regions_are_memories_beside_the_chip_s(void **state)
{
    (void)state;
    char path[sizeof template];
    static const char text[] =
        "[like/h]\nchip = stm32h743xx\nmethods = dfu\n[like/h/dfu]\n"
        "region.qspi = 0x90000000 8M 4K\n[x]\nlike = like/h\n[x/dfu]\n"
        "region.qspi = 0x90000000 16M 64K\nregion.at45 = 0xa0000000 2112 264\n";
    make_file(path, text);
    const char *files[] = {path};
    struct board_db *db = load(files, 1);
    const struct board *board;
    struct error err;
    assert_int_equal(board_find(db, "x", &board, &err), OK);
    const struct loader *loader = board_loader(board, "dfu");
    assert_int_equal(loader->region_count, 2);
    const struct regions all = regions_of(board->chip, loader);
    const struct region *qspi = regions_named(&all, "qspi"), *at45 = regions_named(&all, "at45");
    assert_non_null(qspi);
    assert_non_null(at45);
    assert_int_equal(qspi->start, 0x90000000);
    assert_int_equal(qspi->size, 16 * 1024 * 1024);
    assert_int_equal(qspi->sector, 64 * 1024);
    assert_int_equal(qspi->page, 256);
    assert_int_equal(at45->page, 264);
    assert_ptr_equal(regions_at(&all, MEM_FLASH, 0x90000000), qspi);
    assert_ptr_equal(regions_at(&all, MEM_FLASH, 0x9fffffff), qspi);
    assert_ptr_equal(regions_at(&all, MEM_FLASH, 0xa0000000), at45);
    assert_ptr_equal(regions_at(&all, MEM_FLASH, 0x8fffffff), &all.list[0]);
    assert_ptr_equal(regions_at(&all, MEM_FLASH, 0), &all.list[0]);
    board_db_free(db);
    (void)unlink(path);
}

static void a_line_longer_than_iniparser_takes_is_refused(void **state)
{
    (void)state;
    char text[2200];
    struct error err;
    (void)snprintf(text, sizeof text, "[x]\nname = %01500d\n", 1);
    assert_int_equal(load_text(text, &err), ERR_BOARDS_FILE);
    assert_non_null(strstr(err.message, ":2:"));
    assert_non_null(strstr(err.message, "1024"));
}

static void a_later_file_overrides_key_by_key_and_says_so(void **state)
{
    (void)state;
    char path[sizeof template];
    static const char text[] =
        "[arduino-uno]\nname = Mine\nlike = like/uno\n[arduino-uno/stk500v1]\nbaud = 250000\n";
    make_file(path, text);
    const char *files[] = {"boards.ini", path};
    for (int as_needed = 0; as_needed < 2; as_needed++) {
        struct board_db *db = NULL;
        const struct board *board;
        struct error err;
        assert_int_equal(board_db_read(&db, files, 2, as_needed, &err), OK);
        assert_int_equal(board_find(db, "uno", &board, &err), OK);
        assert_string_equal(board->title, "Mine");
        assert_string_equal(board->shadows, "boards.ini");
        assert_int_equal(board_loader(board, "stk500v1")->bauds[0], 250000);
        assert_int_equal(board_loader(board, "stk500v1")->end, 0x7e00);
        board_db_free(db);
    }
    (void)unlink(path);
}

/* ---- the shipped file as far as it is needed ---- */

static struct board_db *open_with(const char *own, struct error *err)
{
    const char *files[] = {"boards.ini", own};
    struct board_db *db = NULL;
    error_clear(err);
    (void)board_db_read(&db, files, own ? 2 : 1, true, err);
    return db;
}

static void same_board(const struct board *a, const struct board *b)
{
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->title, b->title);
    assert_ptr_equal(a->chip, b->chip);
    assert_int_equal(a->alias_count, b->alias_count);
    assert_int_equal(a->usb_count, b->usb_count);
    assert_int_equal(a->loader_count, b->loader_count);
    for (size_t i = 0; i < a->loader_count; i++) {
        const struct loader *x = &a->loaders[i], *y = &b->loaders[i];
        assert_string_equal(x->method, y->method);
        assert_int_equal(x->setting_count, y->setting_count);
        for (size_t k = 0; k < x->setting_count; k++) {
            assert_string_equal(x->settings[k].key, y->settings[k].key);
            assert_string_equal(x->settings[k].value, y->settings[k].value);
        }
    }
}

static void a_board_is_the_same_however_it_is_found(void **state)
{
    enum { SOME = 29 }; /* each such one also alone, with nothing read before it */
    struct error err;
    struct board_db *growing = open_with(NULL, &err);
    assert_non_null(growing);
    assert_int_equal(board_count(growing), 0);
    for (size_t i = board_count(*state); i-- > 0;) {
        const struct board *board = board_at(*state, i), *found;
        const char *name = board->alias_count ? board->aliases[0] : board->name;
        assert_int_equal(board_find(growing, name, &found, &err), OK);
        same_board(found, board);
        if (i % SOME)
            continue;
        struct board_db *fresh = open_with(NULL, &err);
        assert_int_equal(board_find(fresh, name, &found, &err), OK);
        same_board(found, board);
        assert_int_equal(board_count(fresh), 1);
        board_db_free(fresh);
    }
    assert_int_equal(board_db_all(growing, &err), OK);
    assert_int_equal(board_count(growing), board_count(*state));
    for (size_t i = 0; i < board_count(growing); i++)
        assert_string_equal(board_at(growing, i)->name, board_at(*state, i)->name);
    board_db_free(growing);
}

static void a_typing_mistake_has_all_boards_compared(void **state)
{
    (void)state;
    struct error err;
    const struct board *board;
    struct board_db *db = open_with(NULL, &err);
    assert_int_equal(board_find(db, "arduino-mega256", &board, &err), ERR_USAGE);
    assert_non_null(strstr(err.hint, "arduino-mega2560"));
    board_db_free(db);
}

static void what_is_wrong_in_the_users_file_is_said_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } files[] = {
        {"[mine]\nlike = like/nothing\n", "no such section"},
        {"[mine]\nlike = like/uno\n[mine/dfu]\nstart = 0\n", "does not list it"},
        {"[mine]\nlike = like/uno\n[mine/isp]\nusb = 1\n", "usb"},
        {"[like/uno/dfu]\nstart = 0\n", "does not list it"},
        {"[mine\n", ":1:"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[sizeof template];
        struct error err;
        make_file(path, files[i].text);
        assert_null(open_with(path, &err));
        assert_int_equal(err.code, ERR_BOARDS_FILE);
        assert_non_null(strstr(err.message, path));
        assert_non_null(strstr(err.message, files[i].message));
        (void)unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_is_one_of_the_contract),
        cmocka_unit_test(every_key_is_one_the_method_understands),
        cmocka_unit_test(loaders_say_where_applications_start_inside_the_flash),
        cmocka_unit_test(loaders_end_on_a_page_above_their_start),
        cmocka_unit_test(enter_words_are_of_the_closed_list_and_ask_has_its_text),
        cmocka_unit_test(names_and_aliases_are_unique),
        cmocka_unit_test(every_board_has_a_source),
        cmocka_unit_test(no_key_is_given_twice_and_no_line_is_too_long),
        cmocka_unit_test(a_typing_mistake_is_answered_with_the_nearest_names),
        cmocka_unit_test(boards_of_one_kind_share_what_they_are_like),
        cmocka_unit_test(broken_files_are_refused_with_file_and_line),
        cmocka_unit_test(a_long_file_is_refused_with_its_own_line),
        cmocka_unit_test(regions_are_memories_beside_the_chip_s),
        cmocka_unit_test(a_line_longer_than_iniparser_takes_is_refused),
        cmocka_unit_test(a_later_file_overrides_key_by_key_and_says_so),
        cmocka_unit_test(a_board_is_the_same_however_it_is_found),
        cmocka_unit_test(a_typing_mistake_has_all_boards_compared),
        cmocka_unit_test(what_is_wrong_in_the_users_file_is_said_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
