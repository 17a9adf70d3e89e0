/*
 * A USB/IP server in a thread that speaks what a script says, byte for byte: it waits for the
 * host's bytes, and answers. Hexadecimal, blanks as one likes.
 */
#ifndef USBIP_PEER_H
#define USBIP_PEER_H

#include <stdbool.h>
#include <stddef.h>

struct peer_turn {
    enum { PEER_TURN, PEER_CLOSE, PEER_AWAIT_CLOSE, PEER_END } what;
    const char *host;   /* all of this must come; NULL: nothing is waited for */
    const char *device; /* then this is said; NULL: nothing */
    unsigned zeros;     /* and so many zero bytes are waited for between the two */
    unsigned delay;     /* milliseconds before it is said */
};

struct usbip_peer;

/* Listens on a free port of this machine and goes through the turns up to PEER_END; after
 * PEER_CLOSE and PEER_AWAIT_CLOSE the next connection is awaited. */
struct usbip_peer *usbip_peer(const struct peer_turn *turns);

/* "usbip:127.0.0.1:PORT" and what follows. */
const char *usbip_peer_name(struct usbip_peer *peer, const char *rest);

/* Ends it; true if the host did all that the script expects, and no more. */
bool usbip_peer_done(struct usbip_peer *peer);

/* ---- packets ---- */

#define OP_IMPORT   "0111 8003 00000000"
#define OP_IMPORTED "0111 0003 00000000"
#define OP_DEVLIST  "0111 8005 00000000"
#define OP_DEVICES  "0111 0005 00000000"
#define ZEROS_8     "00 00 00 00 00 00 00 00"
#define ZEROS_24    ZEROS_8 ZEROS_8 ZEROS_8
#define ZEROS_28    ZEROS_24 "00 00 00 00"
#define BUSID_1_1   "31 2d 31 00" ZEROS_28
#define PATH_256    PATH_64 PATH_64 PATH_64 PATH_64
#define PATH_64     ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8
/* Bus 1, device 2, full speed; ids and class as given; the current configuration. */
#define RECORD(ids, class, configuration) \
    PATH_256 BUSID_1_1 "00000001 00000002 00000002" ids class configuration "01 01"
#define RECORD_DFU RECORD("0483 df11 2200", "00 00 00", "00")

#define SUBMIT_IN(seq, endpoint, length, setup)                                               \
    "00000001" seq "00010002 00000001 000000" endpoint "00000200" length "00000000 00000000 " \
    "00000000" setup
#define SUBMIT_OUT(seq, endpoint, length, setup)                                              \
    "00000001" seq "00010002 00000000 000000" endpoint "00000000" length "00000000 00000000 " \
    "00000000" setup
#define RETURN(seq, status, length) \
    "00000003" seq "00000000 00000000 00000000" status length "00000000 00000000 00000000" ZEROS_8
#define UNLINK(seq, of)       "00000002" seq "00010002 00000000 00000000" of ZEROS_24
#define UNLINKED(seq, status) "00000004" seq "00000000 00000000 00000000" status ZEROS_24

/* The descriptors of a DFU loader without texts, as usb_open asks for them: submissions 1 to 4, the
 * last of which configures it. */
#define DFU_DEVICE          "12 01 00 01 00 00 00 40 83 04 11 df 00 22 00 00 00 01"
#define DFU_CONFIGURATION_9 "09 02 1b 00 01 01 00 c0 32"
#define DFU_CONFIGURATION                            \
    DFU_CONFIGURATION_9 "09 04 00 00 00 fe 01 02 00" \
                        "09 21 0b ff 00 00 08 1a 01"
#define GET_DEVICE(seq)          SUBMIT_IN(seq, "00", "00000012", "80 06 00 01 00 00 12 00")
#define GET_CONFIGURATION_9(seq) SUBMIT_IN(seq, "00", "00000009", "80 06 00 02 00 00 09 00")
#define ENUMERATE_DFU            {PEER_TURN, OP_IMPORT BUSID_1_1, OP_IMPORTED RECORD_DFU, 0, 0}, ASK_DFU
#define ASK_DFU                                                                                   \
    {PEER_TURN, GET_DEVICE("00000001"), RETURN("00000001", "00000000", "00000012") DFU_DEVICE, 0, \
     0},                                                                                          \
        {PEER_TURN, GET_CONFIGURATION_9("00000002"),                                              \
         RETURN("00000002", "00000000", "00000009") DFU_CONFIGURATION_9, 0, 0},                   \
        {PEER_TURN, SUBMIT_IN("00000003", "00", "0000001b", "80 06 00 02 00 00 1b 00"),           \
         RETURN("00000003", "00000000", "0000001b") DFU_CONFIGURATION, 0, 0},                     \
    {                                                                                             \
        PEER_TURN, SUBMIT_OUT("00000004", "00", "00000000", "00 09 01 00 00 00 00 00"),           \
            RETURN("00000004", "00000000", "00000000"), 0, 0                                      \
    }

#endif
