/*
 * The ATmegaBOOT_168 family (STK500v1, Atmel AVR061) on the parts no packaged firmware exists for,
 * from the loader's own description.
 *
 * Two things to know: the address is doubled in place by every page command, so that a second one
 * without LOAD_ADDRESS goes elsewhere; and it forgives four bad commands, the fifth one starts the
 * application.
 */
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "flash.h"
#include "stk500v1.h"

enum {
    DEAF = 200 * MILLISECOND,       /* LED, before the receiver is looked at */
    BYTE_WAIT = 1150 * MILLISECOND, /* for each byte, then the application starts */
    ERRORS_MAX = 5,
    OWN_SECTION = 2048,
};

enum state { STARTING, LED, LISTENING, PROGRAMMING, DEAD, APPLICATION };

struct atmegaboot {
    struct boot boot;
    enum state state;
    uint64_t until; /* end of the state, or of the wait for a byte */
    unsigned errors;

    bool in_command;
    uint8_t command, parameter[V1_PARAMETERS_MAX];
    size_t got, data_got;
    uint8_t buffer[V1_BUFFER];
    uint16_t address;
    uint32_t write_at; /* page command under way: byte address, top bit from before the doubling */
};

static struct atmegaboot *atmegaboot_of(struct vserial *dev)
{
    return (struct atmegaboot *)dev;
}

/* ---- life ---- */

static void enter_loader(struct atmegaboot *a)
{
    a->state = STARTING;
    a->until = boot_now(&a->boot) + BOOT_START_UP;
    a->in_command = false;
    a->errors = 0;
    a->address = 0; /* the C start-up clears it */
}

/* Blank flash runs up to the loader again, which looks at no reset flag. */
static void start_application(struct atmegaboot *a)
{
    bool again = boot_application_blank(&a->boot) && !a->boot.broken;
    a->state = again ? LED : APPLICATION;
    a->until = again ? boot_now(&a->boot) + DEAF : UINT64_MAX;
    a->in_command = false;
    a->errors = 0;
    a->address = 0;
}

static void atmegaboot_reset(struct vserial *dev, enum vreset cause)
{
    (void)cause; /* built without a look at the reset flags */
    struct atmegaboot *a = atmegaboot_of(dev);
    if (a->boot.broken)
        start_application(a);
    else
        enter_loader(a);
}

static void listen(struct atmegaboot *a)
{
    a->state = LISTENING;
    a->until = boot_now(&a->boot) + BYTE_WAIT;
}

static void die(struct atmegaboot *a)
{
    a->state = DEAD;
    a->until = UINT64_MAX;
}

static void bad_command(struct atmegaboot *a)
{
    if (++a->errors == ERRORS_MAX)
        start_application(a);
}

/* ---- commands ---- */

static void reply(struct atmegaboot *a, const uint8_t *bytes, size_t length)
{
    boot_send_byte(&a->boot, V1_INSYNC);
    boot_send(&a->boot, bytes, length);
    boot_send_byte(&a->boot, boot_nak(&a->boot) ? V1_FAILED : V1_OK);
}

static void reply_byte(struct atmegaboot *a, uint8_t byte)
{
    reply(a, &byte, 1);
}

static size_t length_of(const struct atmegaboot *a)
{
    return (size_t)a->parameter[0] << 8 | a->parameter[1];
}

static bool is_eeprom(const struct atmegaboot *a)
{
    return a->parameter[2] == 'E';
}

/* RAMPZ is chosen once, from the bit that the doubling shifts out. */
static uint32_t double_address(struct atmegaboot *a)
{
    uint32_t bank = a->boot.flash.size > 0x10000 && (a->address & 0x8000) ? 0x10000 : 0;
    a->address = (uint16_t)(a->address << 1);
    return bank | a->address;
}

static uint64_t write_time(const struct atmegaboot *a)
{
    size_t length = length_of(a);
    if (is_eeprom(a))
        return (uint64_t)length * BOOT_EEPROM_WRITE;
    return (length + a->boot.page - 1) / a->boot.page * (BOOT_PAGE_ERASE + BOOT_PAGE_WRITE);
}

static void begin_write(struct atmegaboot *a)
{
    a->write_at = double_address(a);
    a->state = PROGRAMMING;
    a->until = boot_after(&a->boot, write_time(a));
}

static void store_eeprom(struct atmegaboot *a)
{
    for (size_t i = 0; i < length_of(a); i++)
        vmemory_store(&a->boot.eeprom, a->address++, a->buffer[i]);
}

/* Words are counted, not addresses: a page is erased where the first word goes and written where
 * the last one went. What is missing stays FF. */
static void write_pages(struct atmegaboot *a)
{
    size_t length = (length_of(a) + 1) & ~(size_t)1; /* an odd byte takes its neighbour along */
    for (size_t done = 0; done < length; done += a->boot.page) {
        size_t part = length - done < a->boot.page ? length - done : a->boot.page;
        uint32_t first = a->write_at + (uint32_t)done;
        uint8_t page[BOOT_PAGE_MAX];
        memset(page, 0xff, sizeof page);
        for (size_t i = 0; i < part; i++)
            page[(first + i) % a->boot.page] = a->buffer[(done + i) % V1_BUFFER];
        boot_erase_page(&a->boot, first);
        boot_write_page(&a->boot, first + (uint32_t)part - 1, page);
    }
}

static void finish_write(struct atmegaboot *a)
{
    if (is_eeprom(a))
        store_eeprom(a);
    else
        write_pages(a);
    listen(a);
    reply(a, NULL, 0);
    if (a->boot.broken)
        start_application(a);
}

static void read_page(struct atmegaboot *a)
{
    uint32_t bank = double_address(a) & 0x10000;
    const struct vmemory *memory = is_eeprom(a) ? &a->boot.eeprom : &a->boot.flash;
    boot_send_byte(&a->boot, V1_INSYNC);
    for (size_t left = length_of(a); left; left--, a->address++)
        boot_send_byte(&a->boot,
                       vmemory_byte(memory, is_eeprom(a) ? a->address : bank | a->address));
    boot_send_byte(&a->boot, boot_nak(&a->boot) ? V1_FAILED : V1_OK);
}

static uint8_t parameter_value(uint8_t parameter)
{
    switch (parameter) {
    case 0x80:
        return 0x02;
    case 0x81:
        return 0x01;
    case 0x82:
        return 0x10;
    case 0x98:
        return 0x03;
    default:
        return 0x00;
    }
}

/* Only the signature instruction 30 00 0n 00 is understood. */
static uint8_t universal_answer(const struct atmegaboot *a)
{
    uint8_t n = a->parameter[2] > 2 ? 2 : a->parameter[2];
    return a->parameter[0] == 0x30 ? a->boot.signature[n] : 0;
}

/* The closing 20 was there. */
static void execute(struct atmegaboot *a)
{
    switch (a->command) {
    case V1_GET_SIGN_ON:
        reply(a, (const uint8_t *)"AVR ISP", 7);
        break;
    case V1_GET_PARAMETER:
        reply_byte(a, parameter_value(a->parameter[0]));
        break;
    case V1_LOAD_ADDRESS:
        a->address = (uint16_t)(a->parameter[0] | a->parameter[1] << 8);
        reply(a, NULL, 0);
        break;
    case V1_UNIVERSAL:
        reply_byte(a, universal_answer(a));
        break;
    case V1_PROG_PAGE:
        begin_write(a);
        break;
    case V1_READ_PAGE:
        read_page(a);
        break;
    case V1_READ_SIGN:
        reply(a, a->boot.signature, 3);
        break;
    case V1_READ_OSCCAL:
        reply_byte(a, 0);
        break;
    default:
        reply(a, NULL, 0);
        break;
    }
}

/* ---- reception ---- */

static bool is_known(uint8_t command)
{
    static const uint8_t known[] = {
        V1_GET_SYNC,       V1_GET_SIGN_ON,    V1_SET_PARAMETER,  V1_GET_PARAMETER, V1_SET_DEVICE,
        V1_SET_DEVICE_EXT, V1_ENTER_PROGMODE, V1_LEAVE_PROGMODE, V1_CHIP_ERASE,    V1_LOAD_ADDRESS,
        V1_UNIVERSAL,      V1_PROG_PAGE,      V1_READ_PAGE,      V1_READ_SIGN,     V1_READ_OSCCAL,
    };
    return memchr(known, command, sizeof known);
}

/* SET_PARAMETER takes its value only for parameters above 85. */
static size_t parameters(const struct atmegaboot *a)
{
    if (a->command == V1_SET_PARAMETER)
        return a->got && a->parameter[0] > 0x85 ? 2 : 1;
    return v1_parameters(a->command);
}

static void take_data(struct atmegaboot *a, uint8_t byte)
{
    if (a->data_got == V1_BUFFER)
        die(a); /* the buffer's length is not checked: the stack is next */
    else
        a->buffer[a->data_got++] = byte;
}

static void atmegaboot_receive(struct vserial *dev, uint8_t byte)
{
    struct atmegaboot *a = atmegaboot_of(dev);
    if (a->state != LISTENING)
        return;
    a->until = boot_now(&a->boot) + BYTE_WAIT;
    if (!a->in_command) {
        a->in_command = is_known(byte);
        a->command = byte;
        a->got = a->data_got = 0;
        if (!a->in_command)
            bad_command(a);
    } else if (a->got < parameters(a)) {
        a->parameter[a->got++] = byte;
    } else if (a->command == V1_PROG_PAGE && a->data_got < length_of(a)) {
        take_data(a, byte);
    } else {
        a->in_command = false;
        if (byte == V1_EOP)
            execute(a);
        else
            bad_command(a);
    }
}

static bool atmegaboot_busy(const struct vserial *dev)
{
    const struct atmegaboot *a = (const struct atmegaboot *)dev;
    return a->state == LED || a->state == PROGRAMMING || boot_sending(&a->boot);
}

/* ---- time ---- */

static uint64_t atmegaboot_next(const struct vserial *dev)
{
    return ((const struct atmegaboot *)dev)->until;
}

static void atmegaboot_tick(struct vserial *dev)
{
    struct atmegaboot *a = atmegaboot_of(dev);
    if (a->until > boot_now(&a->boot))
        return;
    switch (a->state) {
    case STARTING:
        a->state = LED;
        a->until += DEAF;
        break;
    case LED:
        listen(a);
        break;
    case PROGRAMMING:
        finish_write(a);
        break;
    case LISTENING:
        if (boot_sending(&a->boot)) /* the wait starts when the reply is out */
            listen(a);
        else
            start_application(a);
        break;
    default:
        a->until = UINT64_MAX;
        break;
    }
}

static enum vprogram atmegaboot_runs(const struct vserial *dev)
{
    bool application = ((const struct atmegaboot *)dev)->state == APPLICATION;
    return application ? VPROGRAM_APPLICATION : VPROGRAM_LOADER;
}

static const struct vserial_ops atmegaboot_ops = {
    .reset = atmegaboot_reset,
    .receive = atmegaboot_receive,
    .next = atmegaboot_next,
    .tick = atmegaboot_tick,
    .busy = atmegaboot_busy,
    .runs = atmegaboot_runs,
    .destroy = boot_destroy,
};

/* True rates at 16 MHz without U2X: UBRR 16 for 57600, 51 for 19200 (variant "19200"). */
static uint32_t pick_rate(const struct vconfig *config)
{
    return config->variant && !strcmp(config->variant, "19200") ? 19231 : 58824;
}

static struct vserial *atmegaboot_create(const struct vconfig *config)
{
    struct atmegaboot *a = (struct atmegaboot *)boot_create(
        config, "atmegaboot", sizeof *a, OWN_SECTION, pick_rate(config), &atmegaboot_ops);
    if (!a)
        return NULL;
    if (config->app)
        start_application(a);
    else
        enter_loader(a);
    return &a->boot.serial;
}

static const char *const chips_atmegaboot[] = {"atmega1284p", "atmega1284", "atmega644p",
                                               "atmega644",   "atmega1281", NULL};

const struct vmodel vmodel_atmegaboot = {
    .name = "atmegaboot",
    .method = "stk500v1",
    .chips = chips_atmegaboot,
    .baud = 57600,
    .proof = "avrdude -c arduino -b 57600",
    .create = atmegaboot_create,
};
