/*
 * Katapult on a UART and on USB CDC: the transports of katapult.h that are a serial port.
 *
 * Two things to know: on a UART nobody says "wait": bytes that come while flash is worked on are
 * lost. On USB nothing is lost, but parts with ST's "usbfs" hold their first packet back until a
 * second one is there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/chip.h"
#include "katapult.h"
#include "klipper_app.h"

enum {
    BAUD = 250000,
    UART_START = 100 * MILLISECOND, /* reset, clocks; the sheets name 10 to 600 ms */
    USB_START = 400 * MILLISECOND,  /* off the bus between two identities */
    USB_PACKET = 64,
    USB_PACKET_NS = 52632, /* USB 2.0 table 5-9 */
    NS = 1000,             /* in a microsecond */
};

struct board {
    struct vserial serial; /* first */
    struct katapult katapult;
    struct klipper_app app;
    uint64_t sent_at; /* nanoseconds: when the transmit buffer is empty */
    /* USB: packets since the device came to the bus, and bytes of the first one, held back. */
    unsigned packets;
    uint8_t held[KATAPULT_PACKET_MAX];
    size_t held_count;
};

static struct board *board_of(struct vserial *dev)
{
    return (struct board *)dev;
}

static struct board *board_of_node(struct katapult *k)
{
    return (struct board *)((char *)k - offsetof(struct board, katapult));
}

static bool is_usb(const struct board *board)
{
    return board->app.link == KLIPPER_USB;
}

/* Every call into the node begins with the time. */
static struct katapult *node(struct board *board)
{
    const struct vserial *serial = &board->serial;
    board->katapult.now = serial->line ? serial->line->now : serial->parked;
    board->katapult.paced = serial->line && serial->line->paced;
    return &board->katapult;
}

/* ---- packets for the host ---- */

static uint64_t byte_ns(const struct board *board)
{
    return is_usb(board) ? USB_PACKET_NS / USB_PACKET : (uint64_t)10 * 1000000000 / BAUD;
}

static void put(struct board *board, const uint8_t *bytes, size_t length)
{
    uint64_t now = board->katapult.now * NS;
    if (board->sent_at < now)
        board->sent_at = now;
    if (board->katapult.paced)
        board->sent_at += length * byte_ns(board);
    for (size_t i = 0; i < length; i++)
        board->serial.line->send(board->serial.line, bytes[i]);
}

static size_t unsent(const struct katapult *k)
{
    const struct board *board =
        (const struct board *)((const char *)k - offsetof(struct board, katapult));
    uint64_t now = k->now * NS, byte = byte_ns(board);
    return board->sent_at > now ? (size_t)((board->sent_at - now + byte - 1) / byte) : 0;
}

static void send_uart(struct katapult *k, const uint8_t *packet, size_t length)
{
    put(board_of_node(k), packet, length);
}

static void send_usb(struct katapult *k, const uint8_t *packet, size_t length)
{
    struct board *board = board_of_node(k);
    board->packets += (unsigned)((length + USB_PACKET - 1) / USB_PACKET);
    if (board->packets < 2 && k->flash_kind->double_buffered) {
        memcpy(board->held, packet, length);
        board->held_count = length;
        return;
    }
    put(board, board->held, board->held_count);
    board->held_count = 0;
    put(board, packet, length);
}

/* ---- life ---- */

static void leave_bus(struct board *board, uint64_t back_at)
{
    struct vline *line = board->serial.line;
    board->packets = 0;
    board->held_count = 0;
    board->sent_at = 0;
    if (line && line->detach)
        line->detach(line, back_at);
}

static void start_application(struct board *board)
{
    struct katapult *k = &board->katapult;
    board->app.running = false;
    if (k->state == KATAPULT_APPLICATION)
        klipper_app_start(&board->app, &k->flash, k->start - k->chip->regions[0].start,
                          board->app.link);
}

static void uart_restarted(struct katapult *k)
{
    struct board *board = board_of_node(k);
    board->sent_at = 0;
    start_application(board);
    board->serial.baud = board->app.running ? board->app.baud : BAUD;
}

/* Who hangs in a fault from the start never comes to the bus. */
static void usb_restarted(struct katapult *k)
{
    struct board *board = board_of_node(k);
    start_application(board);
    leave_bus(board, k->state == KATAPULT_FAULTED    ? UINT64_MAX
                     : k->state == KATAPULT_STARTING ? k->until
                     : k->state == KATAPULT_WINDOW   ? k->until + USB_START
                                                     : k->now + USB_START);
}

static void board_reset(struct vserial *dev, enum vreset cause)
{
    struct katapult *k = node(board_of(dev));
    katapult_restart(k, cause == VRESET_POWER ? KATAPULT_POWER : KATAPULT_PIN);
}

static void board_receive(struct vserial *dev, uint8_t byte)
{
    struct board *board = board_of(dev);
    struct katapult *k = node(board);
    if (k->state == KATAPULT_APPLICATION)
        klipper_app_receive(&board->app, dev->line, byte);
    else
        katapult_take(k, byte);
}

/* USB: what the receive buffer has no room for waits at the host. */
static bool board_busy(const struct vserial *dev)
{
    const struct board *board = (const struct board *)dev;
    const struct katapult *k = &board->katapult;
    bool loader = k->state == KATAPULT_LOADER || k->state == KATAPULT_ERASING ||
                  k->state == KATAPULT_PROGRAMMING;
    return katapult_stalled(k) || (is_usb(board) && loader && katapult_room(k) == 0);
}

static void board_lines(struct vserial *dev, bool dtr, bool rts, uint32_t baud)
{
    (void)rts;
    struct board *board = board_of(dev);
    struct katapult *k = node(board);
    if (k->state == KATAPULT_APPLICATION)
        klipper_app_lines(&board->app, dtr, baud, k->now);
}

/* ---- time ---- */

static bool app_runs(const struct board *board)
{
    return board->katapult.state == KATAPULT_APPLICATION && board->app.running;
}

static uint64_t board_next(const struct vserial *dev)
{
    const struct board *board = (const struct board *)dev;
    return app_runs(board) ? board->app.leave_at : katapult_next(&board->katapult);
}

static void board_tick(struct vserial *dev)
{
    struct board *board = board_of(dev);
    struct katapult *k = node(board);
    if (!app_runs(board))
        katapult_tick(k);
    else if (board->app.leave_at <= k->now)
        katapult_restart(k, KATAPULT_REQUESTED);
}

static enum vprogram board_runs(const struct vserial *dev)
{
    const struct board *board = (const struct board *)dev;
    if (board->katapult.state != KATAPULT_APPLICATION)
        return VPROGRAM_LOADER;
    return board->app.running ? VPROGRAM_KLIPPER : VPROGRAM_APPLICATION;
}

void katapult_usb_request(struct vserial *katapult)
{
    katapult_restart(node(board_of(katapult)), KATAPULT_REQUESTED);
}

static void board_destroy(struct vserial *dev)
{
    free(dev);
}

static const struct vserial_ops board_ops = {
    .reset = board_reset,
    .receive = board_receive,
    .next = board_next,
    .tick = board_tick,
    .lines = board_lines,
    .busy = board_busy,
    .runs = board_runs,
    .destroy = board_destroy,
};

static const struct katapult_link uart_link = {
    .receive_buffer = 192,
    .transmit_buffer = 96,
    .start_time = UART_START,
    .send = send_uart,
    .unsent = unsent,
    .restarted = uart_restarted,
};

static const struct katapult_link usb_link = {
    .receive_buffer = 128,
    .transmit_buffer = 192,
    .start_time = USB_START,
    .send = send_usb,
    .unsent = unsent,
    .restarted = usb_restarted,
};

static struct vserial *create(const struct vconfig *config, enum klipper_link link)
{
    struct board *board = calloc(1, sizeof *board);
    bool usb = link == KLIPPER_USB;
    if (!board) {
        fprintf(stderr, "katapult: out of memory\n");
        return NULL;
    }
    board->serial.ops = &board_ops;
    board->serial.judges_application = true;
    board->app.link = link;
    if (!katapult_init(&board->katapult, config, usb ? &usb_link : &uart_link)) {
        free(board);
        return NULL;
    }
    board->serial.rx_depth = usb ? 0 : board->katapult.flash_kind->rx_depth;
    start_application(board);
    board->serial.baud = usb ? 0 : board->app.running ? board->app.baud : BAUD;
    return &board->serial;
}

static struct vserial *create_uart(const struct vconfig *config)
{
    return create(config, KLIPPER_UART);
}

static struct vserial *create_usb(const struct vconfig *config)
{
    return create(config, KLIPPER_USB);
}

static const char *const uart_chips[] = {
    "stm32f103xe", "stm32f103xb", "stm32f031x6", "stm32f042x6", "stm32f070xb", "stm32f072xb",
    "stm32f207xx", "stm32f401xc", "stm32f405xx", "stm32f407xx", "stm32f429xx", "stm32f446xx",
    "stm32g0b0xx", "stm32g0b1xx", "stm32g431xx", "stm32h723xx", "stm32h743xx", "lpc1768",
    "lpc1769",     "rp2040",      "rp2350",      NULL,
};

static const char *const usb_chips[] = {
    "stm32f103xe", "stm32f103xb", "stm32f042x6", "stm32f070xb", "stm32f072xb",
    "stm32f207xx", "stm32f401xc", "stm32f405xx", "stm32f407xx", "stm32f429xx",
    "stm32f446xx", "stm32g0b1xx", "stm32g431xx", "stm32h723xx", "stm32h743xx",
    "lpc1768",     "lpc1769",     "rp2040",      "rp2350",      NULL,
};

const struct vmodel vmodel_katapult_serial = {
    .name = "katapult-serial",
    .method = "katapult-serial",
    .chips = uart_chips,
    .baud = BAUD,
    .proof = "a client written from the protocol (tests/peers/katapult)",
    .create = create_uart,
};

const struct vmodel vmodel_katapult_usb = {
    .name = "katapult-usb",
    .method = "katapult-usb",
    .chips = usb_chips,
    .baud = 0,
    .proof = "a client written from the protocol (tests/peers/katapult)",
    .create = create_usb,
};
