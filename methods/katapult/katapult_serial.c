/*
 * Katapult on a serial port: a UART, and USB-CDC (Arksine/katapult, protocol.md). See node.h.
 *
 * On a UART nothing is sent while the device writes: an STM32 that works on its flash does not
 * listen. And no rate is tried but the one that is given: at another, one byte of a question may
 * reach the device as the beginning of a packet that never ends.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/text.h"
#include "katapult/node.h"

enum {
    UART_BAUD = 250000,
    TRIES = 10, /* of CONNECT, 100 ms each: after a request to Klipper it takes 10 to 600 ms */
    /* Replies may follow each other as bytes in driver and chip allow: 16 ms is FTDI's timer. */
    SILENT_US = 40 * MILLISECOND,
    USB_WRITES = 8, /* of 12 answers that may be unread */
    USB_AHEAD = 80, /* one more answer than the one being read: 160 of 192 bytes */
    UART_AHEAD = 16,
};

struct serial_node {
    struct katapult_node node; /* first: session->state */
    struct katapult_transport transport;
    struct serial *serial;
};

static struct serial *serial_of(struct katapult_transport *transport)
{
    char *base = (char *)transport - offsetof(struct serial_node, transport);
    return ((struct serial_node *)base)->serial;
}

static int send(struct katapult_transport *transport, const uint8_t *packet, size_t length,
                struct error *err)
{
    return serial_write(serial_of(transport), packet, length, err);
}

static ssize_t receive(struct katapult_transport *transport, uint8_t *bytes, size_t max,
                       uint64_t deadline, struct error *err)
{
    return serial_read_some(serial_of(transport), bytes, max, deadline, err);
}

static struct serial_node *serial_node(struct session *session, bool usb)
{
    struct serial_node *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->serial = session->serial;
    s->node.session = session;
    s->node.transport = &s->transport;
    s->transport = (struct katapult_transport){
        .send = send,
        .receive = receive,
        .clock = session->clock,
        .name = session->serial->name,
        .writes = usb ? USB_WRITES : 1,
        .deaf_in_erase = !usb,
        .reads_ahead = usb ? USB_AHEAD : UART_AHEAD,
        .twice = usb,
        .silent = SILENT_US,
    };
    session->state = s;
    return s;
}

static void serial_disconnect(struct session *session)
{
    free(session->state);
    session->state = NULL;
}

static bool nobody(int rc)
{
    return rc == ERR_NO_ANSWER || rc == ERR_PROTOCOL;
}

/* Nobody answered: what is there may be another program, another rate, or a stuck Katapult. */
static int report_nobody(const struct serial_node *s, bool usb, struct error *err)
{
    char rate[32] = "";
    if (!usb)
        text_append(rate, sizeof rate, " at %" PRIu32 " baud", s->serial->settings.baud);
    if (err && err->code == ERR_PROTOCOL)
        error_context(err, "asking for Katapult%s", rate);
    else
        error_set(err, ERR_NO_ANSWER, "no Katapult answered%s: nothing that is an answer came back",
                  rate);
    return error_hint(err, "press RESET twice within half a second; if it was in its bootloader "
                           "already, it may be stuck (after a lost byte only a reset helps): "
                           "switch the board off and on");
}

static int finish_connect(struct session *session, bool usb, int rc, struct error *err)
{
    struct serial_node *s = session->state;
    if (nobody(rc))
        rc = report_nobody(s, usb, err);
    if (rc == OK)
        rc = katapult_node_check(&s->node, err);
    if (rc != OK)
        serial_disconnect(session);
    return rc;
}

/* ---- USB ---- */

static int usb_connect(struct session *session, struct error *err)
{
    struct serial_node *s = serial_node(session, true);
    if (!s)
        return error_memory(err);
    serial_drop_input(session->serial);
    return finish_connect(session, true, katapult_node_greet(&s->node, TRIES, err), err);
}

/* ---- UART ---- */

static int find_uart(struct serial_node *s, struct error *err)
{
    uint32_t baud = 0;
    (void)session_bauds(s->node.session, &baud, 1);
    int rc = serial_set_baud(s->serial, baud, err);
    if (rc != OK)
        return rc;
    serial_drop_input(s->serial);
    return katapult_node_greet(&s->node, TRIES, err);
}

static int uart_connect(struct session *session, struct error *err)
{
    struct serial_node *s = serial_node(session, false);
    if (!s)
        return error_memory(err);
    return finish_connect(session, false, find_uart(s, err), err);
}

/* ---- what cannot be done ---- */

const struct refusal katapult_node_refusals[] = {
    {OP_ERASE_CHIP,
     "it does not tell where the flash ends, and writing behind that hangs the chip"},
    {OP_FUSES, "it reads and writes flash only"},
    {OP_SET_FUSES, "it reads and writes flash only"},
    {OP_UNLOCK, "it reads and writes flash only"},
    {OP_BOOTLOADER, "it cannot replace itself: flash Katapult's deployer, or use -m swd"},
    {OP_EEPROM, "it reads and writes flash only"},
    {OP_COUNT, NULL},
};

const struct method method_katapult_serial = {
    .name = "katapult-serial",
    .summary = "Katapult bootloader on a UART",
    .document = "Katapult protocol.md 1.1",
    .link = LINK_SERIAL,
    .baud = UART_BAUD,
    .erase_style = ERASE_BY_WRITE,
    .refusals = katapult_node_refusals,
    .connect = uart_connect,
    .info = katapult_node_info,
    .erase = katapult_node_erase,
    .write = katapult_node_write,
    .read = katapult_node_read,
    .run = katapult_node_run,
    .disconnect = serial_disconnect,
};

const struct method method_katapult_usb = {
    .name = "katapult-usb",
    .summary = "Katapult bootloader on USB",
    .document = "Katapult protocol.md 1.1",
    .link = LINK_SERIAL,
    .baud = UART_BAUD,
    .erase_style = ERASE_BY_WRITE,
    .refusals = katapult_node_refusals,
    .connect = usb_connect,
    .info = katapult_node_info,
    .erase = katapult_node_erase,
    .write = katapult_node_write,
    .read = katapult_node_read,
    .run = katapult_node_run,
    .disconnect = serial_disconnect,
};
