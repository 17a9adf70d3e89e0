/*
 * stm32-uart against the strict virtual ROM loader on virtual time. The chips have been used
 * before: what a method forgets to erase or to write shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "gpio_stand_in.h"
#include "method_rig.h"

extern const struct method method_stm32_uart;
extern const struct vmodel vmodel_stm32_rom;

enum { KIB = 1024, FLASH = 0x08000000, MAIN_PAGE = 256 };

static struct rig *board_as(const char *chip, const struct vconfig *options)
{
    const struct region *flash = &chip_find(chip)->regions[0];
    struct rig *rig = rig_new(&vmodel_stm32_rom, &method_stm32_uart, chip, flash->size, options);
    rig->loader.bauds[0] = 115200;
    rig->loader.baud_count = 1;
    rig->loader.enter = "dtr";
    rig->loader.end = 0;
    return rig;
}

static struct rig *board(const char *chip)
{
    return board_as(chip, NULL);
}

static void assert_run(struct rig *rig)
{
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
    assert_true(rig_holds_image(rig));
}

/* ---- lines of the host ---- */

/* A Raspberry Pi: GPIO 18 is wired to BOOT0, GPIO 23 to NRST. */
static struct rig *wired_board;
static bool boot0;

static void pi_header(unsigned line, bool high)
{
    struct vserial *device = wired_board->device;
    if (line == 18)
        boot0 = high;
    if (line == 23 && high) {
        device->ops->lines(device, false, boot0, 115200); /* the variant has BOOT0 there */
        virtual_reset(device, VRESET_PIN);
    }
}

static void gpio_lines_bring_the_chip_in_and_start_its_application(void **state)
{
    (void)state;
    struct rig *rig =
        board_as("stm32f103xb", &(struct vconfig){.variant = "rts-boot0", .app = true});
    rig->settings[0] = (struct setting){"sequence", "18,-23&23:-18,-23&23"};
    rig->settings[1] = (struct setting){"gpiochip", GPIO_CHIP};
    rig->loader.setting_count = 2;
    rig->loader.enter = NULL;
    gpio_forget();
    wired_board = rig;
    gpio_wired = pi_header;
    rig_image(rig, MEM_FLASH, FLASH, 3000);
    assert_run(rig);
    assert_string_equal(gpio_moves, "18=1 23=0 23=1 18=0 23=0 23=1 23. 18. ");
    assert_int_equal(gpio_held, 0);
    gpio_forget();
    rig_free(rig);
}

/* ---- writing and reading ---- */

static void write_and_verify_on_each_family(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f103xb", "stm32f103xe", "stm32f072xb", "stm32f031x6",
                                        "stm32f407xx", "stm32g071xx", "stm32h743xx"};
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++) {
        struct rig *rig = board(chips[i]);
        rig_image(rig, MEM_FLASH, FLASH, 5001);
        assert_run(rig);
        assert_int_equal(rig->advanced, 2 * 5001);
        rig_free(rig);
    }
}

static void write_behind_a_bootloader_leaves_it_alone(void **state)
{
    (void)state;
    struct rig *rig = board("stm32f103xb");
    static uint8_t before[0x2000];
    memcpy(before, rig->flash, sizeof before);
    rig_image(rig, MEM_FLASH, FLASH + 0x2000, 3000);
    rig->loader.starts[0] = FLASH + 0x2000;
    rig->loader.start_count = 1;
    assert_run(rig);
    assert_memory_equal(rig->flash, before, sizeof before);
    rig_free(rig);
}

static void erase_takes_only_the_pages_asked_for(void **state)
{
    (void)state;
    static uint8_t before[128 * KIB];
    struct rig *rig = board("stm32f103xb");
    const struct span ranges[] = {{FLASH + 2 * KIB, 3 * KIB}, {FLASH + 100 * KIB, KIB}};
    memcpy(before, rig->flash, sizeof before);
    memset(before + 2 * KIB, 0xff, 3 * KIB);
    memset(before + 100 * KIB, 0xff, KIB);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->erase(&rig->session, ranges, 2, &rig->err));
    assert_memory_equal(rig->flash, before, sizeof before);
    rig_free(rig);
}

static void erase_of_large_sectors_is_by_their_numbers(void **state)
{
    (void)state;
    static uint8_t before[RIG_FLASH_MAX];
    struct rig *rig = board("stm32f407xx");
    const struct span range = {FLASH + 64 * KIB, 192 * KIB}; /* sectors 4 and 5 */
    memcpy(before, rig->flash, sizeof before);
    memset(before + 64 * KIB, 0xff, 192 * KIB);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->erase(&rig->session, &range, 1, &rig->err));
    assert_memory_equal(rig->flash, before, KIB * KIB);
    rig_free(rig);
}

/* How long erasing [FLASH + from, FLASH + to) of an STM32G0B1 takes; it must blank just that. */
static uint64_t erase_time_of(bool dual_bank, uint32_t from, uint32_t to)
{
    static uint8_t before[512 * KIB];
    struct rig *rig = board("stm32g0b1xx");
    const struct span range = {FLASH + from, to - from};
    if (!dual_bank) {
        put_le32(rig->options, get_le32(rig->options) & ~(1u << 21));
        put_le32(rig->options + 4, ~get_le32(rig->options));
        rig_remake(rig);
    }
    memcpy(before, rig->flash, sizeof before);
    memset(before + from, 0xff, to - from);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    uint64_t begun = clock_now(rig->session.clock);
    rig_assert_ok(rig, rig->method->erase(&rig->session, &range, 1, &rig->err));
    uint64_t time = clock_now(rig->session.clock) - begun;
    assert_memory_equal(rig->flash, before, sizeof before);
    rig_free(rig);
    return time;
}

static void a_whole_bank_is_erased_by_one_command_where_there_are_two(void **state)
{
    (void)state;
    const uint64_t page = 22 * MILLISECOND;
    assert_true(erase_time_of(true, 0, 256 * KIB) < 3 * page);
    assert_true(erase_time_of(true, 256 * KIB, 512 * KIB) < 3 * page);
    assert_true(erase_time_of(true, 0, 512 * KIB) < 4 * page);
    assert_true(erase_time_of(true, 250 * KIB, 512 * KIB) < 6 * page); /* three pages, a bank */
    assert_true(erase_time_of(true, 2 * KIB, 258 * KIB) > 100 * page); /* no whole one */
    assert_true(erase_time_of(false, 0, 256 * KIB) > 100 * page);
}

/* ---- the loader's own checksum ---- */

static struct rig *board_with_sums(const char *variant)
{
    struct rig *rig = board_as("stm32f072xb", &(struct vconfig){.variant = variant});
    rig_image(rig, MEM_FLASH, FLASH, 30001);
    rig_image(rig, MEM_FLASH, FLASH + 40001, 777);
    return rig;
}

static void verify_asks_for_a_checksum_where_the_loader_lists_it(void **state)
{
    (void)state;
    struct rig *rig = board_with_sums("checksum");
    assert_run(rig);
    assert_int_equal(rig->advanced, 2 * (30001 + 777));
    assert_true(rig->verifying < 100 * MILLISECOND); /* reading takes 2.9 s */
    rig_free(rig);
}

static void a_checksum_that_differs_is_followed_by_the_place(void **state)
{
    (void)state;
    static uint8_t zeros[5000];
    struct rig *rig = board_as("stm32f072xb", &(struct vconfig){.variant = "checksum"});
    rig_image_bytes(rig, MEM_FLASH, FLASH, zeros, sizeof zeros);
    rig->config.flash.stuck = 0x123;
    rig_remake(rig);
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_VERIFY);
    assert_non_null(strstr(rig->err.message, "0x08000123"));
    rig_free(rig);
}

/* stm32flash 0.7 and ST's documents describe different frames under this number. */
static void a_checksum_of_another_kind_is_left_for_reading(void **state)
{
    (void)state;
    struct rig *rig = board_with_sums("other-checksum");
    assert_run(rig);
    assert_true(rig->verifying > 2 * SECOND);
    rig_free(rig);
}

static void the_checksum_tells_which_pages_are_there(void **state)
{
    (void)state;
    struct rig *rig = board_with_sums("checksum");
    assert_run(rig);
    rig->flash[5000] ^= 1;
    rig->flash[40001] ^= 1;
    rig->flash[40000] ^= 1; /* not the image's */
    virtual_reset(rig->device, VRESET_PIN);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    const struct job job = rig_job(rig, MEM_FLASH);
    struct span pages[17];
    bool equal[17];
    for (size_t i = 0; i < 17; i++)
        pages[i] = (struct span){FLASH + (i < 15 ? i : i + 4) * 2 * KIB, 2 * KIB};
    rig_assert_ok(rig, rig->method->equal(&rig->session, &job, pages, 17, equal, &rig->err));
    for (size_t i = 0; i < 17; i++)
        assert_int_equal(equal[i], i != 2 && i != 15);
    rig_free(rig);
}

static void erase_of_every_page_goes_in_lists_that_cannot_mean_all(void **state)
{
    (void)state;
    struct rig *rig = board("stm32f103xe"); /* 256 pages: one too many for the byte count */
    const struct span range = {FLASH, 512 * KIB};
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->erase(&rig->session, &range, 1, &rig->err));
    assert_true(bytes_blank(rig->flash, 512 * KIB, 0xff));
    rig_free(rig);
}

static void erase_chip_blanks_everything(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f103xb", "stm32f407xx", "stm32g071xx"};
    for (size_t i = 0; i < 3; i++) {
        struct rig *rig = board(chips[i]);
        rig_assert_ok(rig, rig_connect(rig, NULL));
        rig_assert_ok(rig, rig->method->erase_chip(&rig->session, &rig->err));
        assert_true(bytes_blank(rig->flash, (size_t)rig->chip->regions[0].size, 0xff));
        rig_free(rig);
    }
}

static void read_any_address_and_length(void **state)
{
    (void)state;
    static const struct span spans[] = {{0, 1}, {1, 1}, {255, 2}, {0x3f9, 700}, {3, 4000}};
    uint8_t bytes[4000];
    struct rig *rig = board("stm32f103xb");
    rig_assert_ok(rig, rig_connect(rig, NULL));
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
        size_t length = (size_t)spans[i].size;
        rig_assert_ok(rig, rig->method->read(&rig->session, MEM_FLASH, FLASH + spans[i].start,
                                             bytes, length, &rig->err));
        assert_memory_equal(bytes, rig->flash + spans[i].start, length);
    }
    rig_free(rig);
}

static void stop_leaves_the_vectors_blank(void **state)
{
    (void)state;
    struct rig *rig = board("stm32f103xb");
    rig_image(rig, MEM_FLASH, FLASH, 8 * KIB);
    rig->stop_at = 4 * KIB;
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_INTERRUPTED);
    assert_true(bytes_blank(rig->flash, MAIN_PAGE, 0xff));
    assert_memory_equal(rig->flash + MAIN_PAGE, rig->image.segments[0].data + MAIN_PAGE, 2 * KIB);
    rig_free(rig);
}

static void blank_blocks_are_not_sent(void **state)
{
    (void)state;
    static uint8_t bytes[16 * KIB];
    struct rig *rig = board("stm32f103xb");
    memset(bytes, 0xff, sizeof bytes);
    memset(bytes, 0x11, 300);
    rig_image_bytes(rig, MEM_FLASH, FLASH, bytes, sizeof bytes);
    assert_run(rig);
    assert_true(rig->writing < 100 * MILLISECOND); /* two blocks */
    assert_int_equal(rig->advanced, 2 * 16 * KIB);
    rig_free(rig);
}

static void a_write_that_was_acknowledged_but_not_done_fails_verify(void **state)
{
    (void)state;
    const struct vconfig options = {.chip = NULL};
    struct rig *rig = board_as("stm32f103xb", &options);
    rig->config.flash.stuck = 0x123;
    rig_remake(rig);
    uint8_t zeros[KIB] = {0};
    rig_image_bytes(rig, MEM_FLASH, FLASH, zeros, sizeof zeros);
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_VERIFY);
    assert_non_null(strstr(rig->err.message, "0x08000123"));
    assert_non_null(strstr(rig->err.hint, "mflash unlock"));
    rig_free(rig);
}

/* ---- who it is ---- */

static void info_tells_loader_product_and_size(void **state)
{
    (void)state;
    struct device_info info = {.count = 0};
    struct rig *rig = board("stm32f103xb");
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->info(&rig->session, &info, &rig->err));
    assert_string_equal(info.lines[0].text, "ST ROM, protocol 2.2");
    assert_string_equal(info.lines[1].text, "0x410 (STM32F10x medium-density)");
    assert_string_equal(info.lines[2].text, "128 KiB");
    assert_string_equal(info.lines[info.count - 1].name, "unique id");
    rig_free(rig);
}

static void another_chip_is_refused_by_name_unless_forced(void **state)
{
    (void)state;
    const struct vconfig options = {.faults = {.wrong_id = true}};
    struct rig *rig = board_as("stm32f103xb", &options);
    assert_int_equal(rig_connect(rig, NULL), ERR_REFUSED);
    assert_string_equal(rig->err.check, "signature");
    assert_non_null(strstr(rig->err.message, "stm32f103xb (0x410)"));
    rig_close(rig);
    rig->session.force_signature = true;
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_non_null(strstr(rig->notes, "forced"));
    rig_free(rig);
}

static void an_unproven_family_is_not_touched_unless_forced(void **state)
{
    (void)state;
    struct rig *rig = board("stm32f103xb");
    static uint8_t before[KIB];
    struct stm32_part part = *rig->chip->stm32;
    struct chip chip = *rig->chip;
    const struct span range = {FLASH, KIB};
    part.proven = false;
    chip.stm32 = &part;
    memcpy(before, rig->flash, sizeof before);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig->session.chip = &chip;
    assert_int_equal(rig->method->erase(&rig->session, &range, 1, &rig->err), ERR_REFUSED);
    assert_string_equal(rig->err.check, "unproven-chip");
    assert_int_equal(rig->method->unlock(&rig->session, &rig->err), ERR_REFUSED);
    assert_memory_equal(rig->flash, before, sizeof before);
    rig->session.force_unproven = true;
    rig_assert_ok(rig, rig->method->erase(&rig->session, &range, 1, &rig->err));
    assert_true(bytes_blank(rig->flash, KIB, 0xff));
    rig_free(rig);
}

/* ---- protection ---- */

static void a_protected_chip_says_how_to_unlock_and_stays_as_it_is(void **state)
{
    (void)state;
    const struct vconfig options = {.faults = {.locked = true}};
    struct rig *rig = board_as("stm32f103xb", &options);
    static uint8_t before[128 * KIB];
    uint8_t byte;
    memcpy(before, rig->flash, sizeof before);
    rig_image(rig, MEM_FLASH, FLASH, KIB);
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_PROTECTED);
    assert_non_null(strstr(rig->err.hint, "mflash unlock"));
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_int_equal(rig->method->read(&rig->session, MEM_FLASH, FLASH, &byte, 1, &rig->err),
                     ERR_PROTECTED);
    assert_memory_equal(rig->flash, before, sizeof before);
    rig_free(rig);
}

static void unlock_erases_and_the_same_session_can_write(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f103xb", "stm32f407xx", "stm32g071xx"};
    for (size_t i = 0; i < 3; i++) {
        const struct vconfig options = {.faults = {.locked = true}};
        struct rig *rig = board_as(chips[i], &options);
        rig_image(rig, MEM_FLASH, FLASH, 2 * KIB);
        rig_assert_ok(rig, rig_connect(rig, NULL));
        rig_assert_ok(rig, rig->method->unlock(&rig->session, &rig->err));
        assert_true(bytes_blank(rig->flash, (size_t)rig->chip->regions[0].size, 0xff));
        const struct job job = rig_job(rig, MEM_FLASH);
        rig_assert_ok(rig, rig->method->write(&rig->session, &job, &rig->err));
        assert_true(rig_holds_image(rig));
        rig_free(rig);
    }
}

static void unlock_of_an_open_chip_erases_nothing(void **state)
{
    (void)state;
    static uint8_t before[128 * KIB];
    struct rig *rig = board("stm32f103xb");
    memcpy(before, rig->flash, sizeof before);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->unlock(&rig->session, &rig->err));
    assert_memory_equal(rig->flash, before, sizeof before);
    rig_free(rig);
}

static const struct fuse *fuse_named(const struct fuse *fuses, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(fuses[i].name, name) == 0)
            return &fuses[i];
    fail_msg("no option byte %s", name);
    return NULL;
}

static uint32_t option_value(struct rig *rig, const char *name)
{
    struct fuse fuses[FUSES_MAX];
    size_t count = 0;
    rig_assert_ok(rig, rig->method->fuses(&rig->session, fuses, &count, &rig->err));
    return fuse_named(fuses, count, name)->value;
}

static void options_are_set_with_their_complements_and_read_back(void **state)
{
    (void)state;
    static const struct {
        const char *chip, *name;
        uint32_t value;
    } options[] = {{"stm32f103xb", "data0", 0x5a},
                   {"stm32f072xb", "data1", 0x12},
                   {"stm32f103xb", "wrp0", 0xfe},
                   {"stm32f407xx", "nwrp", 0x0ffe},
                   {"stm32g071xx", "wrp1a", 0x00010000}};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        struct rig *rig = board(options[i].chip);
        rig_assert_ok(rig, rig_connect(rig, NULL));
        uint32_t user = option_value(rig, "user");
        rig_assert_ok(rig, rig->method->set_fuse(&rig->session, options[i].name, options[i].value,
                                                 &rig->err));
        assert_int_equal(option_value(rig, options[i].name), options[i].value);
        assert_int_equal(option_value(rig, "user"), user);
        rig_free(rig);
    }
}

static void write_protection_shows_as_a_difference_and_unlock_removes_it(void **state)
{
    (void)state;
    struct rig *rig = board("stm32f103xb");
    rig_image(rig, MEM_FLASH, FLASH, KIB);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->set_fuse(&rig->session, "wrp0", 0xfe, &rig->err));
    rig_close(rig);
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_VERIFY);
    rig_close(rig);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->unlock(&rig->session, &rig->err));
    rig_close(rig);
    assert_run(rig);
    rig_free(rig);
}

static void rdp_is_set_and_removed_by_its_commands(void **state)
{
    (void)state;
    struct rig *rig = board("stm32f072xb");
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_int_equal(option_value(rig, "rdp"), 0xaa);
    rig_assert_ok(rig, rig->method->set_fuse(&rig->session, "rdp", 0xbb, &rig->err));
    assert_int_not_equal(option_value(rig, "rdp"), 0xaa);
    rig_assert_ok(rig, rig->method->set_fuse(&rig->session, "RDP", 0xaa, &rig->err));
    assert_int_equal(option_value(rig, "rdp"), 0xaa);
    assert_true(bytes_blank(rig->flash, 128 * KIB, 0xff));
    rig_free(rig);
}

static void options_that_do_not_exist_or_lock_for_ever_are_refused(void **state)
{
    (void)state;
    struct rig *rig = board("stm32f103xb");
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_int_equal(rig->method->set_fuse(&rig->session, "lfuse", 1, &rig->err), ERR_USAGE);
    assert_non_null(strstr(rig->err.hint, "wrp3"));
    assert_int_equal(rig->method->set_fuse(&rig->session, "data0", 0x100, &rig->err), ERR_USAGE);
    assert_non_null(rig->method->fuse_danger(chip_find("stm32f072xb"), "rdp", 0xcc));
    assert_null(rig->method->fuse_danger(chip_find("stm32f072xb"), "rdp", 0xbb));
    assert_null(rig->method->fuse_danger(chip_find("stm32f103xb"), "rdp", 0xcc));
    rig_free(rig);
}

/* ---- connecting ---- */

static void connect_meets_a_loader_that_is_in_use_already(void **state)
{
    (void)state;
    const struct vconfig options = {.variant = "manual"};
    struct rig *rig = board_as("stm32f103xb", &options);
    rig->loader.enter = "ask";
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_close(rig);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_true(rig->connecting < SECOND);
    rig_free(rig);
}

static void connect_ends_an_address_that_an_earlier_host_left_open(void **state)
{
    (void)state;
    static const uint8_t half[] = {0x11, 0xee, 0x08, 0x00};
    const struct vconfig options = {.variant = "manual"};
    struct rig *rig = board_as("stm32f103xb", &options);
    rig->loader.enter = "ask";
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, serial_write(rig->serial, half, sizeof half, &rig->err));
    (void)serial_drain(rig->serial, 10 * MILLISECOND, SECOND, &rig->err);
    rig_close(rig);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_free(rig);
}

static void connect_tells_silence(void **state)
{
    (void)state;
    const struct vconfig options = {.app = true, .variant = "manual"};
    struct rig *rig = board_as("stm32f103xb", &options);
    rig->loader.enter = "ask";
    assert_int_equal(rig_connect(rig, NULL), ERR_NO_ANSWER);
    assert_non_null(strstr(rig->err.message, "nothing at all came back"));
    assert_non_null(strstr(rig->err.message, "115200"));
    assert_non_null(strstr(rig->err.hint, "BOOT0"));
    assert_true(rig->connecting < 6 * SECOND);
    rig_free(rig);
}

static void a_sequence_moves_boot0_and_reset_and_gives_them_back(void **state)
{
    (void)state;
    const struct vconfig options = {.app = true, .variant = "rts-boot0"};
    struct rig *rig = board_as("stm32f103xb", &options);
    rig->loader.enter = NULL;
    rig->settings[0] = (struct setting){"sequence", "rts,-dtr,dtr:-rts,-dtr,dtr"};
    rig->loader.setting_count = 1;
    const uint8_t init = 0x7f;
    uint8_t answer;
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->run(&rig->session, &rig->err));
    assert_false(rig->serial->rts);
    /* The application has the line: nobody answers the loader's first byte any more. */
    rig_assert_ok(rig, serial_write(rig->serial, &init, 1, &rig->err));
    uint64_t deadline = clock_in(rig->serial->clock, SECOND);
    assert_int_equal(serial_read_some(rig->serial, &answer, 1, deadline, &rig->err), 0);
    rig_free(rig);
}

static void a_rate_the_chip_cannot_measure_is_followed_by_a_lower_one(void **state)
{
    (void)state;
    const struct vconfig options = {.variant = "115200"};
    struct rig *rig = board_as("stm32f103xb", &options);
    rig->loader.bauds[0] = 230400;
    rig->loader.bauds[1] = 115200;
    rig->loader.baud_count = 2;
    rig_image(rig, MEM_FLASH, FLASH, KIB);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_int_equal(rig->serial->settings.baud, 115200);
    assert_true(rig->connecting < 4 * SECOND);
    rig_free(rig);
}

/* ---- faults and time ---- */

static void every_fault_ends_in_time_and_is_repaired(void **state)
{
    (void)state;
    static const char *const chips[] = {"stm32f103xb", "stm32f407xx", "stm32g071xx"};
    for (size_t i = 0; i < 3; i++) {
        struct rig *rig = board(chips[i]);
        rig_image(rig, MEM_FLASH, FLASH, 900);
        assert_true(rig_every_fault(rig, 12 * SECOND) > 5 * 30);
        rig_free(rig);
    }
}

static void one_refusal_at_any_message_does_no_harm(void **state)
{
    (void)state;
    struct rig *rig = board("stm32f103xb");
    rig_image(rig, MEM_FLASH, FLASH, 900);
    assert_run(rig);
    unsigned messages = rig->messages;
    for (unsigned n = 1; n < messages; n++) {
        rig->config.faults.nak = n;
        rig_remake(rig);
        rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
        assert_true(rig_holds_image(rig));
    }
    rig_free(rig);
}

/* Sheet: 11 bit times a byte; F1 needs 52..70 µs a half-word (RM0008), 7 ms a block. A block is 266
 * bytes and 3 answers to write, 9 bytes, 3 answers and 256 bytes to read. */
static void speed_is_that_of_wire_and_flash(void **state)
{
    (void)state;
    enum { BLOCKS = 128, WRITE_BYTES = 2 + 5 + 258 + 3, READ_BYTES = 2 + 5 + 2 + 3 + 256 };
    const double byte = 11.0 * SECOND / 115200;
    struct rig *rig = board("stm32f103xb");
    rig_image(rig, MEM_FLASH, FLASH, (size_t)BLOCKS * MAIN_PAGE);
    assert_run(rig);
    double write = BLOCKS * (WRITE_BYTES * byte + 128 * 52);
    double read = BLOCKS * READ_BYTES * byte;
    print_message("32 KiB at 115200: written in %.2f, read in %.2f of wire and flash time\n",
                  (double)rig->writing / write, (double)rig->verifying / read);
    assert_true((double)rig->writing < 1.1 * write);
    assert_true((double)rig->verifying < 1.1 * read);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpio_lines_bring_the_chip_in_and_start_its_application),
        cmocka_unit_test(write_and_verify_on_each_family),
        cmocka_unit_test(write_behind_a_bootloader_leaves_it_alone),
        cmocka_unit_test(erase_takes_only_the_pages_asked_for),
        cmocka_unit_test(erase_of_large_sectors_is_by_their_numbers),
        cmocka_unit_test(a_whole_bank_is_erased_by_one_command_where_there_are_two),
        cmocka_unit_test(verify_asks_for_a_checksum_where_the_loader_lists_it),
        cmocka_unit_test(a_checksum_that_differs_is_followed_by_the_place),
        cmocka_unit_test(a_checksum_of_another_kind_is_left_for_reading),
        cmocka_unit_test(the_checksum_tells_which_pages_are_there),
        cmocka_unit_test(erase_of_every_page_goes_in_lists_that_cannot_mean_all),
        cmocka_unit_test(erase_chip_blanks_everything),
        cmocka_unit_test(read_any_address_and_length),
        cmocka_unit_test(stop_leaves_the_vectors_blank),
        cmocka_unit_test(blank_blocks_are_not_sent),
        cmocka_unit_test(a_write_that_was_acknowledged_but_not_done_fails_verify),
        cmocka_unit_test(info_tells_loader_product_and_size),
        cmocka_unit_test(another_chip_is_refused_by_name_unless_forced),
        cmocka_unit_test(an_unproven_family_is_not_touched_unless_forced),
        cmocka_unit_test(a_protected_chip_says_how_to_unlock_and_stays_as_it_is),
        cmocka_unit_test(unlock_erases_and_the_same_session_can_write),
        cmocka_unit_test(unlock_of_an_open_chip_erases_nothing),
        cmocka_unit_test(options_are_set_with_their_complements_and_read_back),
        cmocka_unit_test(write_protection_shows_as_a_difference_and_unlock_removes_it),
        cmocka_unit_test(rdp_is_set_and_removed_by_its_commands),
        cmocka_unit_test(options_that_do_not_exist_or_lock_for_ever_are_refused),
        cmocka_unit_test(connect_meets_a_loader_that_is_in_use_already),
        cmocka_unit_test(connect_ends_an_address_that_an_earlier_host_left_open),
        cmocka_unit_test(connect_tells_silence),
        cmocka_unit_test(a_sequence_moves_boot0_and_reset_and_gives_them_back),
        cmocka_unit_test(a_rate_the_chip_cannot_measure_is_followed_by_a_lower_one),
        cmocka_unit_test(every_fault_ends_in_time_and_is_repaired),
        cmocka_unit_test(one_refusal_at_any_message_does_no_harm),
        cmocka_unit_test(speed_is_that_of_wire_and_flash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
