/*
 * A Katapult node (Arksine/katapult: protocol.md, src/command.c, src/flashcmd.c, src/stm32/flash.c,
 * src/rp2040/flash.c, src/lpc176x/flash.c): the loader without its transport. Bytes of the host go
 * in by katapult_take(), packets for the host come out by link->send(). UART and USB are in
 * katapult_serial.c; a CAN node needs no more of the loader than they do.
 *
 * Two things to know: the receive parser of this loader wedges for good after a packet that begins
 * right and is wrong further on, and so does this one; and during an erase the processor of an
 * STM32 stands still and hears nothing.
 */
#ifndef VBOARD_KATAPULT_H
#define VBOARD_KATAPULT_H

#include "base/clock.h"
#include "crc.h"
#include "model.h"

enum {
    KATAPULT_BLOCK = 64,       /* the block size of every shipped configuration */
    KATAPULT_PAGE = 256,       /* what RP2040 and LPC176x collect before they program */
    KATAPULT_PACKET_MAX = 128, /* as received */
    KATAPULT_RX_MAX = 192,
    KATAPULT_UUID = 6,

    KATAPULT_HEADER = 4, /* 01 88 command words */
    KATAPULT_EXTRA = 8,  /* header, CRC and trailer */

    KATAPULT_CONNECT = 0x11,
    KATAPULT_SEND_BLOCK = 0x12,
    KATAPULT_SEND_EOF = 0x13,
    KATAPULT_REQUEST_BLOCK = 0x14,
    KATAPULT_COMPLETE = 0x15,
    KATAPULT_GET_CANBUS_ID = 0x16,

    KATAPULT_ACK = 0xa0,
    KATAPULT_NACK = 0xf1,
    KATAPULT_COMMAND_ERROR = 0xf2,
};

enum katapult_state {
    KATAPULT_WINDOW,   /* waits for a second reset; hears nothing */
    KATAPULT_STARTING, /* on the way into the loader; hears nothing */
    KATAPULT_LOADER,
    KATAPULT_ERASING,
    KATAPULT_PROGRAMMING,
    KATAPULT_APPLICATION, /* the transport's business */
    KATAPULT_FAULTED,     /* the fault handler loops: only a reset helps */
};

struct katapult;

/* What a transport is: sizes of the loader's buffers there, and its own part of the work. */
struct katapult_link {
    size_t receive_buffer, transmit_buffer; /* bytes */
    uint64_t start_time;                    /* from a reset until the loader listens */
    /* A packet for the host; it fits. */
    void (*send)(struct katapult *k, const uint8_t *packet, size_t length);
    /* Bytes that still wait in the transmit buffer. */
    size_t (*unsent)(const struct katapult *k);
    /* After a reset of whatever cause: the state is new, and if it has an end, k->until is it. */
    void (*restarted)(struct katapult *k);
};

/* How a family's flash takes blocks: katapult_flash.c. */
struct katapult_flash {
    bool stalls;          /* the processor stands still while flash works */
    unsigned rx_depth;    /* bytes its UART keeps meanwhile */
    bool double_buffered; /* ST's "usbfs": sends nothing before two packets are there */
    uint64_t (*erase_time)(uint32_t sector);
    uint64_t program_time;
    /* A block was sent, the end was sent: checks, and leaves in k->work what is to be done. False:
     * refused. A wrong address may leave k->state KATAPULT_FAULTED. */
    bool (*block)(struct katapult *k, uint32_t address, const uint8_t *data);
    bool (*end)(struct katapult *k);
};

/* Flash work in progress, and what of it is reported when it is done. */
struct katapult_work {
    bool erase, program, verify, counts;
    uint64_t sector_start;
    uint32_t sector_size;
    uint64_t address;
    size_t length;
    uint8_t bytes[KATAPULT_PAGE];
};

struct katapult {
    uint64_t now; /* the transport keeps it right before every call, in microseconds */
    bool paced;   /* flash work takes its time */
    const struct katapult_link *link;
    const struct katapult_flash *flash_kind;
    const struct chip *chip;
    struct vmemory flash;
    struct vfaults faults;
    char mcu[16];
    uint32_t start;      /* of the application */
    uint32_t protocol;   /* 0x010100 = 1.1.0 */
    const char *version; /* of the software; NULL in protocol 1.0 */
    const uint8_t *uuid; /* KATAPULT_UUID bytes, CAN only; else NULL */
    bool button;         /* the bootloader button is held down */

    enum katapult_state state;
    uint64_t until;       /* end of a state that ends by itself, else UINT64_MAX */
    uint64_t complete_at; /* COMPLETE was heard: leaves then; else UINT64_MAX */
    uint64_t window_from; /* when the last reset was, while its window is open */

    uint8_t rx[KATAPULT_RX_MAX];
    size_t rx_used;
    bool need_valid; /* a NACK was sent, and no valid packet came since */
    unsigned executed;

    struct katapult_work work;
    uint32_t pages; /* as SEND_EOF tells */
    uint8_t page[KATAPULT_PAGE];
    uint64_t page_address; /* of the block buffer */
    size_t page_used;
};

enum katapult_cause { KATAPULT_POWER, KATAPULT_PIN, KATAPULT_REQUESTED, KATAPULT_COMPLETED };

/* Fills a node from the configuration. Variant words, by commas: "1.0" (protocol without software
 * version), "no-version" (1.1, empty), "4k" and "16k" (the family's other application start),
 * "button" (the bootloader button is held). It starts in the loader, or with config->app in the
 * application. False, with a line on stderr, if there is no Katapult for that chip. */
bool katapult_init(struct katapult *k, const struct vconfig *config,
                   const struct katapult_link *link);

/* True if the application's first word is neither 0 nor FFFFFFFF: all that the loader looks at. */
bool katapult_has_application(const struct katapult *k);

/* The chip starts anew. */
void katapult_restart(struct katapult *k, enum katapult_cause cause);

/* Bytes of the receive buffer that are free; a CAN frame that does not fit is lost as a whole. */
size_t katapult_room(const struct katapult *k);

/* A byte reaches the receive buffer; without room, or out of the loader, it is lost. */
void katapult_take(struct katapult *k, uint8_t byte);

/* The processor stands still: what arrives stays in the receiver's hardware. */
bool katapult_stalled(const struct katapult *k);

/* The next moment at which something happens, UINT64_MAX if none; what is due at k->now. */
uint64_t katapult_next(const struct katapult *k);
void katapult_tick(struct katapult *k);

/* ---- between the files of the loader ---- */

/* Sends a packet; one that the transmit buffer cannot take is lost. `length`: a multiple of 4. */
void katapult_reply(struct katapult *k, uint8_t type, const uint8_t *payload, size_t length);

/* The packet at the head of the receive buffer is done with. */
void katapult_pop(struct katapult *k);

/* Executes the packet at the head of the receive buffer. */
void katapult_execute(struct katapult *k);

/* Answers the packet at the head, whose flash work has ended. */
void katapult_worked(struct katapult *k, bool good);

/* The rules for that chip's flash; NULL if there is no Katapult for it. */
const struct katapult_flash *katapult_flash_of(const struct chip *chip);

/* Begins k->work; ends it at once if it takes no time. */
void katapult_work(struct katapult *k);

/* Flash work is due: erased, or programmed. */
void katapult_work_due(struct katapult *k);

/* ---- katapult_serial.c ---- */

/* The program in the application's place asks for the loader of vmodel_katapult_usb, for one that
 * the loader's own board does not know. */
void katapult_usb_request(struct vserial *katapult);

#endif
