/* See dfu_bench.h. */
#include "dfu_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "plan.h"

static const uint64_t qspi_start = 0x90000000;

static const struct region external = {.name = "qspi",
                                       .memory = MEM_FLASH,
                                       .start = qspi_start,
                                       .size = DFU_QSPI,
                                       .sector = 4 * KIB,
                                       .page = 256,
                                       .erased = 0xff};

enum { REQUEST_US = 3 * SECOND, SP = 0x20002000 };

static uint8_t noise(size_t n, uint32_t seed)
{
    uint32_t x = (uint32_t)n * 2654435761U + seed;
    return (uint8_t)((x ^ x >> 15) * 2246822519U >> 24);
}

/* ---- the board ---- */

static void make(struct dfu_bench *bench)
{
    bench->device = bench->model->create_usb(&bench->config);
    assert_non_null(bench->device);
}

static void fill(struct dfu_bench *bench)
{
    memset(bench->options, 0xff, sizeof bench->options);
    for (size_t i = 0; i < sizeof bench->flash; i++)
        bench->flash[i] = noise(i, 1);
    for (size_t i = 0; i < sizeof bench->qspi; i++)
        bench->qspi[i] = noise(i, 2);
    for (size_t i = 0; i < sizeof bench->out; i++)
        bench->out[i] = noise(i, 3);
}

struct dfu_bench *dfu_bench_new(const struct vmodel *model, const char *chip,
                                const struct vconfig *options)
{
    struct dfu_bench *bench = calloc(1, sizeof *bench);
    assert_non_null(bench);
    bench->model = model;
    if (options)
        bench->config = *options;
    bench->config.chip = chip_find(chip);
    const struct region *flash = chip_region(bench->config.chip, MEM_FLASH);
    bool qspi = bench->config.qspi.size > 1;
    bench->base = flash->start;
    bench->config.flash = (struct vmemory){bench->flash, (size_t)flash->size, UINT64_MAX};
    bench->config.qspi = (struct vmemory){bench->qspi, qspi ? DFU_QSPI : 1, UINT64_MAX};
    bench->config.options = (struct vmemory){bench->options, sizeof bench->options, UINT64_MAX};
    fill(bench);
    bench->loader.has_start = true;
    bench->loader.start = flash->start;
    if (model == &vmodel_dfu_maple)
        bench->loader.start += 0x2000;
    else if (model == &vmodel_dfu_plain)
        bench->loader.start += 0x4000;
    else
        bench->loader.start_count = 1;
    bench->loader.starts[0] = bench->loader.start;
    bench->loader.settings = bench->settings;
    bench->loader.regions = &external;
    bench->loader.region_count = qspi ? 1 : 0;
    make(bench);
    return bench;
}

void dfu_bench_remake(struct dfu_bench *bench)
{
    dfu_ends(bench);
    uint64_t parked = bench->device->parked;
    bench->device->ops->destroy(bench->device);
    make(bench);
    bench->device->parked = parked;
}

void dfu_bench_free(struct dfu_bench *bench)
{
    dfu_ends(bench);
    bench->device->ops->destroy(bench->device);
    image_free(&bench->image);
    free(bench);
}

void dfu_bench_open(struct dfu_bench *bench, const struct line_faults *faults)
{
    bench->usb = virtual_usb(bench->device, faults);
    assert_non_null(bench->usb);
}

void dfu_bench_close(struct dfu_bench *bench)
{
    usb_close(bench->usb);
    bench->usb = NULL;
}

uint64_t dfu_bench_now(const struct dfu_bench *bench)
{
    return bench->usb ? clock_now(bench->usb->clock) : bench->device->parked;
}

void dfu_bench_wait(struct dfu_bench *bench, uint64_t microseconds)
{
    struct clock *clock = bench->usb->clock;
    clock->sleep_until(clock, clock_in(clock, microseconds));
}

/* ---- traces ---- */

/* Hex bytes up to the line's end or "]"; 256 stands for "..". */
static size_t hex_bytes(const char *text, uint16_t *bytes, size_t max)
{
    size_t count = 0;
    unsigned value;
    for (int used; count < max; text += used) {
        if (sscanf(text, " %2x%n", &value, &used) == 1)
            bytes[count++] = (uint16_t)value;
        else if (sscanf(text, " ..%n", &used) == 0 && strncmp(text, " ..", 3) == 0)
            bytes[count++] = 256;
        else
            break;
    }
    return count;
}

static void compare(const char *line, const char *expected, const uint8_t *answer, size_t length)
{
    uint16_t bytes[64];
    size_t count = hex_bytes(expected, bytes, sizeof bytes / sizeof bytes[0]);
    bool equal = count == length;
    char got[3 * 64 + 1] = "";
    for (size_t i = 0; i < length && i < 64; i++) {
        (void)snprintf(got + 3 * i, 4, " %02x", answer[i]);
        equal = equal && (bytes[i] == 256 || bytes[i] == answer[i]);
    }
    if (!equal)
        fail_msg("%s\n  answered%s", line, got);
}

/* What the end of the line says must become of it. */
static void judge(struct dfu_bench *bench, const char *line, const char *rest, const uint8_t *bytes,
                  ssize_t rc, size_t length)
{
    const char *arrow = strstr(rest, "->");
    int wanted = strstr(rest, "stall")    ? ERR_STALL
                 : strstr(rest, "gone")   ? ERR_GONE
                 : strstr(rest, "silent") ? ERR_NO_ANSWER
                                          : OK;
    if (wanted != OK && rc != wanted)
        fail_msg("%s\n  ended with %zd", line, rc);
    if (wanted == OK && rc < 0)
        fail_msg("%s\n  %s", line, bench->err.message);
    if (wanted != OK)
        return;
    if (arrow)
        compare(line, arrow + 2, bytes, (size_t)rc);
    if (strchr(rest, '>') && !arrow) {
        assert_in_range(bench->heard + (size_t)rc, 0, sizeof bench->in);
        memcpy(bench->in + bench->heard, bytes, (size_t)rc);
        bench->heard += (size_t)rc;
    }
    if (!(line[0] == 'a' || line[0] == '8') && (size_t)rc != length)
        fail_msg("%s\n  took %zd bytes", line, rc);
}

static void say_line(struct dfu_bench *bench, const char *line)
{
    unsigned type, request, value, index, length;
    int used = 0;
    uint8_t bytes[DFU_LINE_MAX] = {0};
    uint16_t given[64];
    if (sscanf(line, "sleep %u", &value) == 1) {
        dfu_bench_wait(bench, value * (uint64_t)MILLISECOND);
        return;
    }
    if (strncmp(line, "reset", 5) == 0) {
        judge(bench, line, line + 5, bytes, usb_reset(bench->usb, &bench->err), 0);
        return;
    }
    if (sscanf(line, "%x %x %x %x %x%n", &type, &request, &value, &index, &length, &used) != 5)
        fail_msg("no request: %s", line);
    const char *rest = line + used, *bracket = strchr(rest, '[');
    const struct usb_setup setup = {(uint8_t)type, (uint8_t)request, (uint16_t)value,
                                    (uint16_t)index, (uint16_t)length};
    for (size_t i = 0, n = bracket ? hex_bytes(bracket + 1, given, 64) : 0; i < n; i++)
        bytes[i] = (uint8_t)given[i];
    if (strchr(rest, '<')) {
        assert_in_range(bench->sent + length, 0, sizeof bench->out);
        memcpy(bytes, bench->out + bench->sent, length);
        bench->sent += length;
    }
    ssize_t rc = usb_control(bench->usb, &setup, bytes, clock_in(bench->usb->clock, REQUEST_US),
                             &bench->err);
    judge(bench, line, rest, bytes, rc, length);
}

void dfu_trace(struct dfu_bench *bench, const char *lines)
{
    char line[256];
    while (*lines) {
        size_t length = strcspn(lines, "\n");
        (void)snprintf(line, sizeof line, "%.*s", (int)length, lines);
        if (length)
            say_line(bench, line);
        lines += length + (lines[length] == '\n');
    }
}

uint32_t dfu_status_is(struct dfu_bench *bench, uint8_t code, uint8_t state)
{
    const struct usb_setup setup = {0xa1, 3, 0, 0, 6};
    uint8_t answer[6];
    ssize_t rc = usb_control(bench->usb, &setup, answer, clock_in(bench->usb->clock, REQUEST_US),
                             &bench->err);
    if (rc != sizeof answer)
        fail_msg("status: %zd: %s", rc, bench->err.message);
    if (answer[0] != code || answer[4] != state)
        fail_msg("status %02x in state %u, not %02x in %u", answer[0], answer[4], code, state);
    return answer[1] | (uint32_t)answer[2] << 8 | (uint32_t)answer[3] << 16;
}

/* ---- the method ---- */

void dfu_image(struct dfu_bench *bench, uint64_t address, size_t length)
{
    uint8_t *bytes = malloc(length);
    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = noise(i, 7);
    if (length >= 8 && address < qspi_start) {
        put_le32(bytes, SP);
        put_le32(bytes + 4, (uint32_t)address + 0x101);
    }
    dfu_assert_ok(bench, image_add(&bench->image, MEM_FLASH, address, bytes, length, &bench->err));
    free(bytes);
}

bool dfu_holds_image(const struct dfu_bench *bench)
{
    for (size_t i = 0; i < bench->image.count; i++) {
        const struct segment *s = &bench->image.segments[i];
        const uint8_t *memory = s->address >= qspi_start
                                    ? bench->qspi + (s->address - qspi_start)
                                    : bench->flash + (s->address - bench->base);
        if (memcmp(memory, s->data, s->length) != 0)
            return false;
    }
    return true;
}

void dfu_set(struct dfu_bench *bench, const char *key, const char *value)
{
    assert_in_range(bench->loader.setting_count, 0, DFU_SETTINGS - 1);
    bench->settings[bench->loader.setting_count++] = (struct setting){key, value};
}

static void on_advance(void *user, size_t bytes)
{
    struct dfu_bench *bench = user;
    assert_in_range(bytes, 1, DFU_FLASH_MAX);
    bench->advanced += bytes;
    if (bench->stop_at && bench->advanced >= bench->stop_at)
        bench->stop = 1;
}

static void on_note(void *user, const char *text)
{
    struct dfu_bench *bench = user;
    size_t used = strlen(bench->notes);
    (void)snprintf(bench->notes + used, sizeof bench->notes - used, "%s\n", text);
}

static void prepare(struct dfu_bench *bench)
{
    const bool force_signature = bench->session.force_signature;
    uint64_t start = bench->loader.start, end = 0;
    (void)image_extent(&bench->image, MEM_FLASH, &start, &end);
    bench->session = (struct session){
        .method = &method_dfu,
        .chip = bench->config.chip,
        .loader = &bench->loader,
        .usb = bench->usb,
        .clock = bench->usb->clock,
        .program = start,
        .force_signature = force_signature,
        .stop = &bench->stop,
        .advance = on_advance,
        .note = on_note,
        .user = bench,
    };
    bench->notes[0] = '\0';
    bench->advanced = 0;
    bench->stop = 0;
}

int dfu_connects(struct dfu_bench *bench, const struct line_faults *faults)
{
    dfu_bench_open(bench, faults);
    prepare(bench);
    uint64_t begun = dfu_bench_now(bench);
    int rc = method_dfu.connect(&bench->session, &bench->err);
    bench->connecting = dfu_bench_now(bench) - begun;
    bench->connected = rc == OK;
    return rc;
}

void dfu_ends(struct dfu_bench *bench)
{
    if (bench->connected)
        method_dfu.disconnect(&bench->session);
    bench->connected = false;
    if (bench->usb)
        dfu_bench_close(bench);
}

/* The image's sectors in all memories. */
static int erase_sectors(struct dfu_bench *bench)
{
    const struct regions regions = regions_of(bench->config.chip, &bench->loader);
    struct span *ranges;
    size_t count;
    assert_int_equal(plan_sectors(&bench->image, &regions, MEM_FLASH, false, &ranges, &count), OK);
    int rc = count ? method_dfu.erase(&bench->session, ranges, count, &bench->err) : OK;
    free(ranges);
    return rc;
}

int dfu_erases(struct dfu_bench *bench)
{
    if (method_dfu.style(&bench->loader) == ERASE_BY_WRITE)
        return OK;
    uint64_t begun = dfu_bench_now(bench);
    int rc = erase_sectors(bench);
    bench->erasing = dfu_bench_now(bench) - begun;
    return rc;
}

static struct job job_of(const struct dfu_bench *bench)
{
    return (struct job){.image = &bench->image,
                        .region = chip_region(bench->config.chip, MEM_FLASH)};
}

int dfu_writes(struct dfu_bench *bench)
{
    const struct job job = job_of(bench);
    uint64_t begun = dfu_bench_now(bench);
    bench->advanced = 0;
    int rc = method_dfu.write(&bench->session, &job, &bench->err);
    bench->writing = dfu_bench_now(bench) - begun;
    return rc;
}

int dfu_verifies(struct dfu_bench *bench)
{
    struct job job = job_of(bench);
    uint64_t begun = dfu_bench_now(bench);
    bench->advanced = 0;
    int rc = verify_by_reading(&bench->session, &job, &bench->err);
    job.region = &external;
    if (rc == OK)
        rc = verify_by_reading(&bench->session, &job, &bench->err);
    bench->reading = dfu_bench_now(bench) - begun;
    return rc;
}

int dfu_runs(struct dfu_bench *bench, const struct line_faults *faults)
{
    uint64_t begun = dfu_bench_now(bench);
    int rc = dfu_connects(bench, faults);
    if (rc == OK)
        rc = dfu_erases(bench);
    if (rc == OK)
        rc = dfu_writes(bench);
    if (rc == OK && bench->model != &vmodel_dfu_plain) /* that leaves as it ends */
        rc = dfu_verifies(bench);
    if (rc == OK)
        rc = method_dfu.run(&bench->session, &bench->err);
    bench->whole = dfu_bench_now(bench) - begun;
    bench->messages = virtual_usb_bus(bench->usb)->messages;
    dfu_ends(bench);
    virtual_usb_elapse(bench->device, SECOND); /* what was started is started */
    return rc;
}

void dfu_assert_ok(const struct dfu_bench *bench, int rc)
{
    if (rc != OK)
        fail_msg("%s: %s", error_code_name((enum error_code)rc), bench->err.message);
}

void dfu_assert_says(const struct dfu_bench *bench, const char *text)
{
    if (!strstr(bench->err.message, text) && !strstr(bench->err.hint, text))
        fail_msg("\"%s\" is not in: %s | %s", text, bench->err.message, bench->err.hint);
}
