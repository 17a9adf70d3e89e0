/* The models of SAM3X and SAM4E against their sheet: the ROM monitor, the EEFC, applets, the UART.
 */
#include "sam_bench.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

enum {
    MR0 = 0x400e0a00,
    FCR0 = 0x400e0a04,
    FSR0 = 0x400e0a08,
    FRR0 = 0x400e0a0c,
    FCR1 = 0x400e0c04
};
enum { FLASH3 = 0x80000, FLASH4 = 0x400000, RAM = 0x20001000, STACK = 0x20008000 };

/* wcopy: src +8, dst +C, words +10, code at +14 */
static const uint8_t wcopy[] = {0x7b, 0x46, 0x18, 0x3b, 0x98, 0x68, 0xd9, 0x68,
                                0x1a, 0x69, 0x03, 0x68, 0x0b, 0x60, 0x04, 0x30,
                                0x04, 0x31, 0x01, 0x3a, 0xf9, 0xd1, 0x70, 0x47};
/* crc: address +8, length +C, value +10, code at +14 */
static const uint8_t crc[] = {
    0x7b, 0x46, 0x18, 0x3b, 0x70, 0xb5, 0x98, 0x68, 0xd9, 0x68, 0x1a, 0x69, 0x09, 0x4e,
    0x00, 0x29, 0x0a, 0xd0, 0x04, 0x78, 0x01, 0x30, 0x01, 0x39, 0x62, 0x40, 0x08, 0x25,
    0x52, 0x08, 0x00, 0xd3, 0x72, 0x40, 0x01, 0x3d, 0xfa, 0xd1, 0xf2, 0xe7, 0x1a, 0x61,
    0xd9, 0x60, 0x70, 0xbc, 0x08, 0xbc, 0x18, 0x47, 0xc0, 0x46, 0x20, 0x83, 0xb8, 0xed};

static void flash_command(struct sam_bench *bench, uint32_t command, uint32_t argument)
{
    sam_put(bench, FCR0, 0x5a000000 | argument << 8 | command);
}

/* Waits until the command is over; the errors of all looks together. */
static uint32_t flash_status(struct sam_bench *bench)
{
    uint32_t all = 0, status;
    do
        all |= status = sam_word(bench, FSR0);
    while (!(status & 1));
    return all & ~1u;
}

static uint32_t flash_do(struct sam_bench *bench, uint32_t command, uint32_t argument)
{
    flash_command(bench, command, argument);
    return flash_status(bench);
}

static void fill_latch(struct sam_bench *bench, uint32_t address, uint32_t bytes, uint32_t value)
{
    sam_put(bench, MR0, 0x600);
    for (uint32_t at = 0; at < bytes; at += 4)
        sam_put(bench, address + at, value);
}

/* ---- the monitor ---- */

static void sam3x_is_identified_as_on_a_due(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    sam_say(bench, "N#");
    sam_hears_text(bench, "\n\r");
    sam_say(bench, "V#");
    sam_hears_text(bench, "v1.1 Dec 15 2010 19:25:04\n\r");
    assert_int_equal(sam_word(bench, 0), 0x20001000);
    assert_int_equal(sam_word(bench, 0xe000ed00), 0x412fc230);
    assert_int_equal(sam_word(bench, 0x400e0740), 0);
    assert_int_equal(sam_word(bench, 0x400e0940), 0x285e0a60);
    assert_int_equal(sam_word(bench, 0x400e0944), 0);
    sam_bench_free(bench);
}

static void sam4e_is_identified_by_its_rom_vector_and_exid(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam4e, NULL);
    assert_int_equal(sam_word(bench, 0), 0x20001000);
    assert_int_equal(sam_word(bench, 4), 0x00800145);
    assert_int_equal(sam_word(bench, 0xe000ed00), 0x410fc241);
    assert_int_equal(sam_word(bench, 0x400e0740), 0xa3cc0ce0);
    assert_int_equal(sam_word(bench, 0x400e0744), 0x00120208);
    sam_bench_free(bench);
}

static void digits_may_be_short_lower_case_and_split(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    sam_say(bench, "W2000");
    sam_say(bench, "2000,aBcD12");
    sam_say(bench, "34#");
    sam_send(bench,
             "w\xff"
             "20002000,#",
             12);
    sam_hears(bench, "\x34\x12\xcd\xab", 4);
    sam_say(bench, "w0,#");
    sam_hears(bench, "\x00\x10\x00\x20", 4);
    sam_bench_free(bench);
}

static void unknown_letters_and_lone_sharps_are_silent(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    sam_say(bench, "#?#X80000#Z0,4#");
    sam_hears_nothing(bench);
    sam_bench_free(bench);
}

static void terminal_mode_answers_in_text(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    sam_say(bench, "T#");
    sam_hears_text(bench, "\n\r>");
    sam_say(bench, "w0,4#");
    sam_hears_text(bench, "\n\r0x20001000\n\r>");
    sam_say(bench, "H20002000,1234#");
    sam_hears_text(bench, "\n\r>");
    sam_say(bench, "o20002000,#");
    sam_hears_text(bench, "\n\r0x34\n\r>");
    sam_say(bench, "T#");
    sam_hears_text(bench, "\n\r\n\r>");
    sam_say(bench, "N#");
    sam_hears_text(bench, "\n\r");
    sam_bench_free(bench);
}

static void a_wild_address_kills_until_reset(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    sam_say(bench, "w41002018,4#");
    sam_is_dead(bench);
    sam_put(bench, 0x20000ffc, 0); /* the monitor's own RAM */
    sam_is_dead(bench);
    sam_bench_free(bench);
    bench = sam_bench(&vmodel_sam4e, NULL);
    sam_say(bench, "w400E0940,4#"); /* CHIPID is elsewhere */
    sam_is_dead(bench);
    sam_bench_free(bench);
}

static void rom_wants_s_and_g_alone_in_their_packets(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    sam_say(bench, "S20002000,4#abcd");
    sam_is_dead(bench);
    sam_block(bench, 0x20002000, "abcd", 4);
    assert_int_equal(sam_word(bench, 0x20002000), 0x64636261);
    sam_block(bench, 0x20002000, "efghw0,4#", 4);
    sam_word(bench, 0x20002000);
    sam_say(bench, "S20002000,4#");
    sam_say(bench, "efghw0,4#");
    sam_is_dead(bench);
    sam_bench_free(bench);
}

static void rom_never_completes_a_read_of_whole_packets(void **state)
{
    (void)state;
    static const uint8_t zeros[63];
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    sam_say(bench, "R00080000,0000003F#");
    sam_hears(bench, zeros, 63); /* flash, which R shows as zeros */
    assert_int_equal(sam_word(bench, FLASH3), 0xffffffff);
    sam_say(bench, "R20002000,00000040#");
    sam_is_dead(bench);
    sam_bench_free(bench);
}

static void sam4e_reads_flash_by_blocks(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench_new(&vmodel_sam4e, NULL);
    memcpy(bench->flash + 16, "flash", 5);
    sam_bench_start(bench);
    sam_say(bench, "R400010,5#");
    sam_hears_text(bench, "flash");
    sam_bench_free(bench);
}

/* ---- EEFC ---- */

static void programming_only_clears_bits_and_takes_its_time(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    fill_latch(bench, FLASH3 + 0x300, 256, 0xf0f0f0f0);
    sam_word(bench, 0); /* all of it has arrived */
    uint64_t start = sam_bench_now(bench);
    assert_int_equal(flash_do(bench, 1, 3), 0);
    assert_in_range(sam_bench_now(bench) - start, 2 * MILLISECOND, 3 * MILLISECOND);
    assert_int_equal(sam_word(bench, FLASH3 + 0x3fc), 0xf0f0f0f0);
    assert_int_equal(bench->flash[0x2ff], 0xff);
    fill_latch(bench, FLASH3 + 0x300, 256, 0x3c3c3c3c);
    assert_int_equal(flash_do(bench, 1, 3), 0);
    assert_int_equal(bench->flash[0x300], 0x30);
    fill_latch(bench, FLASH3 + 0x300, 256, 0x3c3c3c3c);
    assert_int_equal(flash_do(bench, 3, 3), 0); /* EWP erases first */
    assert_int_equal(bench->flash[0x300], 0x3c);
    assert_int_equal(flash_do(bench, 1, 3), 0); /* the latch is FF again */
    assert_int_equal(bench->flash[0x300], 0x3c);
    sam_bench_free(bench);
}

static void latch_takes_words_in_order_with_six_wait_states(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    sam_put(bench, MR0, 0x600);
    assert_int_equal(flash_do(bench, 3, 0), 0); /* empties what power-up left in it */
    sam_put(bench, FLASH3 + 4, 0x11111111);     /* a gap */
    sam_put(bench, FLASH3 + 8, 0x22222222);
    assert_int_equal(flash_do(bench, 3, 0), 0);
    assert_int_not_equal(sam_word(bench, FLASH3 + 4), 0x11111111);
    assert_int_equal(sam_word(bench, FLASH3 + 8), 0x22222222);
    sam_block(bench, FLASH3, "0123", 4); /* bytes: the last one four times */
    assert_int_equal(flash_do(bench, 3, 0), 0);
    assert_int_equal(sam_word(bench, FLASH3), 0x33333333);
    sam_put(bench, MR0, 0);
    sam_put(bench, FLASH3, 0x11111111);
    assert_int_equal(flash_do(bench, 3, 0), 0);
    assert_int_not_equal(sam_word(bench, FLASH3), 0x11111111);
    sam_bench_free(bench);
}

static void power_up_leaves_garbage_in_the_latch(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    assert_int_equal(flash_do(bench, 1, 0), 0);
    assert_int_not_equal(sam_word(bench, FLASH3), 0xffffffff);
    sam_bench_free(bench);
}

static void wrong_commands_set_fcmde_until_it_is_read(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    sam_put(bench, FCR0, 0x5b000001); /* key */
    assert_int_equal(sam_word(bench, FSR0), 3);
    assert_int_equal(sam_word(bench, FSR0), 1);
    assert_int_equal(flash_do(bench, 1, 1024), 2); /* page of the other plane */
    assert_int_equal(flash_do(bench, 7, 1), 2);    /* EPA is unknown to a SAM3X */
    assert_int_equal(flash_do(bench, 0x42, 0), 2);
    assert_int_equal(flash_do(bench, 0x0b, 3), 2); /* no such GPNVM bit */
    flash_command(bench, 5, 0);
    sam_put(bench, FCR0, 0x5a000001); /* busy */
    assert_int_equal(flash_status(bench), 2);
    sam_bench_free(bench);
}

static void sam4e_erases_pages_by_the_rules_of_its_sectors(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench_new(&vmodel_sam4e, NULL);
    memset(bench->flash, 0, 0x80000);
    sam_bench_start(bench);
    assert_int_equal(flash_do(bench, 3, 32), 2);       /* EWP beyond 16 KiB */
    assert_int_equal(flash_do(bench, 7, 0x0c | 1), 2); /* misaligned */
    assert_int_equal(flash_do(bench, 7, 0x40), 2);     /* 4 pages outside the small sectors */
    assert_int_equal(flash_do(bench, 7, 0x03), 2);     /* 32 pages inside them */
    uint64_t start = sam_bench_now(bench);
    assert_int_equal(flash_do(bench, 7, 0x48 | 1), 0);
    assert_in_range(sam_bench_now(bench) - start, 20 * MILLISECOND, 21 * MILLISECOND);
    assert_int_equal(bench->flash[0x48 * 512 - 1], 0);
    assert_int_equal(bench->flash[0x48 * 512], 0xff);
    assert_int_equal(bench->flash[0x50 * 512 - 1], 0xff);
    assert_int_equal(bench->flash[0x50 * 512], 0);
    sam_bench_free(bench);
}

static void a_locked_region_is_not_written_and_stops_erase_all(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    assert_int_equal(flash_do(bench, 8, 70), 0); /* region 1: pages 64 to 127 */
    assert_int_equal(flash_do(bench, 0x0a, 0), 0);
    assert_int_equal(sam_word(bench, FRR0), 2);
    assert_int_equal(sam_word(bench, FRR0), 0);
    assert_int_equal(flash_do(bench, 3, 127), 4);
    assert_int_equal(flash_do(bench, 5, 0), 4);
    assert_int_equal(flash_do(bench, 9, 64), 0);
    assert_int_equal(flash_do(bench, 5, 0), 0);
    sam_bench_free(bench);
}

static void planes_work_at_the_same_time(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench_new(&vmodel_sam3x, NULL);
    memset(bench->flash, 0, 0x80000);
    sam_bench_start(bench);
    uint64_t start = sam_bench_now(bench);
    flash_command(bench, 5, 0);
    sam_put(bench, FCR1, 0x5a000005);
    assert_int_equal(sam_word(bench, 0xc0000), 0xffffffff); /* waits for its plane */
    assert_int_equal(sam_word(bench, FLASH3), 0xffffffff);
    assert_in_range(sam_bench_now(bench) - start, 50 * MILLISECOND, 52 * MILLISECOND);
    sam_bench_free(bench);
}

static void flash_descriptor_tells_the_geometry(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam4e, NULL);
    assert_int_equal(flash_do(bench, 0, 0), 0);
    sam_word(bench, FRR0); /* id */
    assert_int_equal(sam_word(bench, FRR0), 0x80000);
    assert_int_equal(sam_word(bench, FRR0), 512);
    assert_int_equal(sam_word(bench, FRR0), 1);
    assert_int_equal(sam_word(bench, FRR0), 0x80000);
    sam_bench_free(bench);
}

/* ---- boot bit and reset ---- */

static void reset_while_the_boot_bit_is_written_loses_it(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    flash_command(bench, 0x0b, 1);
    sam_put(bench, 0x400e1a00, 0xa500000d);
    serial_drain(bench->serial, MILLISECOND, SECOND, NULL);
    sam_reopen(bench);
    assert_int_equal(flash_do(bench, 0x0d, 0), 0);
    assert_int_equal(sam_word(bench, FRR0), 0);
    sam_bench_free(bench);
}

static void reset_needs_its_key(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    sam_put(bench, 0x400e1a00, 0xa400000d);
    sam_put(bench, 0xe000ed0c, 0x05fb0004);
    assert_int_equal(sam_word(bench, 0), 0x20001000);
    sam_bench_free(bench);
}

static void boot_bit_starts_the_application_and_a_touch_leads_back(void **state)
{
    (void)state;
    struct error err = {0};
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    assert_int_equal(flash_do(bench, 0x0b, 1), 0);
    assert_int_equal(flash_do(bench, 0x0d, 0), 0);
    assert_int_equal(sam_word(bench, FRR0), 2);
    uint64_t start = sam_bench_now(bench);
    sam_put(bench, 0x400e1a00, 0xa500000d);
    serial_drain(bench->serial, MILLISECOND, SECOND, NULL);
    sam_reopen(bench);
    assert_true(sam_bench_now(bench) - start >= 300 * MILLISECOND);
    sam_say(bench, "V#");
    sam_hears_nothing(bench);
    assert_int_equal(serial_set_baud(bench->serial, 1200, &err), OK);
    assert_int_equal(serial_set_lines(bench->serial, false, true, &err), OK);
    serial_close(bench->serial);
    virtual_elapse(bench->device, 300 * MILLISECOND);
    bench->serial = virtual_serial(bench->device, NULL);
    assert_int_equal(sam_word(bench, 0), 0x20001000);
    sam_bench_free(bench);
}

/* ---- applets ---- */

static void copy_applet_fills_the_latch(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    uint8_t page[256], parameters[12 + sizeof wcopy];
    for (size_t i = 0; i < sizeof page; i++)
        page[i] = (uint8_t)(i * 7);
    put_le32(parameters, 0x20002000);
    put_le32(parameters + 4, FLASH3);
    put_le32(parameters + 8, 64);
    memcpy(parameters + 12, wcopy, sizeof wcopy);
    sam_put(bench, MR0, 0x600);
    sam_block(bench, 0x20002000, page, sizeof page);
    sam_block(bench, RAM + 8, parameters, sizeof parameters);
    sam_put(bench, RAM, STACK);
    sam_put(bench, RAM + 4, RAM + 0x15);
    sam_say(bench, "G%08X#", RAM);
    assert_int_equal(flash_do(bench, 1, 0), 0);
    assert_memory_equal(bench->flash, page, sizeof page);
    sam_bench_free(bench);
}

static void crc_applet_finds_the_check_value(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam4e, NULL);
    sam_block(bench, 0x20002000, "123456789", 9);
    for (int again = 0; again < 2; again++) {
        sam_block(bench, RAM + 0x14, crc, sizeof crc);
        sam_put(bench, RAM, STACK);
        sam_put(bench, RAM + 4, RAM + 0x15);
        sam_put(bench, RAM + 8, 0x20002000);
        sam_put(bench, RAM + 12, 9);
        sam_put(bench, RAM + 16, 0xffffffff);
        sam_say(bench, "G%08X#", RAM);
        assert_int_equal(sam_word(bench, RAM + 16), ~0xcbf43926u);
        sam_go(bench, RAM + 0x14 - 8, STACK, "\x70\x47", 2); /* other code in the same place */
        assert_int_equal(sam_word(bench, 0), 0x20001000);
    }
    sam_bench_free(bench);
}

static void bad_applets_kill_the_monitor(void **state)
{
    (void)state;
    static const struct {
        const char *code;
        size_t length;
    } bad[] = {
        {"\xfe\xe7", 2},                                  /* b . */
        {"\x00\x24\x70\x47", 4},                          /* movs r4,#0 */
        {"\x01\xb4\x70\x47", 4},                          /* push {r0} */
        {"\x01\x20\x40\x07\x00\x60\x70\x47", 8},          /* str to 20000000, the monitor's */
        {"\x00\x20\x00\x43\xc0\x43\x00\x68\x70\x47", 10}, /* load from FFFFFFFF */
        {"\x00\x20\x00\x47", 4},                          /* bx r0: to an even address */
    };
    struct sam_bench *bench = sam_bench(&vmodel_sam3x, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sam_go(bench, RAM, STACK, bad[i].code, bad[i].length);
        sam_is_dead(bench);
    }
    sam_put(bench, RAM, STACK);
    sam_put(bench, RAM + 4, RAM + 8); /* bit 0 must be 1 */
    sam_say(bench, "G%08X#", RAM);
    sam_is_dead(bench);
    sam_bench_free(bench);
}

/* ---- the UART ---- */

static struct sam_bench *uart(const char *variant)
{
    struct sam_bench *bench = sam_bench(&vmodel_sam3x_uart, variant);
    if (!variant)
        sam_hears_nothing(bench), sam_hears_nothing(bench), sam_hears_nothing(bench);
    sam_send(bench, "\x80\x80#", 3);
    sam_hears_text(bench, "\n\r>");
    sam_say(bench, "N#");
    sam_hears_text(bench, "\n\r");
    return bench;
}

static void crc_block(uint8_t block[133], uint8_t number, uint8_t value)
{
    uint16_t sum = 0;
    block[0] = 1;
    block[1] = number;
    block[2] = (uint8_t)~number;
    memset(block + 3, value, 128);
    for (size_t i = 0; i < 128; i++) {
        sum = (uint16_t)(sum ^ block[3 + i] << 8);
        for (int bit = 0; bit < 8; bit++)
            sum = (uint16_t)(sum & 0x8000 ? sum << 1 ^ 0x1021 : sum << 1);
    }
    put_be16(block + 131, sum);
}

static void xmodem_carries_s_and_r(void **state)
{
    (void)state;
    struct sam_bench *bench = uart("pins");
    uint8_t block[133];
    crc_block(block, 1, 0x42);
    sam_say(bench, "S20002000,4#");
    sam_hears_text(bench, "C");
    sam_send(bench, block, sizeof block);
    sam_hears_text(bench, "\x06");
    sam_send(bench, "\x04", 1);
    sam_hears_text(bench, "\x06");
    assert_int_equal(sam_word(bench, 0x2000207c), 0x42424242); /* the fill is stored too */
    sam_say(bench, "R20002000,80#");
    sam_hears_nothing(bench);
    sam_say(bench, "C");
    sam_hears(bench, block, sizeof block);
    sam_send(bench, "\x15", 1);
    sam_hears(bench, block, sizeof block);
    sam_send(bench, "\x06", 1);
    sam_hears_text(bench, "\x04");
    sam_send(bench, "\x06", 1);
    assert_int_equal(sam_word(bench, 0), 0x20001000);
    sam_bench_free(bench);
}

static void xmodem_cancels_a_bad_block(void **state)
{
    (void)state;
    struct sam_bench *bench = uart("pins");
    uint8_t block[133];
    crc_block(block, 1, 0x42);
    block[50] ^= 1;
    sam_say(bench, "S20002000,80#");
    sam_hears_text(bench, "C");
    sam_send(bench, block, sizeof block);
    sam_hears_text(bench, "\x18");
    assert_int_equal(sam_word(bench, 0x20002000), 0xa5a5a5a5);
    sam_bench_free(bench);
}

static void xmodem_gives_up_calling(void **state)
{
    (void)state;
    struct sam_bench *bench = uart("pins");
    sam_say(bench, "S20002000,80#");
    for (int i = 0; i < 100; i++)
        sam_hears_text(bench, "C");
    for (int i = 0; i < 3; i++) /* 100 ms each; it waits 250 for an answer to the last one */
        sam_hears_nothing(bench);
    assert_int_equal(sam_word(bench, 0), 0x20001000);
    sam_bench_free(bench);
}

static void programming_port_is_deaf_while_opening_resets_it(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench(&vmodel_sam3x_uart, NULL);
    sam_send(bench, "\x80\x80#", 3);
    sam_hears_nothing(bench);
    sam_bench_free(bench);
    sam_bench_free(uart(NULL));
}

static void programming_port_at_1200_baud_pulls_erase(void **state)
{
    (void)state;
    struct error err = {0};
    struct sam_bench *bench = sam_bench_new(&vmodel_sam3x_uart, NULL);
    memset(bench->flash, 0, 256);
    bench->config.app = true;
    sam_bench_start(bench);
    assert_int_equal(serial_set_baud(bench->serial, 1200, &err), OK);
    assert_int_equal(bench->flash[0], 0);
    assert_int_equal(serial_set_lines(bench->serial, false, true, &err), OK);
    serial_drain(bench->serial, SECOND, SECOND, NULL);
    assert_int_equal(bench->flash[0], 0xff);
    assert_int_equal(bench->options[0], 0xff);
    sam_bench_free(bench);
}

/* ---- faults ---- */

static void faults_show_where_they_should(void **state)
{
    (void)state;
    struct sam_bench *bench = sam_bench_new(&vmodel_sam3x, NULL);
    bench->config.faults = (struct vfaults){.wrong_id = true, .locked = true};
    memset(bench->flash, 0x11, 256);
    sam_bench_start(bench);
    assert_int_equal(sam_word(bench, 0x400e0940), 0x285b0960);
    assert_int_equal(sam_word(bench, FLASH3), 0); /* security bit: nothing is shown … */
    assert_int_equal(flash_do(bench, 5, 0), 4);   /* … and nothing changed */
    assert_int_equal(flash_do(bench, 0x0c, 0), 2);
    sam_bench_free(bench);
    bench = sam_bench_new(&vmodel_sam3x, NULL);
    bench->config.faults.nak = 1;
    bench->config.flash.stuck = FLASH3 + 5;
    sam_bench_start(bench);
    fill_latch(bench, FLASH3, 256, 0);
    assert_int_equal(flash_do(bench, 1, 0), 2);
    assert_int_equal(flash_do(bench, 1, 0), 0);
    assert_int_equal(sam_word(bench, FLASH3 + 4), 0x0000ff00);
    sam_bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sam3x_is_identified_as_on_a_due),
        cmocka_unit_test(sam4e_is_identified_by_its_rom_vector_and_exid),
        cmocka_unit_test(digits_may_be_short_lower_case_and_split),
        cmocka_unit_test(unknown_letters_and_lone_sharps_are_silent),
        cmocka_unit_test(terminal_mode_answers_in_text),
        cmocka_unit_test(a_wild_address_kills_until_reset),
        cmocka_unit_test(rom_wants_s_and_g_alone_in_their_packets),
        cmocka_unit_test(rom_never_completes_a_read_of_whole_packets),
        cmocka_unit_test(sam4e_reads_flash_by_blocks),
        cmocka_unit_test(programming_only_clears_bits_and_takes_its_time),
        cmocka_unit_test(latch_takes_words_in_order_with_six_wait_states),
        cmocka_unit_test(power_up_leaves_garbage_in_the_latch),
        cmocka_unit_test(wrong_commands_set_fcmde_until_it_is_read),
        cmocka_unit_test(sam4e_erases_pages_by_the_rules_of_its_sectors),
        cmocka_unit_test(a_locked_region_is_not_written_and_stops_erase_all),
        cmocka_unit_test(planes_work_at_the_same_time),
        cmocka_unit_test(flash_descriptor_tells_the_geometry),
        cmocka_unit_test(reset_while_the_boot_bit_is_written_loses_it),
        cmocka_unit_test(reset_needs_its_key),
        cmocka_unit_test(boot_bit_starts_the_application_and_a_touch_leads_back),
        cmocka_unit_test(copy_applet_fills_the_latch),
        cmocka_unit_test(crc_applet_finds_the_check_value),
        cmocka_unit_test(bad_applets_kill_the_monitor),
        cmocka_unit_test(xmodem_carries_s_and_r),
        cmocka_unit_test(xmodem_cancels_a_bad_block),
        cmocka_unit_test(xmodem_gives_up_calling),
        cmocka_unit_test(programming_port_is_deaf_while_opening_resets_it),
        cmocka_unit_test(programming_port_at_1200_baud_pulls_erase),
        cmocka_unit_test(faults_show_where_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
