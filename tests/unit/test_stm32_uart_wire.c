/*
 * stm32-uart byte for byte, as ST AN3155 and stm32flash show the exchanges, and against answers
 * that no chip should give: echoes, text, ports without parity, clones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "gpio_stand_in.h"
#include "method.h"
#include "scripted_serial.h"
#include "stm32/entry.h"
#include "stm32/parts.h"

extern const struct method method_stm32_uart;

#define INIT       \
    {              \
        "7f", "79" \
    }
#define GET_22                                                  \
    {                                                           \
        "00 ff", "79 0b 22 00 01 02 11 21 31 43 63 73 82 92 79" \
    }
#define GET_31                                                  \
    {                                                           \
        "00 ff", "79 0b 31 00 01 02 11 21 31 44 63 73 82 92 79" \
    }
#define ID(pid)                     \
    {                               \
        "02 fd", "79 01 " pid " 79" \
    }
/* The word at the flash base: connect looks there for readout protection. */
#define LOOK                                   \
    {"11 ee", "79"}, {"08 00 00 00 08", "79"}, \
    {                                          \
        "03 fc", "79 ff ff ff ff"              \
    }
#define END        \
    {              \
        NULL, NULL \
    }

enum { FLASH = 0x08000000, NOTES_MAX = 1024 };

/* A session on a script; the chip has no size register, which keeps scripts short. */
struct desk {
    struct stm32_part part;
    struct chip chip;
    struct setting settings[2];
    struct loader loader;
    struct serial_ops ops;
    struct session session;
    struct error err;
    char notes[NOTES_MAX];
};

static void keep_note(void *user, const char *text)
{
    struct desk *desk = user;
    size_t used = strlen(desk->notes);
    (void)snprintf(desk->notes + used, sizeof desk->notes - used, "%s\n", text);
}

static void desk_open(struct desk *desk, const char *chip, const struct script_turn *turns)
{
    memset(desk, 0, sizeof *desk);
    desk->chip = *chip_find(chip);
    desk->part = *desk->chip.stm32;
    desk->part.flash_size_reg = 0;
    desk->chip.stm32 = &desk->part;
    desk->loader = (struct loader){
        .method = "stm32-uart", .settings = desk->settings, .bauds = {115200}, .baud_count = 1};
    struct serial *serial = scripted_serial(turns);
    desk->ops = *serial->ops;
    serial->ops = &desk->ops;
    desk->session = (struct session){.method = &method_stm32_uart,
                                     .chip = &desk->chip,
                                     .loader = &desk->loader,
                                     .serial = serial,
                                     .clock = serial->clock,
                                     .note = keep_note,
                                     .user = desk};
}

static int desk_connect(struct desk *desk)
{
    return method_stm32_uart.connect(&desk->session, &desk->err);
}

static void assert_ok(const struct desk *desk, int rc)
{
    if (rc != OK)
        fail_msg("%s: %s", error_code_name((enum error_code)rc), desk->err.message);
}

/* Everything of the script was said, and nothing else. */
static void desk_close(struct desk *desk)
{
    if (desk->session.state)
        method_stm32_uart.disconnect(&desk->session);
    assert_true(scripted_serial_done(desk->session.serial));
    serial_close(desk->session.serial);
}

/* ---- exchanges as documented ---- */

static void connect_asks_at_even_parity_who_it_is(void **state)
{
    (void)state;
    static const struct script_turn script[] = {INIT, GET_22, ID("04 10"), LOOK, END};
    struct desk desk;
    desk_open(&desk, "stm32f103xb", script);
    assert_ok(&desk, desk_connect(&desk));
    assert_int_equal(desk.session.serial->settings.parity, PARITY_EVEN);
    assert_string_equal(desk.notes, "");
    desk_close(&desk);
}

static void erase_sends_the_list_of_pages_that_an3155_shows(void **state)
{
    (void)state;
    static const struct script_turn bytes[] = {
        INIT, GET_22, ID("04 10"), LOOK, {"43 bc", "79"}, {"01 00 01 00", "79"}, END};
    static const struct script_turn words[] = {
        INIT, GET_31, ID("04 13"), LOOK, {"44 bb", "79"}, {"00 00 00 00 00", "79"}, END};
    const struct span range[] = {{FLASH, 0x800}, {FLASH, 0x4000}};
    struct desk desk;
    desk_open(&desk, "stm32f103xb", bytes);
    assert_ok(&desk, desk_connect(&desk));
    assert_ok(&desk, method_stm32_uart.erase(&desk.session, &range[0], 1, &desk.err));
    desk_close(&desk);
    desk_open(&desk, "stm32f407xx", words);
    assert_ok(&desk, desk_connect(&desk));
    assert_ok(&desk, method_stm32_uart.erase(&desk.session, &range[1], 1, &desk.err));
    desk_close(&desk);
}

static void mass_erase_has_its_own_codes(void **state)
{
    (void)state;
    static const struct script_turn bytes[] = {
        INIT, GET_22, ID("04 10"), LOOK, {"43 bc", "79"}, {"ff 00", "79"}, END};
    static const struct script_turn words[] = {
        INIT, GET_31, ID("04 13"), LOOK, {"44 bb", "79"}, {"ff ff 00", "79"}, END};
    struct desk desk;
    desk_open(&desk, "stm32f103xb", bytes);
    assert_ok(&desk, desk_connect(&desk));
    assert_ok(&desk, method_stm32_uart.erase_chip(&desk.session, &desk.err));
    desk_close(&desk);
    desk_open(&desk, "stm32f407xx", words);
    assert_ok(&desk, desk_connect(&desk));
    assert_ok(&desk, method_stm32_uart.erase_chip(&desk.session, &desk.err));
    desk_close(&desk);
}

static void an_unlock_is_two_acks_and_a_new_start(void **state)
{
    (void)state;
    static const struct script_turn script[] = {
        INIT,   GET_22,       ID("04 10"),  LOOK, {"73 8c", "79 79"}, /* the chip resets */
        INIT,   {"ff", NULL}, {"ff", "1f"},                           /* in step */
        GET_22, ID("04 10"),  LOOK,         END};
    struct desk desk;
    desk_open(&desk, "stm32f103xb", script);
    assert_ok(&desk, desk_connect(&desk));
    assert_ok(&desk, method_stm32_uart.unlock(&desk.session, &desk.err));
    desk_close(&desk);
}

/* ---- lines and what comes back on them ---- */

static void an_echo_is_taken_back(void **state)
{
    (void)state;
    static const struct script_turn script[] = {
        {"7f", "7f 79"},
        {"00 ff", "00 ff 79 0b 22 00 01 02 11 21 31 43 63 73 82 92 79"},
        {"02 fd", "02 fd 79 01 04 10 79"},
        {"11 ee", "11 ee 79"},
        {"08 00 00 00 08", "08 00 00 00 08 79"},
        {"03 fc", "03 fc 79 ff ff ff ff"},
        END};
    struct desk desk;
    desk_open(&desk, "stm32f103xb", script);
    assert_ok(&desk, desk_connect(&desk));
    desk_close(&desk);
}

/* Each of the eight 7f of two rounds gets the same answer. */
static void assert_no_loader(const char *answer, const char *message, const char *hint)
{
    struct script_turn script[9] = {{NULL, NULL}};
    struct desk desk;
    for (size_t i = 0; i < 8; i++)
        script[i] = (struct script_turn){"7f", answer};
    desk_open(&desk, "stm32f103xb", script);
    assert_int_equal(desk_connect(&desk), ERR_NO_ANSWER);
    assert_non_null(strstr(desk.err.message, message));
    assert_non_null(strstr(desk.err.hint, hint));
    desk_close(&desk);
}

static void nothing_but_an_echo_is_a_wiring_fault(void **state)
{
    (void)state;
    assert_no_loader("7f", "only what was sent came back", "TX and RX are joined");
}

static void text_is_the_application(void **state)
{
    (void)state;
    assert_no_loader("4d 61 72 6c 69 6e 0a", "text came back: \"Marlin", "the application runs");
}

static void garbage_is_a_wrong_rate(void **state)
{
    (void)state;
    assert_no_loader("e0 fc 80", "e0 fc 80", "--baud 57600");
}

static int refuse_parity(struct serial *serial, const struct serial_settings *settings,
                         struct error *err)
{
    if (settings->parity != PARITY_NONE)
        return error_set(err, ERR_FAILED, "the driver has no parity");
    serial->settings = *settings;
    return OK;
}

static void a_port_without_parity_is_named_with_the_remedy(void **state)
{
    (void)state;
    static const struct script_turn nothing[] = {END};
    struct desk desk;
    desk_open(&desk, "stm32f103xb", nothing);
    desk.ops.configure = refuse_parity;
    (void)snprintf(desk.session.serial->name, sizeof desk.session.serial->name, "/dev/ttyS0");
    assert_int_equal(desk_connect(&desk), ERR_FAILED);
    assert_non_null(strstr(desk.err.message, "even parity, which /dev/ttyS0 does not take"));
    assert_non_null(strstr(desk.err.hint, "ttyAMA0"));
    desk_close(&desk);
}

static void a_line_without_a_wire_goes_without_parity_and_says_so(void **state)
{
    (void)state;
    static const struct script_turn script[] = {INIT, GET_22, ID("04 10"), LOOK, END};
    struct desk desk;
    desk_open(&desk, "stm32f103xb", script);
    desk.ops.set_lines = NULL;
    assert_ok(&desk, desk_connect(&desk));
    assert_int_equal(desk.session.serial->settings.parity, PARITY_NONE);
    assert_non_null(strstr(desk.notes, "8N1"));
    desk_close(&desk);
}

/* ---- products ---- */

static void a_sibling_is_accepted_with_a_note_and_its_own_pages(void **state)
{
    (void)state;
    /* 0x410 has pages of 1 KiB where the board's 0x414 has 2. */
    static const struct script_turn script[] = {
        INIT, GET_22, ID("04 10"), LOOK, {"43 bc", "79"}, {"01 02 03 00", "79"}, END};
    const struct span range = {FLASH + 0x800, 0x800};
    struct desk desk;
    desk_open(&desk, "stm32f103xe", script);
    assert_ok(&desk, desk_connect(&desk));
    assert_non_null(strstr(desk.notes, "0x410 (STM32F10x medium-density)"));
    assert_ok(&desk, method_stm32_uart.erase(&desk.session, &range, 1, &desk.err));
    desk_close(&desk);
}

static void an_unknown_product_is_refused_naming_both(void **state)
{
    (void)state;
    static const struct script_turn script[] = {INIT, GET_22, ID("07 77"), END};
    struct desk desk;
    desk_open(&desk, "stm32f103xb", script);
    assert_int_equal(desk_connect(&desk), ERR_REFUSED);
    assert_string_equal(desk.err.check, "signature");
    assert_non_null(strstr(desk.err.message, "0x777 (not known)"));
    assert_non_null(strstr(desk.err.message, "stm32f103xb (0x410)"));
    desk_close(&desk);
}

static void a_smaller_chip_is_not_written_beyond_its_end(void **state)
{
    (void)state;
    static char block[3 * 256 + 16];
    int used = snprintf(block, sizeof block, "79");
    for (size_t i = 0; i < 256; i++) /* 64 KiB at 0x1fff75e0 */
        used += snprintf(block + used, sizeof block - (size_t)used, " %02x", i == 0xe0 ? 64 : 0);
    const struct script_turn script[] = {INIT,
                                         {"00 ff", "79 0b 31 00 01 02 11 21 31 44 63 73 82 92 79"},
                                         ID("04 60"),
                                         LOOK,
                                         {"11 ee", "79"},
                                         {"1f ff 75 00 95", "79"},
                                         {"ff 00", block},
                                         END};
    const struct span range = {FLASH, 0x10800};
    struct desk desk;
    desk_open(&desk, "stm32g071xx", script);
    desk.part.flash_size_reg = 0x1fff75e0;
    assert_ok(&desk, desk_connect(&desk));
    assert_non_null(strstr(desk.notes, "64 KiB"));
    assert_int_equal(method_stm32_uart.erase(&desk.session, &range, 1, &desk.err), ERR_REFUSED);
    assert_string_equal(desk.err.check, "size");
    desk_close(&desk);
}

static void pages_are_numbered_through_sectors_of_several_sizes(void **state)
{
    (void)state;
    struct sector_run runs[ROM_RUNS_MAX];
    const struct chip *chip = chip_find("stm32f429xx");
    const struct region flash = st_rom_part_flash(st_rom_part_find(0x419), chip, runs);
    static const struct {
        uint32_t offset, number, size;
    } sectors[] = {{0, 0, 0x4000},         {0xc000, 3, 0x4000},    {0x10000, 4, 0x10000},
                   {0xe0000, 11, 0x20000}, {0x100000, 12, 0x4000}, {0x1e0000, 23, 0x20000}};
    for (size_t i = 0; i < sizeof sectors / sizeof sectors[0]; i++) {
        assert_int_equal(region_sector_number(&flash, FLASH + sectors[i].offset),
                         sectors[i].number);
        assert_int_equal(region_sector(&flash, FLASH + sectors[i].offset).size, sectors[i].size);
    }
}

/* ---- the way in ---- */

static char moves[256]; /* what the lines did, "R+ D- …" */

static int record_lines(struct serial *serial, bool dtr, bool rts, struct error *err)
{
    (void)err;
    size_t used = strlen(moves);
    const char *move = dtr != serial->dtr   ? dtr ? "D+" : "D-"
                       : rts != serial->rts ? rts ? "R+" : "R-"
                                            : "=";
    (void)snprintf(moves + used, sizeof moves - used, "%s ", move);
    return OK;
}

static void a_sequence_is_played_in_its_order_with_its_waits(void **state)
{
    (void)state;
    static const struct script_turn script[] = {INIT, GET_22, ID("04 10"), LOOK, END};
    struct desk desk;
    desk_open(&desk, "stm32f103xb", script);
    desk.settings[0] = (struct setting){"sequence", "-rts&rts,-dtr,,dtr"};
    desk.loader.setting_count = 1;
    desk.session.serial->dtr = desk.session.serial->rts = true;
    desk.ops.set_lines = record_lines;
    moves[0] = '\0';
    uint64_t begun = clock_now(desk.session.clock);
    assert_ok(&desk, desk_connect(&desk));
    assert_string_equal(moves, "R- R+ D- D+ ");
    assert_true(clock_now(desk.session.clock) - begun >= 3 * ENTRY_WAIT_US);
    desk_close(&desk);
}

static void sequences_of_the_field_are_understood(void **state)
{
    (void)state;
    struct entry entry = {.line_count = 0};
    struct error err;
    assert_int_equal(entry_parse(&entry, "-18,23,18:-18,-23,18", &err), OK);
    assert_int_equal(entry.enter.count, 5);
    assert_int_equal(entry.leave.count, 5);
    assert_int_equal(entry.enter.steps[0].signal, ENTRY_GPIO);
    assert_int_equal(entry.enter.steps[0].line, 18);
    assert_false(entry.enter.steps[0].active);
    assert_int_equal(entry_parse(&entry, ",,,,,", &err), OK);
    assert_int_equal(entry.enter.count, 5);
    assert_int_equal(entry_parse(&entry, ":rts", &err), OK); /* stm32flash 0.7 fails on this */
    assert_int_equal(entry.enter.count, 0);
    assert_int_equal(entry.leave.count, 1);
    assert_int_equal(entry_parse(&entry, NULL, &err), OK);
    assert_int_equal(entry.enter.count + entry.leave.count, 0);
}

static void a_broken_sequence_is_named_by_its_place(void **state)
{
    (void)state;
    static const char *const broken[] = {"rts,dts", "-", "rts:dtr:rts", "--rts", "4096"};
    static const char *const places[] = {"\"dts\"", "\"-\"", "\":rts\"", "\"--rts\"", "\"4096\""};
    struct entry entry = {.line_count = 0};
    struct error err;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        assert_int_equal(entry_parse(&entry, broken[i], &err), ERR_BOARDS_FILE);
        assert_non_null(strstr(err.message, places[i]));
    }
    assert_int_equal(entry_parse(&entry, ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,", &err),
                     ERR_BOARDS_FILE);
}

static void a_gpio_line_that_cannot_be_had_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *sequence;
        int code;
        const char *place;
    } cases[] = {
        {"/dev/no-such-gpiochip", "18", ERR_NO_DEVICE, "line 18 of /dev/no-such-gpiochip"},
        {GPIO_CHIP, "7,32", ERR_NO_DEVICE, "line 32 of " GPIO_CHIP ": there is no such line"},
        {GPIO_CHIP, "7,5", ERR_BUSY, "line 5 of " GPIO_CHIP},
        {GPIO_CLOSED_CHIP, "18", ERR_PERMISSION, "line 18 of " GPIO_CLOSED_CHIP},
        {GPIO_CHIP, "1,2,3,4,6", ERR_BOARDS_FILE, "4 GPIO lines"},
    };
    static const struct script_turn nothing[] = {END};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct desk desk;
        gpio_forget();
        desk_open(&desk, "stm32f103xb", nothing);
        desk.settings[0] = (struct setting){"sequence", cases[i].sequence};
        desk.settings[1] = (struct setting){"gpiochip", cases[i].chip};
        desk.loader.setting_count = 2;
        assert_int_equal(desk_connect(&desk), cases[i].code);
        assert_non_null(strstr(desk.err.message, cases[i].place));
        assert_int_equal(gpio_held, 0); /* what was taken before is given back */
        desk_close(&desk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_asks_at_even_parity_who_it_is),
        cmocka_unit_test(erase_sends_the_list_of_pages_that_an3155_shows),
        cmocka_unit_test(mass_erase_has_its_own_codes),
        cmocka_unit_test(an_unlock_is_two_acks_and_a_new_start),
        cmocka_unit_test(an_echo_is_taken_back),
        cmocka_unit_test(nothing_but_an_echo_is_a_wiring_fault),
        cmocka_unit_test(text_is_the_application),
        cmocka_unit_test(garbage_is_a_wrong_rate),
        cmocka_unit_test(a_port_without_parity_is_named_with_the_remedy),
        cmocka_unit_test(a_line_without_a_wire_goes_without_parity_and_says_so),
        cmocka_unit_test(a_sibling_is_accepted_with_a_note_and_its_own_pages),
        cmocka_unit_test(an_unknown_product_is_refused_naming_both),
        cmocka_unit_test(a_smaller_chip_is_not_written_beyond_its_end),
        cmocka_unit_test(pages_are_numbered_through_sectors_of_several_sizes),
        cmocka_unit_test(a_sequence_is_played_in_its_order_with_its_waits),
        cmocka_unit_test(sequences_of_the_field_are_understood),
        cmocka_unit_test(a_broken_sequence_is_named_by_its_place),
        cmocka_unit_test(a_gpio_line_that_cannot_be_had_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
