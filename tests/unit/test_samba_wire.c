/* SAM-BA on the wire: exchanges byte for byte, and answers that no model would give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "method.h"
#include "samba/monitor.h"
#include "samba/xmodem.h"
#include "scripted_serial.h"

extern const struct method method_samba;

/* "v1.1 Dec 15 2010 19:24:04" */
#define SAM3_VERSION "76312e312044656320313520323031302031393a32343a30340a0d"

struct wire {
    struct serial *serial;
    struct session session;
    struct loader loader;
    struct error err;
};

static int connect_to(struct wire *w, const struct script_turn *turns, const char *chip)
{
    *w = (struct wire){.serial = scripted_serial(turns), .loader = {.method = "samba"}};
    w->session = (struct session){.method = &method_samba,
                                  .chip = chip_find(chip),
                                  .loader = &w->loader,
                                  .serial = w->serial,
                                  .clock = w->serial->clock};
    return method_samba.connect(&w->session, &w->err);
}

static void end(struct wire *w)
{
    method_samba.disconnect(&w->session);
    serial_close(w->serial);
}

/* Hexadecimal of a command's text. */
static const char *command(char *hex, const char *text)
{
    for (size_t i = 0; text[i]; i++)
        (void)snprintf(hex + 2 * i, 3, "%02x", (unsigned char)text[i]);
    return hex;
}

enum { TEXTS = 12, TEXT = 64 };
static char texts[TEXTS][TEXT];

static void a_sam3x_is_identified_without_touching_a_wild_address(void **state)
{
    (void)state;
    const struct script_turn turns[] = {
        {command(texts[0], "N#"), "0a0d"},
        {command(texts[1], "V#"), SAM3_VERSION},
        {command(texts[2], "w00000000,4#"), "00100020"},
        {command(texts[3], "wE000ED00,4#"), "30c22f41"},
        {command(texts[4], "w400E0740,4#"), "00000000"},
        {command(texts[5], "w400E0940,4#"), "600a5e28"},
        {command(texts[6], "R20001000,00000004#"), "a5a5a5a5"},
        {command(texts[7], "W400E0A04,5A00000D#"), NULL},
        {command(texts[8], "w400E0A08,4#"), "01000000"},
        {command(texts[9], "w400E0A0C,4#"), "00000000"},
        {NULL, NULL},
    };
    struct wire w;
    assert_int_equal(connect_to(&w, turns, "sam3x8e"), OK);
    assert_true(scripted_serial_done(w.serial));
    end(&w);
}

/* UF2 does not answer N#, and sends a zero behind its version. */
static void a_samd21_of_another_size_is_refused_by_its_did(void **state)
{
    (void)state;
    const struct script_turn turns[] = {
        {command(texts[0], "N#"), NULL},
        {command(texts[1], "V#"), "76312e31205b41726475696e6f3a58595a5d 0a0d00"},
        {command(texts[2], "w00000000,4#"), "fc7f0020"},
        {command(texts[3], "wE000ED00,4#"), "01c60c41"},
        {command(texts[4], "w41002018,4#"), "06030110"},
        {NULL, NULL},
    };
    struct wire w;
    assert_int_equal(connect_to(&w, turns, "samd21g18a"), ERR_REFUSED);
    assert_string_equal(w.err.check, "signature");
    assert_non_null(strstr(w.err.message, "0x10010306"));
    assert_true(scripted_serial_done(w.serial));
    end(&w);
}

static void an_arm7_is_told_by_its_first_word_and_asked_its_own_register(void **state)
{
    (void)state;
    const struct script_turn turns[] = {
        {command(texts[0], "N#"), "0a0d"},
        {command(texts[1], "V#"), SAM3_VERSION},
        {command(texts[2], "w00000000,4#"), "060000ea"},
        {command(texts[3], "wFFFFF240,4#"), "40090d27"}, /* AT91SAM7S256 */
        {NULL, NULL},
    };
    struct wire w;
    assert_int_equal(connect_to(&w, turns, "sam3x8e"), ERR_REFUSED);
    assert_string_equal(w.err.check, "signature");
    assert_non_null(strstr(w.err.message, "0x270d0940"));
    assert_true(scripted_serial_done(w.serial));
    end(&w);
}

static void an_unknown_cpu_is_not_asked_further(void **state)
{
    (void)state;
    const struct script_turn turns[] = {
        {command(texts[0], "N#"), "0a0d"},
        {command(texts[1], "V#"), SAM3_VERSION},
        {command(texts[2], "w00000000,4#"), "00100020"},
        {command(texts[3], "wE000ED00,4#"), "20c62f41"},
        {NULL, NULL},
    };
    struct wire w;
    assert_int_equal(connect_to(&w, turns, "sam3x8e"), ERR_PROTOCOL);
    assert_non_null(strstr(w.err.message, "CPUID"));
    assert_true(scripted_serial_done(w.serial));
    end(&w);
}

static void a_set_security_bit_is_seen_before_anything_is_written(void **state)
{
    (void)state;
    const struct script_turn turns[] = {
        {command(texts[0], "N#"), "0a0d"},
        {command(texts[1], "V#"), SAM3_VERSION},
        {command(texts[2], "w00000000,4#"), "00100020"},
        {command(texts[3], "wE000ED00,4#"), "30c22f41"},
        {command(texts[4], "w400E0740,4#"), "00000000"},
        {command(texts[5], "w400E0940,4#"), "600a5e28"},
        {command(texts[6], "R20001000,00000004#"), "a5a5a5a5"},
        {command(texts[7], "W400E0A04,5A00000D#"), NULL},
        {command(texts[8], "w400E0A08,4#"), "01000000"},
        {command(texts[9], "w400E0A0C,4#"), "01000000"},
        {NULL, NULL},
    };
    struct wire w;
    uint8_t byte;
    assert_int_equal(connect_to(&w, turns, "sam3x8e"), OK);
    assert_int_equal(method_samba.read(&w.session, MEM_FLASH, 0x80000, &byte, 1, &w.err),
                     ERR_PROTECTED);
    assert_int_equal(method_samba.unlock(&w.session, &w.err), ERR_PROTECTED);
    assert_true(scripted_serial_done(w.serial));
    end(&w);
}

static void silence_is_told_within_four_seconds(void **state)
{
    (void)state;
    static const struct script_turn turns[] = {{NULL, NULL}};
    struct monitor m;
    struct error err;
    struct serial *serial = scripted_serial(turns);
    assert_int_equal(samba_open(&m, serial, &err), ERR_NO_ANSWER);
    assert_non_null(strstr(err.message, "nothing at all came back"));
    assert_non_null(strstr(err.hint, "bootloader"));
    assert_true(clock_now(serial->clock) < 4 * SECOND);
    serial_close(serial);
}

static void an_application_that_talks_is_no_monitor(void **state)
{
    (void)state;
    const struct script_turn turns[] = {
        {command(texts[0], "N#"), "4d61726c696e20312e310a"}, /* Marlin 1.1 */
        {NULL, NULL},
    };
    struct monitor m;
    struct error err;
    struct serial *serial = scripted_serial(turns);
    assert_int_equal(samba_open(&m, serial, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "Marlin"));
    serial_close(serial);
}

/* bossac runs off the end of its buffer for want of a ']'. */
static void a_version_without_an_end_is_cut(void **state)
{
    (void)state;
    static char answer[1200];
    (void)strcpy(answer, "76205b41726475696e6f3a"); /* v [Arduino: */
    for (size_t i = 0; i < 200; i++)
        (void)strcat(answer, "5a");
    (void)strcat(answer, "0a0d");
    const struct script_turn turns[] = {
        {command(texts[0], "N#"), NULL},
        {command(texts[1], "V#"), answer},
        {NULL, NULL},
    };
    struct monitor m;
    struct error err;
    struct serial *serial = scripted_serial(turns);
    assert_int_equal(samba_open(&m, serial, &err), OK);
    assert_int_equal(strlen(m.version), MONITOR_VERSION_MAX - 1);
    assert_true(m.z);
    assert_false(m.x);
    serial_close(serial);
}

static void xmodem_crc_has_its_check_value(void **state)
{
    (void)state;
    assert_int_equal(samba_xmodem_crc(0, (const uint8_t *)"123456789", 9), 0x31c3);
}

/* A damaged block is asked for again; the device's CAN ends a send. */
static void xmodem_survives_a_damaged_block_and_names_a_cancel(void **state)
{
    (void)state;
    static char good[2 * 133 + 1], bad[2 * 133 + 1];
    uint8_t frame[133] = {0x01, 0x01, 0xfe}, bytes[3] = {0};
    memset(frame + 3, 0x11, 128);
    uint16_t crc = samba_xmodem_crc(0, frame + 3, 128);
    frame[131] = (uint8_t)(crc >> 8);
    frame[132] = (uint8_t)crc;
    for (size_t i = 0; i < 133; i++) {
        (void)snprintf(good + 2 * i, 3, "%02x", frame[i]);
        (void)snprintf(bad + 2 * i, 3, "%02x", i == 40 ? 0x13 : frame[i]);
    }
    const struct script_turn turns[] = {
        {"43", bad}, {"15", good}, {"06", "04"}, {"06", "43"}, {NULL, "18"}, {NULL, NULL},
    };
    struct error err;
    struct serial *serial = scripted_serial(turns);
    assert_int_equal(samba_xmodem_receive(serial, bytes, sizeof bytes, &err), OK);
    assert_int_equal(bytes[2], 0x11);
    assert_int_equal(samba_xmodem_send(serial, bytes, sizeof bytes, &err), ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "18 (cancelled"));
    serial_close(serial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sam3x_is_identified_without_touching_a_wild_address),
        cmocka_unit_test(a_samd21_of_another_size_is_refused_by_its_did),
        cmocka_unit_test(an_arm7_is_told_by_its_first_word_and_asked_its_own_register),
        cmocka_unit_test(an_unknown_cpu_is_not_asked_further),
        cmocka_unit_test(a_set_security_bit_is_seen_before_anything_is_written),
        cmocka_unit_test(silence_is_told_within_four_seconds),
        cmocka_unit_test(an_application_that_talks_is_no_monitor),
        cmocka_unit_test(a_version_without_an_end_is_cut),
        cmocka_unit_test(xmodem_crc_has_its_check_value),
        cmocka_unit_test(xmodem_survives_a_damaged_block_and_names_a_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
