/* Serial ports on USB, as virtual devices: what a serial model with USB of its own is on the bus,
 * and Klipper as the application of a board that is something else in its bootloader. */
#include "katapult_bench.h"

#include <stdlib.h>
#include <string.h>

#include "board/chip.h"
#include "usb_klipper.h"
#include "usb_serial.h"
#include "virtual_usb.h"

static const struct usb_serial_faces faces = {
    .loader = {0x1d50, 0x6177, 0x0100, "katapult", "stm32f407xx", "404142434445464748494A4B"},
    .klipper = {0x1d50, 0x614e, 0x0100, "Klipper", "stm32f407xx", "404142434445464748494A4B"},
    .application = {0x1209, 0x0001, 0x0100, NULL, NULL, NULL},
};

/* ---- a serial model that does what it is told ---- */

struct talker {
    struct vserial serial; /* first */
    bool application;
    uint64_t busy_until;
    uint8_t heard[512];
    unsigned count, packets;
    uint32_t packet;
    bool dtr, rts;
    uint32_t baud;
    bool silent_reset;
};

static struct talker *talker_of(struct vserial *dev)
{
    return (struct talker *)dev;
}

static void talker_reset(struct vserial *dev, enum vreset cause)
{
    (void)cause;
    struct talker *talker = talker_of(dev);
    talker->application = false;
    if (!talker->silent_reset)
        dev->line->detach(dev->line, dev->line->now + 400 * MILLISECOND);
}

/* Echo; 'B' is busy for 10 ms, 'D' throws the rest of its packet away, 'A' starts the application.
 */
static void talker_receive(struct vserial *dev, uint8_t byte)
{
    struct talker *talker = talker_of(dev);
    talker->heard[talker->count++ % sizeof talker->heard] = byte;
    talker->packets += dev->line->packet != talker->packet;
    talker->packet = dev->line->packet;
    dev->line->send(dev->line, byte);
    if (byte == 'B')
        talker->busy_until = dev->line->now + 10 * MILLISECOND;
    if (byte == 'D')
        dev->line->drop_packet(dev->line);
    if (byte == 'A') {
        talker->application = true;
        dev->line->detach(dev->line, dev->line->now + 400 * MILLISECOND);
    }
}

static uint64_t talker_next(const struct vserial *dev)
{
    const struct talker *talker = (const struct talker *)dev;
    return talker->busy_until ? talker->busy_until : UINT64_MAX;
}

static void talker_tick(struct vserial *dev)
{
    talker_of(dev)->busy_until = 0;
}

static bool talker_busy(const struct vserial *dev)
{
    return ((const struct talker *)dev)->busy_until != 0;
}

static void talker_lines(struct vserial *dev, bool dtr, bool rts, uint32_t baud)
{
    struct talker *talker = talker_of(dev);
    talker->dtr = dtr;
    talker->rts = rts;
    talker->baud = baud;
}

static enum vprogram talker_runs(const struct vserial *dev)
{
    return ((const struct talker *)dev)->application ? VPROGRAM_APPLICATION : VPROGRAM_LOADER;
}

static void talker_destroy(struct vserial *dev)
{
    (void)dev;
}

static const struct vserial_ops talker_ops = {
    .reset = talker_reset,
    .receive = talker_receive,
    .next = talker_next,
    .tick = talker_tick,
    .lines = talker_lines,
    .busy = talker_busy,
    .runs = talker_runs,
    .destroy = talker_destroy,
};

/* ---- the rig ---- */

struct rig {
    struct talker talker;
    uint8_t flash[4096];
    struct vusb *device;
    struct usb *usb;
    struct error err;
};

static struct rig *rig_new(void)
{
    static struct rig rig;
    memset(&rig, 0, sizeof rig);
    memset(rig.flash, 0xff, sizeof rig.flash);
    rig.talker.serial.ops = &talker_ops;
    const struct vmemory flash = {.bytes = rig.flash, .size = sizeof rig.flash};
    rig.device = usb_serial(&rig.talker.serial, &flash, &faces);
    assert_non_null(rig.device);
    rig.usb = virtual_usb(rig.device, NULL);
    assert_non_null(rig.usb);
    return &rig;
}

static void rig_free(struct rig *rig)
{
    usb_close(rig->usb);
    rig->device->ops->destroy(rig->device);
}

static void reopen(struct rig *rig)
{
    usb_close(rig->usb);
    rig->usb = virtual_usb(rig->device, NULL);
    assert_non_null(rig->usb);
}

static uint64_t soon(struct usb *usb)
{
    return clock_in(usb->clock, SECOND);
}

static int request(struct usb *usb, uint8_t type, uint8_t number, uint16_t value, uint16_t index,
                   uint8_t *bytes, uint16_t length)
{
    struct error err;
    const struct usb_setup setup = {type, number, value, index, length};
    return (int)usb_control(usb, &setup, bytes, soon(usb), &err);
}

static void say(struct usb *usb, const char *text)
{
    struct error err;
    assert_int_equal(usb_out(usb, CDC_OUT, (const uint8_t *)text, strlen(text), soon(usb), &err),
                     OK);
}

static ssize_t listen(struct usb *usb, uint8_t *bytes, size_t max)
{
    struct error err;
    return usb_in(usb, CDC_IN, bytes, max, soon(usb), &err);
}

static int set_rate(struct usb *usb, uint32_t baud)
{
    uint8_t coding[7] = {(uint8_t)baud, (uint8_t)(baud >> 8), (uint8_t)(baud >> 16), 0, 0, 0, 8};
    return request(usb, 0x21, 0x20, 0, 0, coding, 7);
}

static int set_lines(struct usb *usb, uint16_t lines)
{
    return request(usb, 0x21, 0x22, lines, 0, NULL, 0);
}

static void is_on_the_bus_as(const struct usb *usb, const struct cdc_face *face)
{
    assert_int_equal(usb->device.vid, face->vid);
    assert_int_equal(usb->device.pid, face->pid);
    assert_string_equal(usb->device.manufacturer, face->manufacturer ? face->manufacturer : "");
    assert_string_equal(usb->device.product, face->product ? face->product : "");
    assert_string_equal(usb->device.serial, face->serial ? face->serial : "");
}

/* ---- the port ---- */

static void port_says_what_it_is(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    is_on_the_bus_as(rig->usb, &faces.loader);
    assert_int_equal(rig->usb->device.interface_count, 2);
    assert_int_equal(rig->usb->device.interfaces[0].class, 2);
    assert_int_equal(rig->usb->device.interfaces[1].class, 10);
    rig_free(rig);
}

static void rate_and_lines_reach_the_model(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    uint8_t coding[7] = {0};
    assert_int_equal(request(rig->usb, 0xa1, 0x21, 0, 0, coding, 7), 7);
    assert_memory_equal(coding, "\x00\xc2\x01\x00\x00\x00\x08", 7);
    assert_int_equal(set_lines(rig->usb, 3), 0);
    assert_true(rig->talker.dtr && rig->talker.rts);
    assert_int_equal(rig->talker.baud, 115200);
    assert_int_equal(set_rate(rig->usb, 1200), 7);
    assert_int_equal(rig->talker.baud, 1200);
    assert_int_equal(set_lines(rig->usb, 2), 0);
    assert_false(rig->talker.dtr);
    assert_true(rig->talker.rts);
    assert_int_equal(request(rig->usb, 0xa1, 0x21, 0, 0, coding, 7), 7);
    assert_memory_equal(coding, "\xb0\x04\x00\x00\x00\x00\x08", 7);
    rig_free(rig);
}

static void requests_that_are_almost_right_are_refused(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    uint8_t coding[8] = {0xb0, 4, 0, 0, 0, 0, 8};
    assert_int_equal(request(rig->usb, 0x21, 0x20, 0, 1, coding, 7), ERR_STALL);
    assert_int_equal(request(rig->usb, 0x21, 0x20, 1, 0, coding, 7), ERR_STALL);
    assert_int_equal(request(rig->usb, 0x21, 0x20, 0, 0, coding, 8), ERR_STALL);
    assert_int_equal(request(rig->usb, 0x21, 0x22, 4, 0, NULL, 0), ERR_STALL);
    assert_int_equal(request(rig->usb, 0x21, 0x23, 0, 0, NULL, 0), ERR_STALL);
    assert_int_equal(request(rig->usb, 0x40, 0x22, 3, 0, NULL, 0), ERR_STALL);
    assert_int_equal(rig->talker.baud, 0);
    rig_free(rig);
}

static void bytes_go_there_and_back_in_packets(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    char text[151];
    uint8_t back[512];
    memset(text, 'x', 150);
    text[150] = 0;
    say(rig->usb, text);
    assert_int_equal(rig->talker.count, 150);
    assert_int_equal(rig->talker.packets, 3);
    assert_int_equal(listen(rig->usb, back, sizeof back), 150);
    assert_memory_equal(back, text, 150);
    rig_free(rig);
}

static void whole_packet_is_followed_by_an_empty_one(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    char text[65];
    uint8_t back[512];
    memset(text, 'x', 64);
    text[64] = 0;
    say(rig->usb, text);
    assert_int_equal(listen(rig->usb, back, sizeof back), 64); /* else it would never end */
    rig_free(rig);
}

static void busy_model_takes_no_more_and_loses_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    uint8_t back[64];
    uint64_t before = clock_now(rig->usb->clock);
    say(rig->usb, "abBcd");
    assert_int_equal(rig->talker.count, 3);
    say(rig->usb, "ef");
    assert_true(clock_now(rig->usb->clock) - before >= 10 * MILLISECOND);
    assert_int_equal(rig->talker.count, 7);
    assert_memory_equal(rig->talker.heard, "abBcdef", 7);
    assert_int_equal(listen(rig->usb, back, sizeof back), 7);
    rig_free(rig);
}

static void dropped_packet_is_the_rest_of_one_packet(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    say(rig->usb, "aDxyz");
    say(rig->usb, "bc");
    assert_memory_equal(rig->talker.heard, "aDbc", 4);
    assert_int_equal(rig->talker.count, 4);
    rig_free(rig);
}

/* ---- which program ---- */

static void application_comes_back_as_another_device(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    uint8_t back[64];
    uint64_t before = clock_now(rig->usb->clock);
    struct error err;
    usb_out(rig->usb, CDC_OUT, (const uint8_t *)"A", 1, soon(rig->usb), &err); /* or it is gone */
    assert_int_equal(listen(rig->usb, back, sizeof back), ERR_GONE);
    reopen(rig);
    assert_true(clock_now(rig->usb->clock) - before >= 400 * MILLISECOND);
    is_on_the_bus_as(rig->usb, &faces.application);
    virtual_usb_reset(rig->device, VRESET_PIN);
    reopen(rig);
    is_on_the_bus_as(rig->usb, &faces.loader);
    rig_free(rig);
}

static void model_that_ignores_its_first_power_on_stays(void **state)
{
    (void)state;
    struct rig *rig = rig_new();
    rig->talker.silent_reset = true;
    virtual_usb_reset(rig->device, VRESET_POWER);
    reopen(rig);
    is_on_the_bus_as(rig->usb, &faces.loader);
    rig_free(rig);
}

/* ---- real models ---- */

struct node {
    struct bench *bench;
    struct vusb *device;
    struct usb *usb;
};

static struct node node_with_klipper(size_t *dictionary)
{
    struct node node = {.bench = bench_new(&vmodel_katapult_usb, "stm32f407xx", NULL)};
    memset(node.bench->flash, 0x77, 0x8000);
    put_klipper(node.bench, 0x8000, "\"MCU\":\"stm32f407xx\"", dictionary);
    node.bench->config.app = true;
    node.device = usb_serial(node.bench->model->create(&node.bench->config),
                             &node.bench->config.flash, &faces);
    assert_non_null(node.device);
    node.usb = virtual_usb(node.device, NULL);
    assert_non_null(node.usb);
    return node;
}

static void node_free(struct node *node)
{
    usb_close(node->usb);
    node->device->ops->destroy(node->device);
    free(node->bench);
}

static void touch(struct usb *usb)
{
    assert_int_equal(set_lines(usb, 3), 0);
    assert_int_equal(set_rate(usb, 1200), 7);
    assert_int_equal(set_lines(usb, 2), 0);
}

static const uint8_t identify[] = {0x08, 0x10, 0x01, 0x00, 0x28, 0x5e, 0x9f, 0x7e};

/* The first 40 bytes of its dictionary, and the ack. */
static void tells_its_dictionary(struct usb *usb, const uint8_t *dictionary)
{
    uint8_t back[128];
    struct error err;
    assert_int_equal(usb_out(usb, CDC_OUT, identify, sizeof identify, soon(usb), &err), OK);
    assert_int_equal(listen(usb, back, sizeof back), 48 + 5);
    assert_memory_equal(back + 5, dictionary, 40);
}

static void klipper_answers_and_goes_into_katapult_at_1200_baud(void **state)
{
    (void)state;
    size_t at;
    uint8_t packet[64], back[128];
    struct error err;
    struct node node = node_with_klipper(&at);
    is_on_the_bus_as(node.usb, &faces.klipper);
    tells_its_dictionary(node.usb, node.bench->flash + at);
    touch(node.usb);
    assert_int_equal(listen(node.usb, back, sizeof back), ERR_GONE);
    usb_close(node.usb);
    node.usb = virtual_usb(node.device, NULL);
    is_on_the_bus_as(node.usb, &faces.loader);
    size_t length = bench_hex(CONNECT, packet, sizeof packet);
    assert_int_equal(usb_out(node.usb, CDC_OUT, packet, length, soon(node.usb), &err), OK);
    assert_true(listen(node.usb, back, sizeof back) > 32);
    assert_memory_equal(back, "\x01\x88\xa0", 3);
    node_free(&node);
}

static void model_that_knows_no_klipper_has_one_all_the_same(void **state)
{
    (void)state;
    size_t at;
    struct bench *bench = bench_new(&vmodel_caterina, "atmega32u4", NULL);
    put_klipper(bench, 0, "\"MCU\":\"atmega32u4\"", &at);
    bench->config.app = true;
    struct vusb *device =
        usb_serial(bench->model->create(&bench->config), &bench->config.flash, &faces);
    struct usb *usb = virtual_usb(device, NULL);
    is_on_the_bus_as(usb, &faces.klipper);
    tells_its_dictionary(usb, bench->flash + at);
    usb_close(usb);
    device->ops->destroy(device);
    free(bench);
}

/* ---- Klipper as a part of another board ---- */

struct other_board {
    struct vusb usb; /* first */
    struct vusb_klipper klipper;
    struct vmemory flash;
    bool asked;
};

static struct other_board *other_of(struct vusb *dev)
{
    return (struct other_board *)dev;
}

static enum vusb_answer other_control(struct vusb *dev, const struct vusb_setup *setup,
                                      uint8_t *data, size_t *length)
{
    return vusb_klipper_control(&other_of(dev)->klipper, dev->bus, setup, data, length);
}

static enum vusb_answer other_out(struct vusb *dev, uint8_t endpoint, const uint8_t *packet,
                                  size_t length)
{
    return vusb_klipper_out(&other_of(dev)->klipper, dev->bus, endpoint, packet, length);
}

static enum vusb_answer other_in(struct vusb *dev, uint8_t endpoint, uint8_t *packet,
                                 size_t *length)
{
    return vusb_klipper_in(&other_of(dev)->klipper, endpoint, packet, length);
}

static uint64_t other_next(const struct vusb *dev)
{
    return vusb_klipper_next(&((const struct other_board *)dev)->klipper);
}

static void other_tick(struct vusb *dev)
{
    struct other_board *board = other_of(dev);
    if (!vusb_klipper_leaves(&board->klipper, dev->bus))
        return;
    vusb_klipper_stop(&board->klipper);
    board->asked = true;
    dev->bus->detach(dev->bus, UINT64_MAX);
}

static const struct vusb_ops other_ops = {
    .control = other_control,
    .out = other_out,
    .in = other_in,
    .next = other_next,
    .tick = other_tick,
};

static void klipper_is_a_part_of_a_board(void **state)
{
    (void)state;
    static struct other_board board;
    size_t at;
    uint8_t back[64];
    struct bench *bench = bench_new(&vmodel_katapult_usb, "stm32f407xx", NULL);
    put_klipper(bench, 0x8000, "\"MCU\":\"stm32f407xx\"", &at);
    board = (struct other_board){.usb = {.ops = &other_ops}, .flash = bench->config.flash};
    assert_true(vusb_klipper_start(&board.klipper, bench->config.chip, 0, &board.flash, 0x8000));
    board.usb.identity = &board.klipper.face.identity;
    struct usb *usb = virtual_usb(&board.usb, NULL);
    is_on_the_bus_as(usb, &faces.klipper);
    tells_its_dictionary(usb, bench->flash + at);
    touch(usb);
    assert_int_equal(listen(usb, back, sizeof back), ERR_GONE);
    assert_true(board.asked);
    usb_close(usb);
    free(bench);
}

static void program_for_a_uart_is_no_usb_device(void **state)
{
    (void)state;
    static struct vusb_klipper klipper;
    size_t at;
    struct bench *bench = bench_new(&vmodel_katapult_usb, "stm32f407xx", NULL);
    put_klipper(bench, 0x8000, "\"SERIAL_BAUD\":250000,\"MCU\":\"stm32f407xx\"", &at);
    assert_false(vusb_klipper_start(&klipper, bench->config.chip, 0, &bench->config.flash, 0x8000));
    put_program(bench, 0x8000);
    memset(bench->flash + at, 0, 64);
    assert_false(vusb_klipper_start(&klipper, bench->config.chip, 0, &bench->config.flash, 0x8000));
    free(bench);
}

static void chips_of_a_kind_have_numbers_of_their_own(void **state)
{
    (void)state;
    char text[CDC_TEXT_MAX];
    cdc_chip_serial(text, chip_find("stm32f407xx"), 0);
    assert_string_equal(text, "404142434445464748494A4B");
    cdc_chip_serial(text, chip_find("stm32f407xx"), 1);
    assert_string_equal(text, "505152535455565758595A5B");
    cdc_chip_serial(text, chip_find("rp2040"), 0);
    assert_string_equal(text, "E660D4A0A72C6F2A");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(port_says_what_it_is),
        cmocka_unit_test(rate_and_lines_reach_the_model),
        cmocka_unit_test(requests_that_are_almost_right_are_refused),
        cmocka_unit_test(bytes_go_there_and_back_in_packets),
        cmocka_unit_test(whole_packet_is_followed_by_an_empty_one),
        cmocka_unit_test(busy_model_takes_no_more_and_loses_nothing),
        cmocka_unit_test(dropped_packet_is_the_rest_of_one_packet),
        cmocka_unit_test(application_comes_back_as_another_device),
        cmocka_unit_test(model_that_ignores_its_first_power_on_stays),
        cmocka_unit_test(klipper_answers_and_goes_into_katapult_at_1200_baud),
        cmocka_unit_test(model_that_knows_no_klipper_has_one_all_the_same),
        cmocka_unit_test(klipper_is_a_part_of_a_board),
        cmocka_unit_test(program_for_a_uart_is_no_usb_device),
        cmocka_unit_test(chips_of_a_kind_have_numbers_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
