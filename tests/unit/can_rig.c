/* See can_rig.h. */
#include "can_rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"

enum { HEAR_US = 12 * SECOND, SILENCE_US = 100 * MILLISECOND, DICTIONARY_AT = 0x100 };

/* Noise that is the same each time. */
static uint8_t noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u; /* Numerical Recipes, §7.1 */
    return (uint8_t)(*seed >> 24);
}

/* ---- boards ---- */

/* The chip id, as the test vectors of the sheet begin: 40 41 …, 50 51 … */
static void name_node(struct rig_node *node, unsigned n)
{
    char serial[2 * 12 + 1] = "";
    for (unsigned i = 0; i < 12; i++) {
        uint8_t byte = (uint8_t)(0x40 + 0x10 * n + i);
        if (i == 11)
            byte ^= (uint8_t)(n >> 4);
        (void)snprintf(serial + 2 * i, 3, "%02X", byte);
    }
    if (!node->rig->chip->stm32)
        (void)snprintf(serial, sizeof serial, "E660D4A0A72C6F%02X", (uint8_t)(0x2a + n));
    assert_true(can_uuid_of_chip_id(serial, node->uuid));
}

void can_rig_remake(struct can_rig *rig, size_t n)
{
    struct rig_node *node = &rig->nodes[n];
    if (node->device)
        node->device->ops->destroy(node->device);
    node->device = vmodel_katapult_can.create_can(&node->config);
    assert_non_null(node->device);
}

static void make_node(struct can_rig *rig, size_t n, const char *variant, bool used)
{
    struct rig_node *node = &rig->nodes[n];
    size_t size = (size_t)rig->chip->regions[0].size;
    uint32_t seed = 1 + (uint32_t)n;
    node->rig = rig;
    node->flash = malloc(size);
    assert_non_null(node->flash);
    for (size_t i = 0; i < size; i++)
        node->flash[i] = used ? noise(&seed) : 0xff;
    node->config = (struct vconfig){.chip = rig->chip,
                                    .flash = {node->flash, size, UINT64_MAX},
                                    .variant = variant,
                                    .node = (unsigned)n};
    node->loader = (struct loader){.method = "katapult-can", .enter = "klipper-can ask"};
    name_node(node, (unsigned)n);
    can_rig_remake(rig, n);
}

static void end_bus(struct can_rig *rig)
{
    can_close(rig->host);
    virtual_bus_free(rig->bus);
    rig->host = NULL;
    rig->bus = NULL;
}

void can_rig_bus(struct can_rig *rig, const struct can_bus_faults *faults)
{
    end_bus(rig);
    rig->bus = virtual_bus_new(rig->bitrate, faults);
    assert_non_null(rig->bus);
    for (size_t n = 0; n < rig->count; n++)
        assert_true(virtual_bus_add(rig->bus, rig->nodes[n].device));
}

struct can_rig *can_rig_new(const char *chip, size_t count, uint32_t bitrate, const char *variant,
                            bool used)
{
    struct can_rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    assert_true(count <= RIG_NODES);
    rig->chip = chip_find(chip);
    assert_non_null(rig->chip);
    rig->bitrate = bitrate;
    rig->count = count;
    for (size_t n = 0; n < count; n++)
        make_node(rig, n, variant, used);
    can_rig_bus(rig, NULL);
    return rig;
}

void can_rig_free(struct can_rig *rig)
{
    for (size_t n = 0; n < rig->count; n++)
        rig_node_close(&rig->nodes[n]);
    end_bus(rig);
    for (size_t n = 0; n < rig->count; n++) {
        struct rig_node *node = &rig->nodes[n];
        node->device->ops->destroy(node->device);
        image_free(&node->image);
        free(node->flash);
    }
    free(rig);
}

struct can_rig *can_rig_f103(size_t count)
{
    return can_rig_new("stm32f103xe", count, CAN_BUS_BITRATE, "button", true);
}

void can_rig_reset(struct can_rig *rig)
{
    virtual_bus_reset(rig->bus, NULL, VRESET_POWER);
    virtual_bus_elapse(rig->bus, SECOND);
}

static size_t application_offset(const struct can_rig *rig)
{
    const char *name = rig->chip->name;
    return strncmp(name, "rp2", 3) == 0       ? 0x4000
           : strncmp(name, "stm32h7", 7) == 0 ? 0x20000
           : strncmp(name, "stm32f4", 7) == 0 ? 0x8000
                                              : 0x2000;
}

void can_rig_klipper(struct can_rig *rig, size_t n, const char *config, const char *variant)
{
    struct rig_node *node = &rig->nodes[n];
    uint8_t *program = node->flash + application_offset(rig);
    char json[1024];
    uLongf length = sizeof json;
    int size = snprintf(json, sizeof json,
                        "{\"app\":\"Klipper\",\"commands\":{\"identify offset=%%u count=%%c\":1,"
                        "\"reset\":63},\"config\":{%s},\"version\":\"v0.12.0-200-gabcdef12\"}",
                        config);
    assert_in_range(size, 1, sizeof json - 1);
    put_le32(program, 0x20005000);
    assert_int_equal(
        compress2(program + DICTIONARY_AT, &length, (const uint8_t *)json, (uLong)size, 9), Z_OK);
    node->config.app = true;
    node->config.variant = variant;
    end_bus(rig);
    can_rig_remake(rig, n);
    can_rig_bus(rig, NULL);
}

/* ---- speaking by oneself ---- */

static void host(struct can_rig *rig)
{
    if (rig->host)
        return;
    rig->host = virtual_can(rig->bus);
    assert_non_null(rig->host);
    assert_int_equal(can_listen_all(rig->host, NULL), OK);
}

static struct can_frame parse(const char *text)
{
    char *end;
    struct can_frame frame = {.can_id = (canid_t)strtoul(text, &end, 16)};
    for (const char *at = end;; at = end) {
        unsigned long value = strtoul(at, &end, 16);
        if (end == at)
            return frame;
        assert_true(value < 0x100 && frame.len < CAN_MAX_DLEN);
        frame.data[frame.len++] = (uint8_t)value;
    }
}

static void print(char *text, const struct can_frame *frame)
{
    text += sprintf(text, "%03X", frame->can_id);
    for (size_t i = 0; i < frame->len; i++)
        text += sprintf(text, " %02X", frame->data[i]);
}

static void hears(struct can_rig *rig, const char *line)
{
    char heard[64], expected[64];
    struct can_frame frame = parse(line);
    print(expected, &frame);
    uint64_t deadline = clock_in(rig->host->clock, HEAR_US);
    if (can_receive(rig->host, &frame, deadline, NULL) != 1)
        fail_msg("silence instead of %s", expected);
    print(heard, &frame);
    assert_string_equal(heard, expected);
}

static void hears_nothing(struct can_rig *rig)
{
    struct can_frame frame;
    char heard[64] = "";
    uint64_t deadline = clock_in(rig->host->clock, SILENCE_US);
    if (can_receive(rig->host, &frame, deadline, NULL) != 0)
        print(heard, &frame);
    assert_string_equal(heard, "");
}

static void waits(struct can_rig *rig, const char *line)
{
    struct clock *clock = rig->host->clock;
    clock->sleep_until(clock, clock_in(clock, strtoul(line, NULL, 10) * MILLISECOND));
}

void can_rig_play(struct can_rig *rig, const char *const *lines)
{
    host(rig);
    for (; *lines; lines++) {
        const char *line = *lines + 1;
        struct can_frame frame = parse(line);
        switch (**lines) {
        case '>':
            assert_int_equal(
                can_send(rig->host, (uint16_t)frame.can_id, frame.data, frame.len, NULL), OK);
            break;
        case '<':
            hears(rig, line);
            break;
        case '-':
            waits(rig, line);
            break;
        case '.':
            hears_nothing(rig);
            break;
        default:
            fail_msg("%s", *lines);
        }
    }
}

/* ---- whole runs ---- */

static void keep_note(void *user, const char *text)
{
    struct rig_node *node = user;
    size_t used = strlen(node->notes);
    (void)snprintf(node->notes + used, sizeof node->notes - used, "%s\n", text);
}

static void count_bytes(void *user, size_t bytes)
{
    struct rig_node *node = user;
    node->advanced += bytes;
    if (node->stop_at && node->advanced >= node->stop_at)
        node->stop = 1;
}

void rig_node_image(struct rig_node *node, uint64_t address, size_t length)
{
    uint8_t *bytes = malloc(length);
    uint32_t seed = 99 + node->config.node;
    assert_non_null(bytes);
    for (size_t i = 0; i < length; i++)
        bytes[i] = noise(&seed);
    assert_int_equal(image_add(&node->image, MEM_FLASH, address, bytes, length, NULL), OK);
    free(bytes);
}

struct job rig_node_job(const struct rig_node *node)
{
    return (struct job){.image = &node->image, .region = chip_region(node->rig->chip, MEM_FLASH)};
}

int rig_node_connect(struct rig_node *node)
{
    error_clear(&node->err);
    node->notes[0] = '\0';
    node->advanced = 0;
    node->stop = 0;
    if (!node->can)
        node->can = virtual_can(node->rig->bus);
    assert_non_null(node->can);
    node->session = (struct session){.method = &method_katapult_can,
                                     .chip = node->rig->chip,
                                     .loader = &node->loader,
                                     .can = node->can,
                                     .uuid = node->uuid,
                                     .clock = node->can->clock,
                                     .force_signature = node->session.force_signature,
                                     .stop = &node->stop,
                                     .advance = count_bytes,
                                     .note = keep_note,
                                     .user = node};
    uint64_t begun = clock_now(node->can->clock);
    node->rc = method_katapult_can.connect(&node->session, &node->err);
    node->connected = node->rc == OK;
    node->connecting = clock_now(node->can->clock) - begun;
    return node->rc;
}

void rig_node_close(struct rig_node *node)
{
    if (node->connected)
        method_katapult_can.disconnect(&node->session);
    can_close(node->can);
    node->connected = false;
    node->can = NULL;
}

static int run_connected(struct rig_node *node)
{
    const struct job job = rig_node_job(node);
    struct clock *clock = node->can->clock;
    uint64_t begun = clock_now(clock);
    int rc = method_katapult_can.write(&node->session, &job, &node->err);
    uint64_t written = clock_now(clock);
    if (rc == OK)
        rc = verify_by_reading(&node->session, &job, &node->err);
    node->writing = written - begun;
    node->verifying = clock_now(clock) - written;
    return rc == OK ? method_katapult_can.run(&node->session, &node->err) : rc;
}

int rig_node_run(struct rig_node *node)
{
    int rc = rig_node_connect(node);
    uint64_t begun = clock_now(node->can->clock) - node->connecting;
    if (rc == OK)
        rc = run_connected(node);
    node->rc = rc;
    node->whole = clock_now(node->can->clock) - begun;
    rig_node_close(node);
    return rc;
}

bool rig_node_holds_image(const struct rig_node *node)
{
    const struct segment *s = &node->image.segments[0];
    return memcmp(node->flash + (s->address - node->rig->chip->regions[0].start), s->data,
                  s->length) == 0;
}

void rig_node_assert_ok(const struct rig_node *node)
{
    if (node->rc != OK)
        fail_msg("node %u: %s: %s", node->config.node, error_code_name((enum error_code)node->rc),
                 node->err.message);
}

void rig_node_assert_run(struct rig_node *node)
{
    (void)rig_node_run(node);
    rig_node_assert_ok(node);
    assert_true(rig_node_holds_image(node));
}

static void *run_in_thread(void *node)
{
    (void)rig_node_run(node);
    return NULL;
}

uint64_t can_rig_run_all(struct can_rig *rig)
{
    pthread_t threads[RIG_NODES];
    uint64_t whole = 0;
    virtual_bus_expect(rig->bus, (unsigned)rig->count);
    for (size_t n = 0; n < rig->count; n++)
        assert_int_equal(pthread_create(&threads[n], NULL, run_in_thread, &rig->nodes[n]), 0);
    for (size_t n = 0; n < rig->count; n++) {
        assert_int_equal(pthread_join(threads[n], NULL), 0);
        whole = rig->nodes[n].whole > whole ? rig->nodes[n].whole : whole;
    }
    return whole;
}
