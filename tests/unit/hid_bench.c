/* See hid_bench.h. */
#include "hid_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "katapult_bench.h"

enum { USED = 64 * KIB, ANSWER_ENDPOINT = 0x81, ANSWER = 8, REPORT_US = SECOND, SET_REPORT = 9 };

static const uint8_t prefix[7] = {'B', 'T', 'L', 'D', 'C', 'M', 'D'};

/* ---- the board ---- */

static uint8_t noise(size_t n, uint32_t seed)
{
    uint32_t x = (uint32_t)n * 2654435761U + seed;
    return (uint8_t)((x ^ x >> 15) * 2246822519U >> 24);
}

static void make(struct hid_bench *bench)
{
    bench->device = vmodel_hid.create_usb(&bench->config);
    assert_non_null(bench->device);
}

struct hid_bench *hid_bench_new(const char *chip, const struct vconfig *options)
{
    struct hid_bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    if (options)
        bench->config = *options;
    bench->config.chip = chip_find(chip);
    const struct region *flash = chip_region(bench->config.chip, MEM_FLASH);
    bench->config.flash = (struct vmemory){bench->flash, (size_t)flash->size, UINT64_MAX};
    bench->start = strncmp(chip, "stm32f1", 7) == 0 ? 0x800 : 0x4000;
    memset(bench->flash, 0xff, bench->start);
    for (size_t i = bench->start; i < bench->start + USED; i++)
        bench->flash[i] = noise(i, 1);
    put_le32(bench->flash + bench->start, 0x20005000);
    bench->loader.has_start = true;
    bench->loader.start = flash->start + bench->start;
    make(bench);
    return bench;
}

void hid_bench_remake(struct hid_bench *bench)
{
    hid_ends(bench);
    uint64_t parked = bench->device->parked;
    bench->device->ops->destroy(bench->device);
    make(bench);
    bench->device->parked = parked;
}

void hid_bench_free(struct hid_bench *bench)
{
    hid_ends(bench);
    bench->device->ops->destroy(bench->device);
    image_free(&bench->image);
    free(bench);
}

void hid_bench_open(struct hid_bench *bench, const struct line_faults *faults)
{
    bench->usb = virtual_usb(bench->device, faults);
    assert_non_null(bench->usb);
}

void hid_bench_close(struct hid_bench *bench)
{
    usb_close(bench->usb);
    bench->usb = NULL;
}

uint64_t hid_bench_now(const struct hid_bench *bench)
{
    return bench->usb ? clock_now(bench->usb->clock) : bench->device->parked;
}

void hid_bench_wait(struct hid_bench *bench, uint64_t microseconds)
{
    struct clock *clock = bench->usb->clock;
    clock->sleep_until(clock, clock_in(clock, microseconds));
}

/* ---- reports and answers ---- */

void hid_says(struct hid_bench *bench, const uint8_t *report, size_t length)
{
    uint8_t bytes[4 * KIB];
    const struct usb_setup setup = {0x21, SET_REPORT, 0x0200, 0, (uint16_t)length};
    assert_in_range(length, 1, sizeof bytes);
    memcpy(bytes, report, length);
    ssize_t sent =
        usb_control(bench->usb, &setup, bytes, clock_in(bench->usb->clock, REPORT_US), &bench->err);
    if (sent != (ssize_t)length)
        fail_msg("report: %zd: %s", sent, bench->err.message);
}

void hid_says_command(struct hid_bench *bench, uint8_t code)
{
    uint8_t report[HID_REPORT] = {0};
    memcpy(report, prefix, sizeof prefix);
    report[sizeof prefix] = code;
    hid_says(bench, report, sizeof report);
}

void hid_says_value(struct hid_bench *bench, uint8_t value)
{
    uint8_t report[HID_REPORT];
    memset(report, value, sizeof report);
    hid_says(bench, report, sizeof report);
}

void hid_says_kib(struct hid_bench *bench, uint8_t value)
{
    for (int i = 0; i < KIB / HID_REPORT; i++)
        hid_says_value(bench, value);
}

static void asks(struct hid_bench *bench, uint8_t request, uint16_t value, uint8_t *bytes,
                 uint16_t length)
{
    const struct usb_setup setup = {0x21, request, value, 0, length};
    (void)usb_control(bench->usb, &setup, bytes, clock_in(bench->usb->clock, REPORT_US),
                      &bench->err);
}

void hid_touches(struct hid_bench *bench)
{
    enum { SET_LINE_CODING = 0x20, SET_CONTROL_LINE_STATE = 0x22, DTR_RTS = 3, RTS = 2 };
    uint8_t coding[] = {0xb0, 0x04, 0, 0, 0, 0, 8};
    asks(bench, SET_CONTROL_LINE_STATE, DTR_RTS, NULL, 0);
    asks(bench, SET_LINE_CODING, 0, coding, sizeof coding);
    asks(bench, SET_CONTROL_LINE_STATE, RTS, NULL, 0);
    hid_bench_wait(bench, SECOND / 10);
}

uint16_t hid_product_id(struct hid_bench *bench)
{
    if (!bench->usb)
        hid_bench_open(bench, NULL);
    return get_le16(bench->usb->device_descriptor + 10);
}

static ssize_t listen(struct hid_bench *bench, uint8_t answer[HID_REPORT], uint64_t microseconds)
{
    return usb_in(bench->usb, ANSWER_ENDPOINT, answer, ANSWER,
                  clock_in(bench->usb->clock, microseconds), &bench->err);
}

void hid_hears(struct hid_bench *bench, uint8_t code)
{
    uint8_t answer[HID_REPORT], expected[ANSWER];
    memcpy(expected, prefix, sizeof prefix);
    expected[sizeof prefix] = code;
    ssize_t length = listen(bench, answer, 3 * (uint64_t)SECOND);
    if (length != ANSWER)
        fail_msg("no answer: %zd: %s", length, bench->err.message);
    assert_memory_equal(answer, expected, ANSWER);
}

void hid_hears_nothing(struct hid_bench *bench, uint64_t microseconds)
{
    uint8_t answer[HID_REPORT];
    assert_int_equal(listen(bench, answer, microseconds), ERR_NO_ANSWER);
}

bool hid_flash_is(const struct hid_bench *bench, size_t offset, size_t length, uint8_t value)
{
    for (size_t i = offset; i < offset + length; i++)
        if (bench->flash[i] != value)
            return false;
    return true;
}

/* ---- the method ---- */

void hid_image(struct hid_bench *bench, size_t length, uint32_t sp)
{
    uint8_t *bytes = malloc(length);
    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = noise(i, 7);
    put_le32(bytes, sp);
    image_free(&bench->image);
    bench->image = (struct image){0};
    assert_int_equal(
        image_add(&bench->image, MEM_FLASH, bench->loader.start, bytes, length, &bench->err), OK);
    free(bytes);
}

void hid_klipper_image(struct hid_bench *bench)
{
    char config[64];
    size_t at;
    struct bench *program = calloc(1, sizeof *program);
    assert_non_null(program);
    (void)snprintf(config, sizeof config, "\"MCU\":\"%s\"", bench->config.chip->name);
    size_t length = put_klipper(program, 0, config, &at);
    image_free(&bench->image);
    bench->image = (struct image){0};
    assert_int_equal(image_add(&bench->image, MEM_FLASH, bench->loader.start, program->flash,
                               at + length, &bench->err),
                     OK);
    free(program);
}

bool hid_holds_image(const struct hid_bench *bench)
{
    const struct segment *s = &bench->image.segments[0];
    return memcmp(bench->flash + bench->start, s->data, s->length) == 0;
}

static void on_advance(void *user, size_t bytes)
{
    struct hid_bench *bench = user;
    assert_in_range(bytes, 1, HID_FLASH_MAX);
    bench->advanced += bytes;
    if (bench->stop_at && bench->advanced >= bench->stop_at)
        bench->stop = 1;
}

static void on_note(void *user, const char *text)
{
    struct hid_bench *bench = user;
    size_t used = strlen(bench->notes);
    (void)snprintf(bench->notes + used, sizeof bench->notes - used, "%s\n", text);
}

static void prepare(struct hid_bench *bench)
{
    const bool force_signature = bench->session.force_signature,
               force_vectors = bench->session.force_vectors;
    bench->session = (struct session){
        .method = &method_hid,
        .chip = bench->config.chip,
        .loader = &bench->loader,
        .usb = bench->usb,
        .clock = bench->usb->clock,
        .force_signature = force_signature,
        .force_vectors = force_vectors,
        .stop = &bench->stop,
        .advance = on_advance,
        .note = on_note,
        .user = bench,
    };
    bench->notes[0] = '\0';
    bench->advanced = 0;
    bench->stop = 0;
}

int hid_connects(struct hid_bench *bench, const struct line_faults *faults)
{
    hid_bench_open(bench, faults);
    prepare(bench);
    uint64_t begun = hid_bench_now(bench);
    int rc = method_hid.connect(&bench->session, &bench->err);
    bench->connecting = hid_bench_now(bench) - begun;
    bench->connected = rc == OK;
    return rc;
}

void hid_ends(struct hid_bench *bench)
{
    if (bench->connected)
        method_hid.disconnect(&bench->session);
    bench->connected = false;
    if (bench->usb)
        hid_bench_close(bench);
}

int hid_writes(struct hid_bench *bench)
{
    const struct job job = {.image = &bench->image,
                            .region = chip_region(bench->config.chip, MEM_FLASH)};
    uint64_t begun = hid_bench_now(bench);
    int rc = method_hid.write(&bench->session, &job, &bench->err);
    bench->writing = hid_bench_now(bench) - begun;
    return rc;
}

int hid_runs(struct hid_bench *bench, const struct line_faults *faults)
{
    uint64_t begun = hid_bench_now(bench);
    int rc = hid_connects(bench, faults);
    if (rc == OK)
        rc = hid_writes(bench);
    if (rc == OK)
        rc = method_hid.run(&bench->session, &bench->err);
    bench->whole = hid_bench_now(bench) - begun;
    bench->messages = virtual_usb_bus(bench->usb)->messages;
    hid_ends(bench);
    return rc;
}

void hid_assert_ok(const struct hid_bench *bench, int rc)
{
    if (rc != OK)
        fail_msg("%s: %s", error_code_name((enum error_code)rc), bench->err.message);
}
