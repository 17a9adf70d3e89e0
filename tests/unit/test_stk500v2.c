/*
 * stk500v2 against the strict models of the Mega 2560's and the Arduino M0's bootloaders on virtual
 * time. The Mega's erases by a counter of its own: a used chip shows every hole and repetition.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "avr/stk500v2_frame.h"
#include "method_rig.h"

extern const struct method method_stk500v2;
extern const struct vmodel vmodel_stk500boot, vmodel_m0;

/* Data sheets: ATmega2560 page erase and page write 4.5 ms each; SAM D21 NVM page of 64 bytes
 * 2.5 ms. */
enum { KIB = 1024, MEGA_END = 0x3e000, PAGE_FLASH_US = 9000, ROW_WRITE_US = 4 * 2500 };

static struct rig *mega(const char *build)
{
    const struct vconfig options = {.variant = build};
    struct rig *rig =
        rig_new(&vmodel_stk500boot, &method_stk500v2, "atmega2560", MEGA_END, &options);
    static const uint8_t fuses[4] = {0xff, 0xd8, 0xfd, 0xcf}; /* Arduino's, and lock 0F */
    memcpy(rig->fuses, fuses, sizeof fuses);
    return rig;
}

static struct rig *m0(void)
{
    static const struct setting erase_chip = {"erase", "chip"};
    struct rig *rig = rig_new(&vmodel_m0, &method_stk500v2, "samd21g18a", 0x40000, NULL);
    rig->settings[0] = erase_chip;
    rig->loader.setting_count = 1;
    rig->loader.start = 0x4000;
    return rig;
}

static void assert_run(struct rig *rig)
{
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
    assert_true(rig_holds_image(rig));
}

/* ---- the Mega 2560 ---- */

static void write_and_verify_a_used_mega(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    rig_image(rig, MEM_FLASH, 0, 5000);
    assert_run(rig);
    assert_int_equal(rig->advanced, 2 * 5000);
    assert_string_equal(rig->notes, "");
    rig_free(rig);
}

static void write_fills_holes_because_the_erase_counter_counts_them(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    rig_image(rig, MEM_FLASH, 0, 300);
    rig_image(rig, MEM_FLASH, 0x1000, 300);
    assert_run(rig);
    assert_true(bytes_blank(rig->flash + 0x200, 0x1000 - 0x200, 0xff));
    rig_free(rig);
}

static void write_from_above_zero_erases_what_is_below_and_says_so(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    rig_image(rig, MEM_FLASH, 0x800, 300);
    assert_run(rig);
    assert_true(bytes_blank(rig->flash, 0x800, 0xff));
    assert_non_null(strstr(rig->notes, "below 0x00800"));
    rig_free(rig);
}

static void write_leaves_pages_above_the_image_alone(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    uint8_t before[4 * KIB];
    memcpy(before, rig->flash + 0x400, sizeof before);
    rig_image(rig, MEM_FLASH, 0, 0x400);
    assert_run(rig);
    assert_memory_equal(rig->flash + 0x400, before, sizeof before);
    rig_free(rig);
}

static void write_can_be_done_twice_in_one_session(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    rig_image(rig, MEM_FLASH, 0, 2 * KIB);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    struct job job = rig_job(rig, MEM_FLASH);
    for (unsigned i = 0; i < 2; i++) {
        rig->image.segments[0].data[7] ^= 0xff;
        rig_assert_ok(rig, rig->method->write(&rig->session, &job, &rig->err));
        assert_true(rig_holds_image(rig));
    }
    rig_free(rig);
}

static void write_beyond_the_last_erased_page_says_so(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    memset(rig->flash + 0x3c000, 0xff, 0x2000);
    rig_image(rig, MEM_FLASH, 0, 0x3c100);
    assert_run(rig);
    assert_non_null(strstr(rig->notes, "0x3c000"));
    rig_free(rig);
}

static void stop_leaves_a_mega_that_waits_in_its_loader(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    rig_image(rig, MEM_FLASH, 0, 8 * KIB);
    rig->stop_at = 4 * KIB;
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_INTERRUPTED);
    assert_true(bytes_blank(rig->flash, 256, 0xff));
    rig->stop_at = 0;
    assert_run(rig);
    rig_free(rig);
}

static void stop_before_the_first_page_changes_nothing(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    static uint8_t before[MEGA_END];
    memcpy(before, rig->flash, sizeof before);
    rig_image(rig, MEM_FLASH, 0, 8 * KIB);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig->stop = 1;
    struct job job = rig_job(rig, MEM_FLASH);
    assert_int_equal(rig->method->write(&rig->session, &job, &rig->err), ERR_INTERRUPTED);
    assert_memory_equal(rig->flash, before, sizeof before);
    rig_free(rig);
}

static void a_lost_acknowledgement_starts_the_pass_again(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    const struct line_faults faults = {.drop = 20};
    rig_image(rig, MEM_FLASH, 0, 8 * KIB);
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, &faults));
    assert_true(rig_holds_image(rig));
    assert_non_null(strstr(rig->notes, "starting again"));
    assert_int_equal(rig->advanced, 2 * 8 * KIB);
    rig_free(rig);
}

static void silence_in_the_middle_names_the_page_it_began_at(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    const struct line_faults faults = {.stall = 20};
    rig_image(rig, MEM_FLASH, 0, 8 * KIB);
    assert_int_equal(rig_run(rig, MEM_FLASH, &faults), ERR_NO_ANSWER);
    assert_non_null(strstr(rig->err.message, "writing flash at 0x00"));
    assert_non_null(strstr(rig->err.message, "nothing at all came back"));
    assert_non_null(strstr(rig->err.hint, "run the same command again"));
    rig_free(rig);
}

static void eeprom_is_refused(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    uint8_t byte;
    rig_image(rig, MEM_EEPROM, 0, 16);
    assert_int_equal(rig_run(rig, MEM_EEPROM, NULL), ERR_NOT_POSSIBLE);
    assert_true(bytes_blank(rig->eeprom, sizeof rig->eeprom, 0xff));
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_int_equal(rig->method->read(&rig->session, MEM_EEPROM, 0, &byte, 1, &rig->err),
                     ERR_NOT_POSSIBLE);
    assert_non_null(method_refusal(rig->method, OP_EEPROM));
    rig_free(rig);
}

static void erase_of_a_range_begins_at_zero_or_is_refused(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    const struct span low = {0, 0x400}, high = {0x800, 0x400};
    uint8_t above[KIB];
    memcpy(above, rig->flash + 0x400, sizeof above);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_int_equal(rig->method->erase(&rig->session, &high, 1, &rig->err), ERR_NOT_POSSIBLE);
    rig_assert_ok(rig, rig->method->erase(&rig->session, &low, 1, &rig->err));
    assert_true(bytes_blank(rig->flash, 0x400, 0xff));
    assert_memory_equal(rig->flash + 0x400, above, sizeof above);
    rig_free(rig);
}

static void fuses_and_lock_are_shown(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    struct fuse fuses[FUSES_MAX];
    size_t count, seen = 0;
    static const struct {
        const char *name;
        uint32_t value;
    } expected[] = {{"lfuse", 0xff}, {"hfuse", 0xd8}, {"efuse", 0xfd}, {"lock", 0xcf}};
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->fuses(&rig->session, fuses, &count, &rig->err));
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < 4; k++)
            if (strcmp(fuses[i].name, expected[k].name) == 0 && ++seen)
                assert_int_equal(fuses[i].value, expected[k].value);
    assert_int_equal(count, 4);
    assert_int_equal(seen, 4);
    assert_non_null(method_refusal(rig->method, OP_SET_FUSES));
    rig_free(rig);
}

/* ---- the build of 2011 ---- */

static void monitor_calls_in_the_data_survive_the_build_of_2011(void **state)
{
    (void)state;
    struct rig *rig = mega("2011");
    static uint8_t data[4 * KIB];
    memset(data, 0x55, sizeof data);
    for (size_t n = 1; n < 12; n++) /* runs of every length */
        memset(data + 0x120 * n, '!', n);
    memset(data + 0xf00, '!', 256); /* a whole page, ending at its last byte */
    rig_image_bytes(rig, MEM_FLASH, 0, data, sizeof data);
    assert_run(rig);
    rig_free(rig);
}

/* Data that end in `!!`, under 256 seqs in a row: the checksum is `!` once. */
static void checksums_make_no_monitor_call(void **state)
{
    (void)state;
    struct rig *rig = mega("2011");
    static uint8_t data[64 * KIB];
    for (size_t page = 0; page < 256; page++) {
        memset(data + page * 256, 0x40, 256);
        memset(data + page * 256 + 254, '!', 2);
    }
    rig_image_bytes(rig, MEM_FLASH, 0, data, sizeof data);
    assert_run(rig);
    rig_free(rig);
}

static void every_fault_on_the_build_of_2011(void **state)
{
    (void)state;
    struct rig *rig = mega("2011");
    uint8_t data[600];
    memset(data, 0x11, sizeof data);
    memset(data + 250, '!', 12);
    rig_image_bytes(rig, MEM_FLASH, 0, data, sizeof data);
    assert_true(rig_every_fault(rig, 20 * SECOND) > 5 * 10);
    rig_free(rig);
}

/* ---- connecting ---- */

static void connect_says_what_the_loader_is(void **state)
{
    (void)state;
    struct device_info info = {.count = 0};
    struct rig *rig = mega(NULL);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, rig->method->info(&rig->session, &info, &rig->err));
    assert_string_equal(info.lines[0].text, "stk500boot (Mega 2560) 2.10");
    assert_string_equal(info.lines[1].text, "1e 98 01 (atmega2560)");
    assert_true(rig->connecting < 250 * MILLISECOND);
    rig_free(rig);
}

static void connect_refuses_another_chip(void **state)
{
    (void)state;
    const struct vconfig options = {.faults = {.wrong_id = true}};
    struct rig *rig =
        rig_new(&vmodel_stk500boot, &method_stk500v2, "atmega2560", MEGA_END, &options);
    assert_int_equal(rig_connect(rig, NULL), ERR_REFUSED);
    assert_string_equal(rig->err.check, "signature");
    rig_free(rig);
}

static void connect_tells_a_mega_from_an_m0(void **state)
{
    (void)state;
    struct rig *rig = m0();
    rig->loader.setting_count = 0; /* taken for a Mega */
    assert_int_equal(rig_connect(rig, NULL), ERR_PROTOCOL);
    assert_non_null(strstr(rig->err.message, "05"));
    assert_non_null(strstr(rig->err.message, "0a"));
    rig_free(rig);
    static const struct setting erase_chip = {"erase", "chip"};
    rig = mega(NULL);
    rig->settings[0] = erase_chip;
    rig->loader.setting_count = 1; /* taken for an M0 */
    assert_int_equal(rig_connect(rig, NULL), ERR_PROTOCOL);
    rig_free(rig);
}

static void connect_without_an_answer_is_bounded(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    virtual_elapse(rig->device, 3 * SECOND);
    rig->device->reset_on_dtr = false;
    assert_int_equal(rig_connect(rig, NULL), ERR_NO_ANSWER);
    assert_non_null(strstr(rig->err.message, "nothing at all came back"));
    assert_true(rig->connecting < 4 * SECOND);
    rig_free(rig);
}

/* ---- faults and time ---- */

static void every_fault_ends_in_time_and_is_repaired(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    rig_image(rig, MEM_FLASH, 0, 900);
    assert_true(rig_every_fault(rig, 20 * SECOND) > 5 * 10);
    rig_free(rig);
    rig = m0();
    rig_image(rig, MEM_FLASH, 0x4000, 900);
    assert_true(rig_every_fault(rig, 40 * SECOND) > 5 * 10);
    rig_free(rig);
}

/* Replies have checksums and requests can be repeated: no single reply matters but that to LEAVE.
 */
static void one_lost_or_damaged_reply_stops_no_run(void **state)
{
    (void)state;
    struct rig *rigs[] = {mega(NULL), mega("2011"), m0()};
    for (size_t i = 0; i < 3; i++) {
        struct rig *rig = rigs[i];
        rig_image(rig, MEM_FLASH, rig->loader.start, 900);
        rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
        unsigned messages = rig->messages;
        assert_true(messages > 15);
        for (unsigned n = 1; n < messages; n++) {
            const struct line_faults lost = {.drop = n}, damaged = {.corrupt = n};
            virtual_reset(rig->device, VRESET_PIN);
            rig_assert_ok(rig, rig_run(rig, MEM_FLASH, &lost));
            virtual_reset(rig->device, VRESET_PIN);
            rig_assert_ok(rig, rig_run(rig, MEM_FLASH, &damaged));
            assert_true(rig_holds_image(rig));
        }
        rig_free(rig);
    }
}

static void a_byte_that_will_not_program_fails_the_verify(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    rig_image(rig, MEM_FLASH, 0, 900);
    rig->config.flash.stuck = 0x123;
    rig_remake(rig);
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_VERIFY);
    assert_non_null(strstr(rig->err.message, "0x00000123"));
    rig_free(rig);
}

static void print_ratio(const char *what, uint64_t took, double limit)
{
    print_message("%-46s %6.2f s, limit %6.2f s, ratio %.3f\n", what, (double)took / SECOND, limit,
                  (double)took / SECOND / limit);
}

static void sixty_kib_are_within_a_tenth_of_wire_and_flash(void **state)
{
    (void)state;
    struct rig *rig = mega(NULL);
    rig_image(rig, MEM_FLASH, 0, 60 * KIB);
    assert_run(rig);
    double pages = 240, byte = 10.0 / 115200;
    double write = pages * ((272 + 8) * byte + PAGE_FLASH_US / 1e6);
    double read = pages * ((10 + 265) * byte);
    print_ratio("Mega 2560 60 KiB write", rig->writing, write);
    print_ratio("Mega 2560 60 KiB verify", rig->verifying, read);
    print_ratio("Mega 2560 60 KiB, the whole run", rig->whole, write + read);
    assert_true((double)rig->whole / SECOND < 1.1 * (write + read));
    rig_free(rig);
}

/* ---- the Arduino M0 ---- */

static void write_and_verify_an_m0(void **state)
{
    (void)state;
    struct rig *rig = m0();
    rig_image(rig, MEM_FLASH, 0x4000, 5000);
    rig_image(rig, MEM_FLASH, 0x8001, 301);
    assert_int_equal(rig->method->style(&rig->loader), ERASE_WHOLE);
    assert_run(rig);
    assert_true(bytes_blank(rig->flash + 0x6000, 0x1000, 0xff)); /* really erased */
    assert_string_equal(rig->notes, "");
    rig_free(rig);
}

static void write_of_an_unerased_m0_is_warned_about_and_found_wrong(void **state)
{
    (void)state;
    struct rig *rig = m0();
    rig_image(rig, MEM_FLASH, 0x4000, 5000);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    struct job job = rig_job(rig, MEM_FLASH);
    rig_assert_ok(rig, rig->method->write(&rig->session, &job, &rig->err));
    assert_int_equal(verify_by_reading(&rig->session, &job, &rig->err), ERR_VERIFY);
    assert_non_null(strstr(rig->notes, "not erased"));
    rig_free(rig);
}

static void a_row_of_the_m0_is_sent_again_after_silence(void **state)
{
    (void)state;
    struct rig *rig = m0();
    const struct line_faults faults = {.drop = 12};
    rig_image(rig, MEM_FLASH, 0x4000, 5000);
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, &faults));
    assert_true(rig_holds_image(rig));
    rig_free(rig);
}

static void the_m0_has_no_fuses(void **state)
{
    (void)state;
    struct rig *rig = m0();
    struct fuse fuses[FUSES_MAX];
    size_t count;
    rig_assert_ok(rig, rig_connect(rig, NULL));
    assert_int_equal(rig->method->fuses(&rig->session, fuses, &count, &rig->err), ERR_NOT_POSSIBLE);
    rig_free(rig);
}

static void rows_of_the_m0_are_within_a_tenth_of_their_programming_time(void **state)
{
    (void)state;
    struct rig *rig = m0();
    rig_image(rig, MEM_FLASH, 0x4000, 60 * KIB);
    assert_run(rig);
    double limit = 240.0 * ROW_WRITE_US / 1e6; /* USB takes none of it in the model */
    print_ratio("Arduino M0 60 KiB write", rig->writing, limit);
    assert_true((double)rig->writing / SECOND < 1.1 * limit);
    rig_free(rig);
}

/* ---- messages ---- */

static void messages_have_the_form_of_the_document(void **state)
{
    (void)state;
    static const uint8_t body[] = {CMD_READ_SIGNATURE_ISP, 0x04, 0x30, 0x00, 0x01, 0x00};
    static const uint8_t expected[] = {0x1b, 0x04, 0x00, 0x06, 0x0e, 0x1b,
                                       0x04, 0x30, 0x00, 0x01, 0x00, 0x39};
    uint8_t frame[STK500V2_FRAME_MAX];
    assert_int_equal(stk500v2_frame(frame, 4, body, sizeof body), sizeof expected);
    assert_memory_equal(frame, expected, sizeof expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_and_verify_a_used_mega),
        cmocka_unit_test(write_fills_holes_because_the_erase_counter_counts_them),
        cmocka_unit_test(write_from_above_zero_erases_what_is_below_and_says_so),
        cmocka_unit_test(write_leaves_pages_above_the_image_alone),
        cmocka_unit_test(write_can_be_done_twice_in_one_session),
        cmocka_unit_test(write_beyond_the_last_erased_page_says_so),
        cmocka_unit_test(stop_leaves_a_mega_that_waits_in_its_loader),
        cmocka_unit_test(stop_before_the_first_page_changes_nothing),
        cmocka_unit_test(a_lost_acknowledgement_starts_the_pass_again),
        cmocka_unit_test(silence_in_the_middle_names_the_page_it_began_at),
        cmocka_unit_test(eeprom_is_refused),
        cmocka_unit_test(erase_of_a_range_begins_at_zero_or_is_refused),
        cmocka_unit_test(fuses_and_lock_are_shown),
        cmocka_unit_test(monitor_calls_in_the_data_survive_the_build_of_2011),
        cmocka_unit_test(checksums_make_no_monitor_call),
        cmocka_unit_test(every_fault_on_the_build_of_2011),
        cmocka_unit_test(connect_says_what_the_loader_is),
        cmocka_unit_test(connect_refuses_another_chip),
        cmocka_unit_test(connect_tells_a_mega_from_an_m0),
        cmocka_unit_test(connect_without_an_answer_is_bounded),
        cmocka_unit_test(every_fault_ends_in_time_and_is_repaired),
        cmocka_unit_test(one_lost_or_damaged_reply_stops_no_run),
        cmocka_unit_test(a_byte_that_will_not_program_fails_the_verify),
        cmocka_unit_test(sixty_kib_are_within_a_tenth_of_wire_and_flash),
        cmocka_unit_test(write_and_verify_an_m0),
        cmocka_unit_test(write_of_an_unerased_m0_is_warned_about_and_found_wrong),
        cmocka_unit_test(a_row_of_the_m0_is_sent_again_after_silence),
        cmocka_unit_test(the_m0_has_no_fuses),
        cmocka_unit_test(rows_of_the_m0_are_within_a_tenth_of_their_programming_time),
        cmocka_unit_test(messages_have_the_form_of_the_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
