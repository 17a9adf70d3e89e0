/* The virtual STM32's flash and option bytes against the reference manuals, seen through the ROM
 * loader: what each family's controller refuses (and the loader acknowledges all the same), what an
 * erase takes, how long it lasts, and protection. */
#include "stm32_bench.h"

#include <string.h>

#include "base/bytes.h"

enum { BASE = 0x08000000 };

static void assert_bytes(const struct stm32_bench *s, size_t at, const char *hex)
{
    uint8_t expected[BENCH_HEX_MAX];
    size_t count = bench_hex(hex, expected, sizeof expected);
    assert_memory_equal(s->flash + at, expected, count);
}

static void assert_all(const struct stm32_bench *s, size_t start, size_t end, uint8_t value)
{
    for (size_t i = start; i < end; i++)
        assert_int_equal(s->flash[i], value);
}

/* Acknowledged, whatever became of it. */
static void write_hex(struct stm32_bench *s, uint32_t offset, const char *hex)
{
    uint8_t data[256];
    size_t length = bench_hex(hex, data, sizeof data);
    stm32_write(s, BASE + offset, data, length, "79");
}

/* Back in the loader after a reset of its own. */
static void resync(struct stm32_bench *s)
{
    bench_wait(s->bench, 100 * MILLISECOND);
    stm32_sync(s);
}

/* ---- programming ---- */

static void f1_programs_erased_half_words_or_zero_only(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    write_hex(s, 0, "12 34 FF FF 56 78 9A BC");
    assert_bytes(s, 0, "12 34 FF FF 56 78 9A BC");
    write_hex(s, 0, "10 30 AA BB 00 00 9A 00");
    assert_bytes(s, 0, "12 34 AA BB 00 00 9A BC");
    stm32_free(s);
}

static void f0_has_the_rule_of_f1(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f072xb");
    write_hex(s, 0, "12 34 FF FF");
    write_hex(s, 0, "10 30 AA BB");
    assert_bytes(s, 0, "12 34 AA BB");
    stm32_free(s);
}

static void f4_clears_bits_only(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f407xx");
    write_hex(s, 0, "F0 3C FF 00");
    write_hex(s, 0, "3C 3C 55 FF");
    assert_bytes(s, 0, "30 3C 55 00");
    stm32_free(s);
}

static void g0_programs_erased_double_words_or_zero_only(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32g070xx");
    write_hex(s, 0, "01 02 03 04 FF FF FF FF 09 0A 0B 0C 0D 0E 0F 10");
    write_hex(s, 0, "FF FF FF FF 05 06 07 08 00 00 00 00 00 00 00 00");
    assert_bytes(s, 0, "01 02 03 04 FF FF FF FF 00 00 00 00 00 00 00 00");
    stm32_free(s);
}

static void g0_takes_no_half_double_words(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32g071xx");
    write_hex(s, 4, "01 02 03 04 05 06 07 08"); /* not on a double word */
    assert_all(s, 0, 16, 0xff);
    write_hex(s, 0, "01 02 03 04"); /* completed with FF … */
    assert_bytes(s, 0, "01 02 03 04 FF FF FF FF");
    write_hex(s, 0, "01 02 03 04 05 06 07 08"); /* … and closed by that */
    assert_bytes(s, 0, "01 02 03 04 FF FF FF FF");
    stm32_free(s);
}

static void h7_programs_a_flash_word_once(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32h743xx");
    uint8_t data[64] = {0};
    write_hex(s, 0, "01 02 03 04");
    stm32_write(s, BASE, data, 64, "79"); /* not even to zero */
    assert_bytes(s, 0, "01 02 03 04 FF");
    assert_all(s, 5, 32, 0xff);
    assert_all(s, 32, 64, 0x00);
    stm32_write(s, BASE + 0x1010, data, 32, "79");
    assert_all(s, 0x1000, 0x1040, 0xff);
    stm32_free(s);
}

static void programming_takes_the_data_sheets_time(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        uint64_t block; /* 256 bytes, microseconds */
    } rows[] = {
        {"stm32f103xb", 128 * 53}, {"stm32f103xe", 128 * 53}, {"stm32f072xb", 128 * 53},
        {"stm32f407xx", 256 * 16}, {"stm32g070xx", 32 * 85},  {"stm32h743xx", 8 * 100},
    };
    uint64_t ack = 11 * (uint64_t)SECOND / 115200;
    uint8_t data[256];
    bench_ramp(data, sizeof data);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stm32_bench *s = stm32_synced(rows[i].chip);
        uint64_t took = stm32_write(s, BASE + 0x400, data, 256, "79");
        assert_in_range(took, rows[i].block + ack, rows[i].block + ack + 60);
        assert_memory_equal(s->flash + 0x400, data, 256);
        stm32_free(s);
    }
}

/* ---- erase ---- */

static void pages_lie_where_the_part_has_them(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        uint16_t page;
        uint32_t start, end;
        uint32_t time_ms;
    } rows[] = {
        {"stm32f103xb", 5, 0x1400, 0x1800, 30},       {"stm32f103xb", 127, 0x1fc00, 0x20000, 30},
        {"stm32f103xe", 3, 0x1800, 0x2000, 30},       {"stm32f072xb", 63, 0x1f800, 0x20000, 30},
        {"stm32f407xx", 0, 0, 0x4000, 400},           {"stm32f407xx", 4, 0x10000, 0x20000, 1200},
        {"stm32f407xx", 11, 0xe0000, 0x100000, 2000}, {"stm32g070xx", 4, 0x2000, 0x2800, 22},
        {"stm32h743xx", 8, 0x100000, 0x120000, 1000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stm32_bench *s = stm32_synced(rows[i].chip);
        size_t size = s->bench->config.flash.size;
        memset(s->flash, 0, size);
        uint64_t took = stm32_erase_page(s, rows[i].page);
        assert_all(s, 0, rows[i].start, 0x00);
        assert_all(s, rows[i].start, rows[i].end, 0xff);
        assert_all(s, rows[i].end, size, 0x00);
        assert_in_range(took, rows[i].time_ms * MILLISECOND, rows[i].time_ms * MILLISECOND + 1000);
        stm32_free(s);
    }
}

static void assert_mass_erase(const char *chip, const char *command, const char *frame,
                              uint64_t time)
{
    struct stm32_bench *s = stm32_synced(chip);
    size_t size = s->bench->config.flash.size;
    memset(s->flash, 0, size);
    bench_exchange(s->bench, command, "79");
    bench_say(s->bench, frame);
    assert_in_range(stm32_waits_for_ack(s), time, time + 1000);
    assert_all(s, 0, size, 0xff);
    stm32_free(s);
}

static void mass_erase_erases_everything(void **state)
{
    (void)state;
    assert_mass_erase("stm32f103xb", "43 BC", "FF 00", 30 * MILLISECOND);
    assert_mass_erase("stm32f072xb", "44 BB", "FF FF 00", 30 * MILLISECOND);
    assert_mass_erase("stm32g071xx", "44 BB", "FF FF 00", 22 * MILLISECOND);
    /* STM32F407: 4 x 0.4 s, 1.2 s, 7 x 2 s. */
    assert_mass_erase("stm32f407xx", "44 BB", "FF FF 00", 16800 * MILLISECOND);
    assert_mass_erase("stm32h743xx", "44 BB", "FF FF 00", 16 * SECOND);
}

static void a_list_of_256_pages_is_a_mass_erase(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xe");
    size_t size = s->bench->config.flash.size;
    uint8_t list[257] = {0xff}; /* 0 to 255 */
    bench_ramp(list + 1, 256);
    memset(s->flash, 0, size);
    bench_exchange(s->bench, "43 BC", "79");
    stm32_say_summed(s, list, sizeof list);
    stm32_waits_for_ack(s);
    assert_all(s, 0, size, 0xff);
    stm32_free(s);
}

static void lists_take_each_page_its_time(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32g070xx");
    bench_exchange(s->bench, "44 BB", "79");
    stm32_say_summed(s, (uint8_t[]){0, 2, 0, 1, 0, 3, 0, 5}, 8);
    assert_in_range(stm32_waits_for_ack(s), 66 * MILLISECOND, 67 * MILLISECOND);
    stm32_free(s);
}

static void pages_outside_are_refused_and_nothing_is_erased(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    memset(s->flash, 0, 0x20000);
    bench_exchange(s->bench, "43 BC", "79");
    bench_exchange(s->bench, "01 00 80 81", "1F");
    bench_exchange(s->bench, "43 BC", "79");
    bench_exchange(s->bench, "FF 01", "1F");
    assert_all(s, 0, 0x400, 0x00);
    stm32_free(s);
    s = stm32_synced("stm32f407xx");
    memset(s->flash, 0, 0x4000);
    bench_exchange(s->bench, "44 BB", "79");
    bench_exchange(s->bench, "00 01 00 00 00 0C 0D", "1F");
    assert_all(s, 0, 0x4000, 0x00);
    stm32_free(s);
}

static void banks_are_erased_where_there_are_two(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32h743xx");
    memset(s->flash, 0, 0x200000);
    bench_exchange(s->bench, "44 BB", "79");
    bench_say(s->bench, "FF FD 02");
    assert_in_range(stm32_waits_for_ack(s), 8 * SECOND, 8 * SECOND + 1000);
    assert_all(s, 0, 0x100000, 0x00);
    assert_all(s, 0x100000, 0x200000, 0xff);
    bench_exchange(s->bench, "44 BB", "79");
    bench_say(s->bench, "FF FE 01");
    stm32_waits_for_ack(s);
    assert_all(s, 0, 0x100000, 0xff);
    stm32_free(s);
    s = stm32_synced("stm32f407xx");
    bench_exchange(s->bench, "44 BB", "79");
    bench_exchange(s->bench, "FF FE 01", "1F");
    stm32_free(s);
}

static void reserved_codes_and_overlong_lists_are_refused(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32g070xx");
    bench_exchange(s->bench, "44 BB", "79");
    bench_exchange(s->bench, "FF FC 03", "1F");
    bench_exchange(s->bench, "44 BB", "79");
    bench_exchange(s->bench, "FF FF 01", "1F"); /* its sum is 00 */
    bench_exchange(s->bench, "44 BB", "79");
    bench_exchange(s->bench, "02 00", "1F"); /* 513 pages */
    bench_exchange(s->bench, "02 FD", "79 01 04 60 79");
    stm32_free(s);
}

/* ---- read-out protection ---- */

static void assert_locked(struct stm32_bench *s)
{
    static const char *const refused[] = {"11 EE", "21 DE", "31 CE", "43 BC",
                                          "44 BB", "63 9C", "73 8C", "82 7D"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        bench_exchange(s->bench, refused[i], "1F");
    bench_exchange(s->bench, "01 FE", "79 31 00 00 79");
    bench_say(s->bench, "02 FD");
    stm32_waits_for_ack(s);
    bench_wait(s->bench, MILLISECOND);
    s->bench->serial->ops->drop_input(s->bench->serial);
}

static void readout_unprotect_wipes_and_opens(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_new("stm32g070xx", NULL);
    s->bench->config.faults.locked = true;
    memset(s->flash, 0x55, 0x20000);
    stm32_start(s);
    stm32_sync(s);
    assert_locked(s);
    assert_all(s, 0, 0x20000, 0x55);
    bench_exchange(s->bench, "92 6D", "79 79");
    resync(s);
    stm32_address(s, 0x11, BASE, "79");
    assert_all(s, 0, 0x20000, 0xff);
    assert_int_equal(s->options[0], 0xaa);
    stm32_free(s);
}

static void readout_protect_holds_over_power(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f407xx");
    bench_exchange(s->bench, "82 7D", "79");
    stm32_waits_for_ack(s);
    resync(s);
    assert_locked(s);
    virtual_reset(s->bench->device, VRESET_POWER);
    resync(s);
    assert_locked(s);
    bench_exchange(s->bench, "92 6D", "79 79");
    bench_say(s->bench, "7F"); /* too early: the flash is being erased */
    bench_hears_nothing(s->bench, 16 * SECOND);
    bench_wait(s->bench, SECOND);
    resync(s);
    stm32_address(s, 0x11, BASE, "79");
    stm32_free(s);
}

static void readout_unprotect_wipes_the_ram(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    uint8_t data[4] = {1, 2, 3, 4}, back[4];
    stm32_write(s, 0x20000200, data, 4, "79");
    bench_exchange(s->bench, "92 6D", "79 79");
    resync(s);
    stm32_read(s, 0x20000200, back, 4);
    assert_memory_not_equal(back, data, 4);
    stm32_free(s);
}

/* On F0 and F1 all option bytes are erased with it; elsewhere only the level changes. */
static void readout_unprotect_erases_write_protected_pages_too(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        uint8_t wrp; /* the byte of sectors 0 to 7 afterwards */
    } rows[] = {{"stm32f103xb", 0xff}, {"stm32f407xx", 0xfe}, {"stm32h743xx", 0xfe}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stm32_bench *s = stm32_synced(rows[i].chip);
        memset(s->flash, 0x55, 1024);
        bench_exchange(s->bench, "63 9C", "79");
        bench_say(s->bench, "00 00 00");
        stm32_waits_for_ack(s);
        resync(s);
        assert_int_equal(s->options[8], 0xfe);
        bench_exchange(s->bench, "92 6D", "79 79");
        bench_wait(s->bench, 20 * (uint64_t)SECOND);
        resync(s);
        assert_all(s, 0, 1024, 0xff);
        assert_int_equal(s->options[8], rows[i].wrp);
        stm32_free(s);
    }
}

static void level_2_closes_the_loader(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f072xb");
    uint8_t bytes[16];
    memcpy(bytes, s->options, 16);
    bytes[0] = 0xcc;
    stm32_write(s, 0x1ffff800, bytes, 16, "79");
    bench_wait(s->bench, 100 * MILLISECOND);
    bench_say(s->bench, "7F");
    bench_hears_nothing(s->bench, SECOND);
    stm32_free(s);
}

/* ---- write protection ---- */

static void protected_pages_stay_though_all_is_acknowledged(void **state)
{
    (void)state;
    static const struct {
        const char *chip;
        uint8_t sector;
        uint16_t page, open_page;
        uint32_t start, open_start;
    } rows[] = {
        {"stm32f103xb", 1, 7, 8, 0x1c00, 0x2000}, {"stm32f103xe", 31, 200, 61, 0x64000, 0x1e800},
        {"stm32f072xb", 1, 3, 4, 0x1800, 0x2000}, {"stm32f407xx", 4, 4, 5, 0x10000, 0x20000},
        {"stm32g070xx", 4, 4, 5, 0x2000, 0x2800}, {"stm32h743xx", 9, 9, 10, 0x120000, 0x140000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stm32_bench *s = stm32_synced(rows[i].chip);
        uint8_t data[32];
        memset(s->flash, 0x55, s->bench->config.flash.size);
        memset(s->flash + rows[i].start, 0xff, 32);
        memset(data, 0x11, sizeof data);
        bench_exchange(s->bench, "63 9C", "79");
        stm32_say_summed(s, (uint8_t[]){0, rows[i].sector}, 2);
        stm32_waits_for_ack(s);
        resync(s);
        stm32_write(s, BASE + rows[i].start, data, 32, "79");
        assert_all(s, rows[i].start, rows[i].start + 32, 0xff);
        stm32_erase_page(s, rows[i].page);
        assert_all(s, rows[i].start + 32, rows[i].start + 64, 0x55);
        stm32_erase_page(s, rows[i].open_page);
        assert_all(s, rows[i].open_start, rows[i].open_start + 64, 0xff);
        bench_exchange(s->bench, "73 8C", "79");
        stm32_waits_for_ack(s);
        resync(s);
        stm32_write(s, BASE + rows[i].start, data, 32, "79");
        assert_all(s, rows[i].start, rows[i].start + 32, 0x11);
        stm32_free(s);
    }
}

static void a_protected_page_holds_up_the_mass_erase(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f407xx");
    memset(s->flash, 0x55, 0x100000);
    bench_exchange(s->bench, "63 9C", "79");
    stm32_say_summed(s, (uint8_t[]){0, 0}, 2);
    stm32_waits_for_ack(s);
    resync(s);
    bench_exchange(s->bench, "44 BB", "79");
    bench_exchange(s->bench, "FF FF 00", "79");
    assert_all(s, 0, 0x100000, 0x55);
    stm32_free(s);
}

static void a_second_list_replaces_the_first(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    for (uint8_t sector = 0; sector < 2; sector++) {
        bench_exchange(s->bench, "63 9C", "79");
        stm32_say_summed(s, (uint8_t[]){0, sector}, 2);
        stm32_waits_for_ack(s);
        resync(s);
    }
    assert_int_equal(s->options[8], 0xfd);
    assert_int_equal(s->options[9], 0x02);
    bench_exchange(s->bench, "63 9C", "79");
    bench_exchange(s->bench, "00 20 20", "1F"); /* there are 32 */
    stm32_free(s);
}

/* ---- option bytes as memory ---- */

static void chips_from_the_factory_are_open(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    assert_memory_equal(s->options, "\xa5\x5a\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0", 16);
    stm32_free(s);
    s = stm32_synced("stm32f407xx");
    assert_int_equal(s->options[1], 0xaa);
    assert_int_equal(get_le16(s->options + 8), 0x0fff);
    stm32_free(s);
    s = stm32_synced("stm32g070xx");
    assert_int_equal(get_le32(s->options), 0xfffffeaa);
    assert_int_equal(get_le32(s->options + 4), 0x00000155);
    stm32_free(s);
}

static void writing_option_bytes_resets_and_makes_the_complements(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    uint8_t bytes[16] = {0xa5, 0, 0xff, 0, 0x12, 0, 0x34, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0};
    uint8_t back[16];
    stm32_write(s, 0x1ffff800, bytes, 16, "79");
    bench_say(s->bench, "11 EE"); /* it is on its way through reset */
    bench_hears_nothing(s->bench, 40 * MILLISECOND);
    resync(s);
    stm32_read(s, 0x1ffff800, back, 16);
    assert_memory_equal(back, "\xa5\x5a\xff\0\x12\xed\x34\xcb\xff\0\xff\0\xff\0\xff\0", 16);
    stm32_free(s);
}

static void option_bytes_left_out_are_erased_and_protect_an_f1(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_synced("stm32f103xb");
    uint8_t bytes[4] = {0x12, 0, 0x34, 0};
    stm32_write(s, 0x1ffff804, bytes, 4, "79");
    resync(s);
    assert_int_equal(s->options[0], 0xff);
    bench_exchange(s->bench, "11 EE", "1F");
    stm32_free(s);
}

static void option_bytes_are_kept_between_two_lives(void **state)
{
    (void)state;
    struct stm32_bench *s = stm32_new("stm32f103xb", NULL);
    memcpy(s->options, "\x00\xff\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0\xff\0", 16);
    stm32_start(s);
    stm32_sync(s);
    bench_exchange(s->bench, "11 EE", "1F");
    stm32_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f1_programs_erased_half_words_or_zero_only),
        cmocka_unit_test(f0_has_the_rule_of_f1),
        cmocka_unit_test(f4_clears_bits_only),
        cmocka_unit_test(g0_programs_erased_double_words_or_zero_only),
        cmocka_unit_test(g0_takes_no_half_double_words),
        cmocka_unit_test(h7_programs_a_flash_word_once),
        cmocka_unit_test(programming_takes_the_data_sheets_time),
        cmocka_unit_test(pages_lie_where_the_part_has_them),
        cmocka_unit_test(mass_erase_erases_everything),
        cmocka_unit_test(a_list_of_256_pages_is_a_mass_erase),
        cmocka_unit_test(lists_take_each_page_its_time),
        cmocka_unit_test(pages_outside_are_refused_and_nothing_is_erased),
        cmocka_unit_test(banks_are_erased_where_there_are_two),
        cmocka_unit_test(reserved_codes_and_overlong_lists_are_refused),
        cmocka_unit_test(readout_unprotect_wipes_and_opens),
        cmocka_unit_test(readout_protect_holds_over_power),
        cmocka_unit_test(readout_unprotect_wipes_the_ram),
        cmocka_unit_test(readout_unprotect_erases_write_protected_pages_too),
        cmocka_unit_test(level_2_closes_the_loader),
        cmocka_unit_test(protected_pages_stay_though_all_is_acknowledged),
        cmocka_unit_test(a_protected_page_holds_up_the_mass_erase),
        cmocka_unit_test(a_second_list_replaces_the_first),
        cmocka_unit_test(chips_from_the_factory_are_open),
        cmocka_unit_test(writing_option_bytes_resets_and_makes_the_complements),
        cmocka_unit_test(option_bytes_left_out_are_erased_and_protect_an_f1),
        cmocka_unit_test(option_bytes_are_kept_between_two_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
