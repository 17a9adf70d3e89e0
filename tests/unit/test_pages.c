/* Pages of a job, comparison, signature gate, bauds and refusals: what methods share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "method.h"

enum { PAGE = 16, REGION_START = 0x100, REGION_SIZE = 0x100 };

static const struct region region = {.name = "flash",
                                     .memory = MEM_FLASH,
                                     .start = REGION_START,
                                     .size = REGION_SIZE,
                                     .sector = PAGE,
                                     .page = PAGE,
                                     .erased = 0xff};

static void add(struct image *image, enum memory memory, uint64_t address, uint8_t value,
                size_t length)
{
    uint8_t bytes[REGION_SIZE];
    assert_true(length <= sizeof bytes);
    memset(bytes, value, length);
    assert_int_equal(image_add(image, memory, address, bytes, length, NULL), OK);
}

/* Walks the pages and writes their addresses as "100 130 "; "100-" is a page to be emptied. */
static void walk(const struct image *image, enum pages_mode mode, bool first_last, char *out,
                 size_t size)
{
    const struct job job = {.image = image, .region = &region};
    struct pages pages = pages_of(&job, mode);
    uint8_t data[PAGE];
    size_t count = 0, used = 0;
    pages.first_last = first_last;
    out[0] = '\0';
    while (pages_next(&pages, data)) {
        count += !pages.empty;
        used += (size_t)snprintf(out + used, size - used, "%x%s ", (unsigned)pages.address,
                                 pages.empty ? "-" : "");
    }
    assert_int_equal(count, pages_count(&job, mode));
}

static void assert_walk(const struct image *image, enum pages_mode mode, const char *expected)
{
    char text[128];
    walk(image, mode, false, text, sizeof text);
    assert_string_equal(text, expected);
}

static void touched_pages_are_those_with_a_byte_of_the_image(void **state)
{
    (void)state;
    struct image image = {.count = 0};
    add(&image, MEM_FLASH, 0x10f, 1, 2);  /* last byte of one page, first of the next */
    add(&image, MEM_FLASH, 0x135, 2, 1);  /* one byte */
    add(&image, MEM_FLASH, 0x1f0, 3, 16); /* up to the region's end */
    add(&image, MEM_EEPROM, 0x150, 4, 8); /* another memory */
    assert_walk(&image, PAGES_TOUCHED, "100 110 130 1f0 ");
    image_free(&image);
}

static void contiguous_pages_fill_the_holes(void **state)
{
    (void)state;
    struct image image = {.count = 0};
    add(&image, MEM_FLASH, 0x11f, 1, 1);
    add(&image, MEM_FLASH, 0x14f, 1, 2);
    assert_walk(&image, PAGES_CONTIGUOUS, "110 120 130 140 150 ");
    image_free(&image);
}

static void blank_pages_are_skipped_on_request(void **state)
{
    (void)state;
    struct image image = {.count = 0};
    add(&image, MEM_FLASH, 0x100, 1, 16);
    add(&image, MEM_FLASH, 0x110, 0xff, 32);
    add(&image, MEM_FLASH, 0x130, 0xff, 15);
    add(&image, MEM_FLASH, 0x13f, 0, 1);
    add(&image, MEM_FLASH, 0x148, 0xff, 4); /* a part of a page, blank as well */
    assert_walk(&image, PAGES_SKIP_BLANK, "100 130 ");
    assert_walk(&image, PAGES_TOUCHED, "100 110 120 130 140 ");
    image_free(&image);
}

static void an_image_without_flash_has_no_pages(void **state)
{
    (void)state;
    struct image image = {.count = 0};
    assert_walk(&image, PAGES_CONTIGUOUS, "");
    add(&image, MEM_EEPROM, 0x100, 1, 16);
    assert_walk(&image, PAGES_CONTIGUOUS, "");
    image_free(&image);
}

static void pages_are_padded_with_the_erased_value(void **state)
{
    (void)state;
    struct image image = {.count = 0};
    const struct job job = {.image = &image, .region = &region};
    uint8_t data[PAGE], expected[PAGE];
    memset(expected, 0xff, sizeof expected);
    memset(expected + 3, 7, 2);
    expected[9] = 8;
    add(&image, MEM_FLASH, 0x123, 7, 2);
    add(&image, MEM_FLASH, 0x129, 8, 1);
    struct pages pages = pages_of(&job, PAGES_TOUCHED);
    assert_true(pages_next(&pages, data));
    assert_memory_equal(data, expected, PAGE);
    assert_int_equal(pages.payload, 3);
    assert_false(pages_next(&pages, data));
    image_free(&image);
}

static void the_first_page_comes_last_on_request(void **state)
{
    (void)state;
    struct image image = {.count = 0};
    char text[128];
    add(&image, MEM_FLASH, 0x105, 1, 30);
    add(&image, MEM_FLASH, 0x140, 1, 1);
    walk(&image, PAGES_TOUCHED, true, text, sizeof text);
    assert_string_equal(text, "100- 110 120 140 100 ");
    image_free(&image);
    add(&image, MEM_FLASH, 0x120, 1, 1); /* alone */
    walk(&image, PAGES_TOUCHED, true, text, sizeof text);
    assert_string_equal(text, "120 ");
    image_free(&image);
    walk(&image, PAGES_TOUCHED, true, text, sizeof text);
    assert_string_equal(text, "");
}

static void the_page_that_comes_last_has_its_own_bytes(void **state)
{
    (void)state;
    struct image image = {.count = 0};
    const struct job job = {.image = &image, .region = &region};
    uint8_t data[PAGE];
    add(&image, MEM_FLASH, 0x100, 5, 16);
    add(&image, MEM_FLASH, 0x110, 6, 3);
    struct pages pages = pages_of(&job, PAGES_TOUCHED);
    pages.first_last = true;
    assert_true(pages_next(&pages, data)); /* emptied first: a used chip holds an old vector */
    assert_true(bytes_blank(data, PAGE, 0xff));
    assert_int_equal(pages.payload, 0);
    assert_true(pages_next(&pages, data));
    assert_int_equal(data[0], 6);
    assert_int_equal(pages.payload, 3);
    assert_true(pages_next(&pages, data));
    assert_int_equal(data[0], 5);
    assert_int_equal(pages.payload, 16);
    image_free(&image);
}

static void on_an_erased_chip_nothing_needs_emptying(void **state)
{
    (void)state;
    struct image image = {.count = 0};
    const struct job job = {.image = &image, .region = &region, .erased = true};
    uint8_t data[PAGE];
    add(&image, MEM_FLASH, 0x100, 5, 20);
    struct pages pages = pages_of(&job, PAGES_TOUCHED);
    pages.first_last = true;
    assert_true(pages_next(&pages, data));
    assert_int_equal(pages.address, 0x110);
    image_free(&image);
}

/* ---- comparison ---- */

static uint8_t chip_bytes[2 * REGION_SIZE];

static int read_chip(struct session *session, enum memory memory, uint64_t address, uint8_t *bytes,
                     size_t length, struct error *err)
{
    (void)session, (void)memory, (void)err;
    memcpy(bytes, chip_bytes + address, length);
    return OK;
}

static const struct method readable = {.name = "readable", .read = read_chip, .baud = 9600};

static void verify_names_the_first_difference_and_how_many(void **state)
{
    (void)state;
    struct image image = {.count = 0};
    const struct job job = {.image = &image, .region = &region};
    struct session session = {.method = &readable};
    struct error err;
    add(&image, MEM_FLASH, 0x100, 0x11, 16);
    add(&image, MEM_FLASH, 0x150, 0x22, 16);
    memset(chip_bytes, 0x99, sizeof chip_bytes); /* what the image does not have is no difference */
    memset(chip_bytes + 0x100, 0x11, 16);
    memset(chip_bytes + 0x150, 0x22, 16);
    assert_int_equal(verify_by_reading(&session, &job, &err), OK);
    chip_bytes[0x10c] = 0x10;
    chip_bytes[0x15f] = 0x02;
    assert_int_equal(verify_by_reading(&session, &job, &err), ERR_VERIFY);
    assert_string_equal(err.message, "verifying flash: 2 bytes differ, the first at 0x0000010c: "
                                     "wrote 11, device has 10");
    image_free(&image);
}

/* ---- session ---- */

struct remarks {
    char text[512];
};

static void keep(void *user, const char *text)
{
    struct remarks *remarks = user;
    (void)snprintf(remarks->text, sizeof remarks->text, "%s", text);
}

static void signature_gate_passes_the_right_chip_only(void **state)
{
    (void)state;
    static const uint8_t m328p[3] = {0x1e, 0x95, 0x0f}, m2560[3] = {0x1e, 0x98, 0x01},
                         none[3] = {0xff, 0xff, 0xff};
    struct remarks remarks = {.text = ""};
    struct session session = {.chip = chip_find("atmega328p"), .note = keep, .user = &remarks};
    struct error err;
    assert_int_equal(session_check_signature(&session, m328p, &err), OK);
    assert_int_equal(session_check_signature(&session, m2560, &err), ERR_REFUSED);
    assert_string_equal(err.check, "signature");
    assert_string_equal(err.message, "the device's signature is 1e 98 01 (atmega2560), but the "
                                     "board has an atmega328p (1e 95 0f)");
    assert_int_equal(session_check_signature(&session, none, &err), ERR_REFUSED);
    assert_non_null(strstr(err.hint, "no chip answers"));
    assert_string_equal(remarks.text, "");
    session.force_signature = true;
    assert_int_equal(session_check_signature(&session, m2560, &err), OK);
    assert_non_null(strstr(remarks.text, "forced"));
}

static void signature_text_names_every_chip_that_shares_it(void **state)
{
    (void)state;
    static const uint8_t shared[3] = {0x1e, 0x95, 0x0f}, unknown[3] = {0x12, 0x34, 0x56};
    char text[96];
    signature_text(shared, text, sizeof text);
    assert_string_equal(text, "1e 95 0f (atmega328p or lgt8f328p)");
    signature_text(unknown, text, sizeof text);
    assert_string_equal(text, "12 34 56 (no chip known)");
}

static void bauds_are_the_users_then_the_boards_then_the_methods(void **state)
{
    (void)state;
    struct loader loader = {.bauds = {57600, 115200}, .baud_count = 2};
    struct session session = {.method = &readable};
    uint32_t bauds[8];
    assert_int_equal(session_bauds(&session, bauds, 8), 1);
    assert_int_equal(bauds[0], 9600);
    session.loader = &loader;
    assert_int_equal(session_bauds(&session, bauds, 8), 2);
    assert_int_equal(bauds[0], 57600);
    assert_int_equal(bauds[1], 115200);
    assert_int_equal(session_bauds(&session, bauds, 1), 1);
    session.baud = 250000;
    assert_int_equal(session_bauds(&session, bauds, 8), 1);
    assert_int_equal(bauds[0], 250000);
}

static void info_lines_beyond_the_last_are_dropped(void **state)
{
    (void)state;
    struct device_info info = {.count = 0};
    for (int i = 0; i < INFO_MAX + 3; i++)
        device_info_add(&info, "line", "number %d", i);
    assert_int_equal(info.count, INFO_MAX);
    assert_string_equal(info.lines[INFO_MAX - 1].text, "number 23");
}

/* ---- the table ---- */

static void methods_are_found_by_name(void **state)
{
    (void)state;
    assert_string_equal(method_find("stk500v2")->name, "stk500v2");
    assert_null(method_find("stk500v3"));
}

static void every_operation_is_provided_or_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct refusal refusals[] = {{OP_EEPROM, "there is none"}, {OP_COUNT, NULL}};
    struct method method = {.name = "m", .refusals = refusals, .read = read_chip};
    assert_string_equal(method_refusal(&method, OP_EEPROM), "there is none");
    assert_non_null(method_refusal(&method, OP_WRITE)); /* no function: never to be called */
    assert_null(method_refusal(&method, OP_READ));
    assert_null(method_refusal(&method, OP_VERIFY)); /* by reading */
    method.read = NULL;
    assert_non_null(method_refusal(&method, OP_VERIFY));
    for (int op = 0; op < OP_COUNT; op++)
        assert_true(strlen(operation_name((enum operation)op)) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(touched_pages_are_those_with_a_byte_of_the_image),
        cmocka_unit_test(contiguous_pages_fill_the_holes),
        cmocka_unit_test(blank_pages_are_skipped_on_request),
        cmocka_unit_test(an_image_without_flash_has_no_pages),
        cmocka_unit_test(pages_are_padded_with_the_erased_value),
        cmocka_unit_test(the_first_page_comes_last_on_request),
        cmocka_unit_test(the_page_that_comes_last_has_its_own_bytes),
        cmocka_unit_test(on_an_erased_chip_nothing_needs_emptying),
        cmocka_unit_test(verify_names_the_first_difference_and_how_many),
        cmocka_unit_test(signature_gate_passes_the_right_chip_only),
        cmocka_unit_test(signature_text_names_every_chip_that_shares_it),
        cmocka_unit_test(bauds_are_the_users_then_the_boards_then_the_methods),
        cmocka_unit_test(info_lines_beyond_the_last_are_dropped),
        cmocka_unit_test(methods_are_found_by_name),
        cmocka_unit_test(every_operation_is_provided_or_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
