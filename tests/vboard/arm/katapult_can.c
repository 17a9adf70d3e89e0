/*
 * A node on a CAN bus: the loader of katapult.h, and Klipper as the application, over the transport
 * that both share (canserial.h; Klipper docs/CANBUS_protocol.md).
 *
 * Variant words beside those of katapult_init(): "assigned" (Klipper runs and a host has given it
 * an id already), "no-canbus-id" (a Katapult of before 9 May 2022), "untagged" (a Klipper whose
 * answer to a query ends with the UUID), "bridge" (the node inside of a USB-to-CAN bridge: bridge.c
 * is its bus).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/chip.h"
#include "canserial.h"
#include "chip_id.h"
#include "katapult.h"
#include "klipper_app.h"
#include "variant.h"

enum {
    START = 100 * MILLISECOND, /* reset, crystal, CAN set up; the sheets name 10 to 600 ms */
    FIRST_KLIPPER_ID = 4,      /* klippy counts from there */

    QUERY_UNASSIGNED = 0x00,
    SET_KLIPPER_NODEID = 0x01,
    REQUEST_BOOTLOADER = 0x02,
    SET_KATAPULT_NODEID = 0x11,
    CLEAR_KATAPULT_NODEID = 0x12,
    TAG_KLIPPER = 0x01,
    TAG_KATAPULT = 0x11,
    TAG_NONE = -1,
};

struct board {
    struct vcan can; /* first */
    struct canserial serial;
    struct katapult katapult;
    struct klipper_app app;
    struct vline line;                /* what the application writes to */
    uint8_t block[KLIPPER_APP_BLOCK]; /* of it, not whole yet */
    size_t block_used;
    uint8_t uuid[CANSERIAL_UUID];
    enum klipper_link runs; /* Klipper that was built for this */
    bool untagged;
    bool answers; /* a query waits for a mailbox, and the main loop waits with it */
};

static struct board *board_of(struct vcan *node)
{
    return (struct board *)node;
}

static struct board *board_of_node(struct katapult *k)
{
    return (struct board *)((char *)k - offsetof(struct board, katapult));
}

static const struct board *const_board_of(const struct vcan *node)
{
    return (const struct board *)node;
}

/* Every call into the node begins with the time. */
static struct katapult *node(struct board *board)
{
    const struct vcan *can = &board->can;
    board->katapult.now = can->bus ? can->bus->now : can->parked;
    board->katapult.paced = can->bus && can->bus->paced;
    board->line.now = board->katapult.now;
    return &board->katapult;
}

static bool app_runs(const struct board *board)
{
    return board->katapult.state == KATAPULT_APPLICATION && board->app.running;
}

/* While flash is worked on the loop stands, though interrupts may come. */
static bool loop_runs(const struct board *board)
{
    return board->katapult.state == KATAPULT_LOADER || app_runs(board);
}

static bool listens(const struct board *board)
{
    enum katapult_state state = board->katapult.state;
    return loop_runs(board) || state == KATAPULT_ERASING || state == KATAPULT_PROGRAMMING;
}

/* An erase keeps the flash from being read for long; between two half-words that are programmed
 * there is time enough for the interrupt. */
static bool is_deaf(const struct board *board)
{
    return board->katapult.state == KATAPULT_ERASING && board->katapult.flash_kind->stalls;
}

/* ---- packets for the host ---- */

static void send_packet(struct katapult *k, const uint8_t *packet, size_t length)
{
    struct board *board = board_of_node(k);
    (void)canserial_write(&board->serial, packet, length);
    canserial_transmit(&board->serial);
}

static size_t unsent(const struct katapult *k)
{
    const struct board *board =
        (const struct board *)((const char *)k - offsetof(struct board, katapult));
    return board->serial.transmit_count;
}

/* The application's bytes are blocks; one that does not fit is not sent. */
static void send_app_byte(struct vline *line, uint8_t byte)
{
    struct board *board = (struct board *)((char *)line - offsetof(struct board, line));
    board->block[board->block_used++] = byte;
    if (board->block_used < board->block[0])
        return;
    (void)canserial_write(&board->serial, board->block, board->block_used);
    board->block_used = 0;
}

/* ---- bytes of the host ---- */

static void take_data(struct canserial *s, const uint8_t *bytes, size_t length)
{
    struct board *board = board_of(s->node);
    struct katapult *k = &board->katapult;
    if (app_runs(board)) {
        for (size_t i = 0; i < length; i++)
            klipper_app_receive(&board->app, &board->line, bytes[i]);
        if (board->app.restarts) /* its flag tells the loader to start it at once */
            katapult_restart(k, KATAPULT_COMPLETED);
        canserial_transmit(s);
    } else if (katapult_room(k) >= length) {
        for (size_t i = 0; i < length; i++)
            katapult_take(k, bytes[i]);
    }
}

/* ---- admin frames ---- */

static void answer_query(struct board *board, int tag)
{
    board->answers = !canserial_answer(&board->serial, board->uuid, tag);
}

static void obey_loader(struct board *board, const struct can_frame *frame)
{
    struct canserial *s = &board->serial;
    switch (frame->data[0]) {
    case QUERY_UNASSIGNED:
        if (!s->id)
            answer_query(board, TAG_KATAPULT);
        break;
    case SET_KATAPULT_NODEID:
        canserial_set_id(s, frame, board->uuid);
        break;
    case CLEAR_KATAPULT_NODEID:
        s->id = 0;
        break;
    }
}

static void obey_klipper(struct board *board, const struct can_frame *frame)
{
    struct canserial *s = &board->serial;
    switch (frame->data[0]) {
    case QUERY_UNASSIGNED:
        if (!s->id)
            answer_query(board, board->untagged ? TAG_NONE : TAG_KLIPPER);
        break;
    case SET_KLIPPER_NODEID:
        canserial_set_id(s, frame, board->uuid);
        break;
    case REQUEST_BOOTLOADER: /* with or without an id, in shutdown as well */
        if (canserial_is_for(frame, board->uuid))
            katapult_restart(node(board), KATAPULT_REQUESTED);
        break;
    }
}

/* One pass of the main loop. */
static void main_loop(struct board *board)
{
    struct canserial *s = &board->serial;
    struct can_frame frame;
    if (board->answers && loop_runs(board))
        answer_query(board, !app_runs(board)  ? TAG_KATAPULT
                            : board->untagged ? TAG_NONE
                                              : TAG_KLIPPER);
    while (loop_runs(board) && !board->answers && s->loop_at <= s->node->bus->now &&
           canserial_admin(s, &frame)) {
        if (app_runs(board))
            obey_klipper(board, &frame);
        else
            obey_loader(board, &frame);
    }
    if (loop_runs(board) && !board->answers)
        canserial_transmit(s);
}

/* ---- life ---- */

static void start_application(struct board *board)
{
    struct katapult *k = &board->katapult;
    board->app.running = false;
    board->block_used = 0;
    if (k->state == KATAPULT_APPLICATION)
        klipper_app_start(&board->app, &k->flash, k->start - k->chip->regions[0].start,
                          board->runs);
}

static void restarted(struct katapult *k)
{
    struct board *board = board_of_node(k);
    canserial_reset(&board->serial);
    board->answers = false;
    start_application(board);
    board->can.deaf = !listens(board);
}

static void board_reset(struct vcan *can, enum vreset cause)
{
    katapult_restart(node(board_of(can)), cause == VRESET_POWER ? KATAPULT_POWER : KATAPULT_PIN);
}

static void board_receive(struct vcan *can, const struct can_frame *frame)
{
    struct board *board = board_of(can);
    (void)node(board);
    if (listens(board))
        canserial_receive(&board->serial, frame, is_deaf(board));
}

static void board_sent(struct vcan *can)
{
    struct board *board = board_of(can);
    (void)node(board);
    canserial_sent(&board->serial);
    main_loop(board);
}

static uint64_t board_next(const struct vcan *can)
{
    const struct board *board = const_board_of(can);
    uint64_t next = app_runs(board) ? UINT64_MAX : katapult_next(&board->katapult);
    bool looks = loop_runs(board) && !board->answers;
    return looks && board->serial.loop_at < next ? board->serial.loop_at : next;
}

static void board_tick(struct vcan *can)
{
    struct board *board = board_of(can);
    struct katapult *k = node(board);
    if (!app_runs(board))
        katapult_tick(k);
    if (!is_deaf(board) && listens(board))
        canserial_resume(&board->serial);
    main_loop(board);
    if (k->state != KATAPULT_FAULTED) /* the controller acknowledges by itself */
        board->can.deaf = !listens(board);
}

static void board_destroy(struct vcan *can)
{
    free(can);
}

static const struct vcan_ops board_ops = {
    .reset = board_reset,
    .receive = board_receive,
    .sent = board_sent,
    .next = board_next,
    .tick = board_tick,
    .destroy = board_destroy,
};

static const struct katapult_link can_link = {
    .receive_buffer = 192,
    .transmit_buffer = CANSERIAL_TRANSMIT,
    .start_time = START,
    .send = send_packet,
    .unsent = unsent,
    .restarted = restarted,
};

/* ---- what it is ---- */

static void name_chip(struct board *board, unsigned n)
{
    uint8_t id[CHIP_ID_MAX];
    canserial_uuid(board->uuid, id, vchip_id(id, board->katapult.chip, n));
    for (size_t i = 0; i < CANSERIAL_UUID; i++)
        snprintf(board->can.name + 2 * i, 3, "%02x", board->uuid[i]);
}

static struct vcan *create(const struct vconfig *config)
{
    struct board *board = calloc(1, sizeof *board);
    if (!board) {
        fprintf(stderr, "katapult: out of memory\n");
        return NULL;
    }
    board->can.ops = &board_ops;
    board->serial.node = &board->can;
    board->serial.data = take_data;
    board->line.send = send_app_byte;
    board->runs = variant_has(config->variant, "bridge") ? KLIPPER_BRIDGE : KLIPPER_CAN;
    if (!katapult_init(&board->katapult, config, &can_link)) {
        free(board);
        return NULL;
    }
    restarted(&board->katapult);
    name_chip(board, config->node);
    board->untagged = variant_has(config->variant, "untagged");
    if (!variant_has(config->variant, "no-canbus-id"))
        board->katapult.uuid = board->uuid;
    if (app_runs(board) && variant_has(config->variant, "assigned"))
        board->serial.id = (uint16_t)(CAN_ID_NODES + 2 * (FIRST_KLIPPER_ID + config->node));
    return &board->can;
}

static const char *const chips[] = {
    "stm32f103xe", "stm32f103xb", "stm32f042x6", "stm32f072xb", "stm32f207xx", "stm32f405xx",
    "stm32f407xx", "stm32f429xx", "stm32f446xx", "stm32g0b1xx", "stm32g431xx", "stm32h723xx",
    "stm32h743xx", "rp2040",      "rp2350",      NULL,
};

const struct vmodel vmodel_katapult_can = {
    .name = "katapult-can",
    .method = "katapult-can",
    .chips = chips,
    .proof = "a client written from the protocol (tests/peers/can)",
    .create_can = create,
};
