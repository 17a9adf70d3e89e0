/*
 * The transport that Klipper and Katapult have in common on CAN (src/generic/canserial.c of both),
 * and the controller under it: ids, the queue of admin frames, a buffer of bytes to send, three
 * mailboxes and a hardware FIFO of three frames.
 *
 * Two things to know: admin frames are looked at by the main loop, some time after they came, and
 * data for an id that the loop has not taken yet is lost; and frames that come while the processor
 * stands still are lost from the fourth on.
 */
#ifndef VBOARD_CANSERIAL_H
#define VBOARD_CANSERIAL_H

#include "base/clock.h"
#include "can_model.h"

enum {
    CANSERIAL_UUID = 6,
    CANSERIAL_TRANSMIT = 96, /* bytes; the mailboxes hold three frames more */
    CANSERIAL_MAILBOXES = 3,
    CANSERIAL_FIFO = 3,
    CANSERIAL_ADMIN_QUEUE = 8,
    CANSERIAL_LOOP = 2 * MILLISECOND, /* until the main loop comes to an admin frame: 1 to 5 ms */

    CAN_ID_ADMIN = 0x3f0,
    CAN_ID_ADMIN_RESPONSE = 0x3f1,
    CAN_ID_NODES = 0x100, /* node n hears 0x100 + 2n and says 0x101 + 2n */
};

struct canserial {
    struct vcan *node;
    uint16_t id;                                   /* it hears; 0 = none is assigned */
    struct can_frame admin[CANSERIAL_ADMIN_QUEUE]; /* not looked at yet */
    size_t admin_count;                            /* of them */
    uint64_t loop_at;                              /* when the main loop looks; or UINT64_MAX */
    struct can_frame fifo[CANSERIAL_FIFO];         /* came while the processor stood still */
    size_t fifo_count;                             /* of them */
    uint8_t transmit[CANSERIAL_TRANSMIT];          /* bytes to send */
    size_t transmit_count;                         /* of them */
    unsigned mailboxes;                            /* in use */
    /* Bytes of a data frame, from the interrupt; the program takes all or nothing. */
    void (*data)(struct canserial *s, const uint8_t *bytes, size_t length);
};

/* The chip starts anew: no id, nothing queued. */
void canserial_reset(struct canserial *s);

/* A frame is on the bus. `deaf`: the processor stands still. */
void canserial_receive(struct canserial *s, const struct can_frame *frame, bool deaf);

/* The processor goes on: what the FIFO holds is taken. */
void canserial_resume(struct canserial *s);

/* A mailbox is free again. */
void canserial_sent(struct canserial *s);

/* Bytes for the host, all or none. False: there is no room. */
bool canserial_write(struct canserial *s, const uint8_t *bytes, size_t length);

/* The transmit task of the main loop: fills mailboxes; without an id, throws the bytes away. */
void canserial_transmit(struct canserial *s);

/* The main loop looks at its admin frames: takes the next one; false if there is none. A frame on
 * its own id is dealt with (another node has it: the id is dropped). */
bool canserial_admin(struct canserial *s, struct can_frame *frame);

/* Set-nodeid, the part that both firmwares share. */
void canserial_set_id(struct canserial *s, const struct can_frame *frame, const uint8_t *uuid);

/* The answer to a query; `tag` < 0: of an old Klipper, without one. False: no mailbox is free. */
bool canserial_answer(struct canserial *s, const uint8_t *uuid, int tag);

bool canserial_is_for(const struct can_frame *frame, const uint8_t *uuid);

/* The UUID of a chip: its id hashed (fasthash64), the low six bytes. */
void canserial_uuid(uint8_t uuid[CANSERIAL_UUID], const uint8_t *chip_id, size_t length);

#endif
