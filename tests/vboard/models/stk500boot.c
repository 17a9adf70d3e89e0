/*
 * The Mega 2560's bootloader (Atmel AVR068 as Arduino's stk500boot speaks it). Variant "2011" is
 * the production build of that year.
 *
 * Two things to know: PROGRAM_FLASH erases the page its own counter stands at, not the one it
 * writes; and while it sends or programs nobody looks at the receiver, which holds three bytes.
 */
#include <string.h>

#include "base/bytes.h"
#include "boot.h"
#include "flash.h"
#include "stk500v2.h"

enum {
    FIRST_BYTE = 770 * MILLISECOND, /* then the application, if there is one */
    BYTE_WAIT = 9 * SECOND,
    LEAVE_WAIT = 100 * MILLISECOND,
    MONITOR_LINE = 20 * MILLISECOND, /* between two lines of its text */
    EARLY_BYTES = 9,                 /* where builds since 2012 look for the monitor's three `!` */
    OWN_SECTION = 0x2000,
    BODY_LIMIT = 285,
    READ_LIMIT = BODY_LIMIT - 3, /* command, status and closing status are in the buffer too */
    UART_115200 = 117647,        /* 16 MHz, U2X, UBRR 16 */
};

enum state { STARTING, FIRST, LISTENING, PROGRAMMING, LEAVING, MONITOR, DERAILED, APPLICATION };

struct stk500boot {
    struct boot boot;
    bool old; /* the build of 2011 */
    enum state state;
    uint64_t until;
    struct v2_parser parser;
    unsigned heard, marks; /* bytes since the start; `!` in a row */

    uint32_t address;       /* bytes */
    uint32_t erase_address; /* the counter */
    uint8_t page[BOOT_PAGE_MAX];
    uint32_t page_at;
};

static struct stk500boot *stk500boot_of(struct vserial *dev)
{
    return (struct stk500boot *)dev;
}

/* ---- life ---- */

static void change(struct stk500boot *s, enum state state, uint64_t until)
{
    s->state = state;
    s->until = until;
}

static void listen(struct stk500boot *s)
{
    change(s, LISTENING, boot_now(&s->boot) + BYTE_WAIT);
}

static void start_program(struct stk500boot *s, uint64_t start_up)
{
    s->parser = (struct v2_parser){.limit = BODY_LIMIT, .strict = s->old};
    s->address = s->erase_address = 0;
    s->heard = s->marks = 0;
    change(s, STARTING, boot_now(&s->boot) + start_up);
}

/* Blank flash runs up to the loader again. */
static void start_application(struct stk500boot *s)
{
    if (s->boot.broken || !boot_application_blank(&s->boot))
        change(s, APPLICATION, UINT64_MAX);
    else
        start_program(s, 0);
}

static void stk500boot_reset(struct vserial *dev, enum vreset cause)
{
    struct stk500boot *s = stk500boot_of(dev);
    if (cause == VRESET_WATCHDOG || s->boot.broken)
        start_application(s);
    else
        start_program(s, BOOT_START_UP);
}

static void no_first_byte(struct stk500boot *s)
{
    bool blank = vmemory_byte(&s->boot.flash, 0) == 0xff && vmemory_byte(&s->boot.flash, 1) == 0xff;
    if (blank)
        s->until = UINT64_MAX; /* it goes on waiting */
    else
        start_application(s);
}

/* ---- answers ---- */

static void answer(struct stk500boot *s, uint8_t *body, size_t length)
{
    if (boot_nak(&s->boot)) {
        body[1] = V2_FAILED;
        length = 2;
    }
    v2_reply(&s->parser, s->boot.serial.line, body, length);
}

static void answer_status(struct stk500boot *s, uint8_t status)
{
    answer(s, (uint8_t[]){s->parser.body[0], status}, 2);
}

static void answer_byte(struct stk500boot *s, uint8_t byte)
{
    answer(s, (uint8_t[]){s->parser.body[0], V2_OK, byte, V2_OK}, 4);
}

static void derail(struct stk500boot *s)
{
    change(s, DERAILED, UINT64_MAX);
}

static uint8_t parameter_value(uint8_t parameter)
{
    switch (parameter) {
    case 0x90:
        return 0x0f; /* hardware version */
    case 0x91:
        return 0x02; /* software version */
    case 0x92:
        return 0x0a;
    default:
        return 0x00;
    }
}

static uint8_t fuse_value(const struct stk500boot *s, uint8_t c1, uint8_t c2)
{
    if (c1 == 0x50)
        return boot_fuse(&s->boot, c2 == 0x08 ? BOOT_EFUSE : BOOT_LFUSE);
    return c1 == 0x58 ? boot_fuse(&s->boot, BOOT_HFUSE) : 0;
}

static uint8_t signature_byte(const struct stk500boot *s, uint8_t index)
{
    return s->boot.signature[index > 2 ? 2 : index];
}

/* The second instruction byte of fuse queries is not looked at. */
static void spi_multi(struct stk500boot *s)
{
    const uint8_t *c = s->parser.body + 4;
    uint8_t value = 0;
    if (c[0] == 0x30)
        value = signature_byte(s, c[2]);
    else if (!s->old && (c[0] == 0x50 || c[0] == 0x58))
        value = boot_fuse(&s->boot, c[0] == 0x50 ? BOOT_LFUSE : BOOT_HFUSE);
    answer(s, (uint8_t[]){V2_SPI_MULTI, V2_OK, 0, c[0], 0, value, V2_OK}, 7);
}

/* SPM with the value masked: boot lock bits, which nothing but a chip erase sets again. */
static void program_lock(struct stk500boot *s)
{
    boot_program_lock(&s->boot, s->parser.body[4] | 0xc3);
    answer(s, (uint8_t[]){V2_PROGRAM_LOCK, V2_OK, V2_OK}, 3);
}

static void read_memory(struct stk500boot *s, const struct vmemory *memory, bool words)
{
    size_t length = get_be16(s->parser.body + 1);
    uint8_t body[BODY_LIMIT];
    if (length == 0 || length > READ_LIMIT || (words && length % 2)) {
        derail(s); /* it counts down to 0, in steps of a word for flash */
        return;
    }
    body[0] = s->parser.body[0];
    body[1] = V2_OK;
    /* The address counts bytes of flash; EEPROM is read there too, at twice what was loaded. */
    for (size_t i = 0; i < length; i++)
        body[2 + i] = vmemory_byte(memory, s->address++);
    body[2 + length] = V2_OK;
    answer(s, body, length + 3);
}

/* ---- programming ---- */

static uint64_t erase_next_page(struct stk500boot *s)
{
    /* Its end is computed from twice the boot section: 3C000 on the 2560. */
    if (s->erase_address >= s->boot.flash.size - 2 * OWN_SECTION)
        return 0;
    boot_erase_page(&s->boot, s->erase_address);
    s->erase_address += s->boot.page;
    return BOOT_PAGE_ERASE;
}

/* The page buffer takes each word once (ATmega2560 data sheet, filling the temporary buffer). */
static void fill_page(struct stk500boot *s, size_t length)
{
    bool filled[BOOT_PAGE_MAX] = {false};
    memset(s->page, 0xff, sizeof s->page);
    for (size_t i = 0; i < length && 10 + i < BODY_LIMIT; i++) {
        size_t at = (s->address + i) % s->boot.page;
        if (!filled[at])
            s->page[at] = s->parser.body[10 + i];
        filled[at] = true;
    }
}

static void program_flash(struct stk500boot *s)
{
    size_t length = get_be16(s->parser.body + 1);
    if (length == 0 || length % 2) {
        derail(s);
        return;
    }
    uint64_t time = erase_next_page(s) + BOOT_PAGE_WRITE;
    fill_page(s, length);
    s->page_at = s->address;
    s->address += (uint32_t)length;
    change(s, PROGRAMMING, boot_after(&s->boot, time));
}

static void program_eeprom(struct stk500boot *s)
{
    size_t length = get_be16(s->parser.body + 1);
    uint64_t time = s->old ? 0 : (uint64_t)length * BOOT_EEPROM_WRITE;
    change(s, PROGRAMMING, boot_after(&s->boot, time));
}

static void store_eeprom(struct stk500boot *s)
{
    size_t length = get_be16(s->parser.body + 1);
    for (size_t i = 0; i < length && 10 + i < BODY_LIMIT; i++, s->address += 2)
        vmemory_store(&s->boot.eeprom, s->address >> 1, s->parser.body[10 + i]);
}

static void finish_programming(struct stk500boot *s)
{
    if (s->parser.body[0] == V2_PROGRAM_FLASH)
        boot_write_page(&s->boot, s->page_at, s->page);
    else if (!s->old)
        store_eeprom(s);
    if (s->boot.broken) {
        derail(s);
        return;
    }
    listen(s);
    answer_status(s, V2_OK);
}

/* ---- commands ---- */

static void sign_on(struct stk500boot *s)
{
    uint8_t body[] = {V2_SIGN_ON, V2_OK, 8, 'A', 'V', 'R', 'I', 'S', 'P', '_', '2'};
    answer(s, body, sizeof body);
}

static void leave(struct stk500boot *s)
{
    answer_status(s, V2_OK);
    change(s, LEAVING, boot_now(&s->boot) + LEAVE_WAIT);
}

/* Status 00 of the old build is as untrue as it looks: nothing but the counter changes. */
static void chip_erase(struct stk500boot *s)
{
    s->erase_address = 0;
    answer_status(s, s->old ? V2_OK : V2_FAILED);
}

static void read_identity(struct stk500boot *s)
{
    const uint8_t *body = s->parser.body;
    if (body[0] == V2_READ_FUSE)
        answer_byte(s, fuse_value(s, body[2], body[3]));
    else if (body[0] == V2_READ_LOCK)
        answer_byte(s, boot_fuse(&s->boot, BOOT_LOCK));
    else
        answer_byte(s, signature_byte(s, body[4]));
}

static void execute(struct stk500boot *s)
{
    const uint8_t *body = s->parser.body;
    switch (body[0]) {
    case V2_SIGN_ON:
        sign_on(s);
        break;
    case V2_SET_PARAMETER:
    case V2_ENTER_PROGMODE:
        answer_status(s, V2_OK);
        break;
    case V2_GET_PARAMETER:
        answer(s, (uint8_t[]){body[0], V2_OK, parameter_value(body[1])}, 3);
        break;
    case V2_LOAD_ADDRESS:
        s->address = get_be32(body + 1) << 1;
        answer_status(s, V2_OK);
        break;
    case V2_LEAVE_PROGMODE:
        leave(s);
        break;
    case V2_CHIP_ERASE:
        chip_erase(s);
        break;
    case V2_PROGRAM_FLASH:
        program_flash(s);
        break;
    case V2_READ_FLASH:
        read_memory(s, &s->boot.flash, true);
        break;
    case V2_PROGRAM_EEPROM:
        program_eeprom(s);
        break;
    case V2_READ_EEPROM:
        read_memory(s, &s->boot.eeprom, false);
        break;
    case V2_READ_FUSE:
    case V2_READ_LOCK:
    case V2_READ_SIGNATURE:
        read_identity(s);
        break;
    case V2_PROGRAM_LOCK:
        program_lock(s);
        break;
    case V2_SPI_MULTI:
        spi_multi(s);
        break;
    default:
        answer_status(s, V2_FAILED);
        break;
    }
}

/* ---- reception ---- */

static void monitor_line(struct stk500boot *s)
{
    static const char text[] = "\r\nMonitor of the bootloader >";
    boot_send(&s->boot, (const uint8_t *)text, sizeof text - 1);
    change(s, MONITOR, boot_now(&s->boot) + MONITOR_LINE);
}

/* True if this byte is the third `!` in a row where the build looks for it. */
static bool opens_monitor(struct stk500boot *s, uint8_t byte)
{
    s->heard++;
    s->marks = byte == '!' ? s->marks + 1 : 0;
    return s->marks == 3 && (s->old || s->heard <= EARLY_BYTES);
}

static void stk500boot_receive(struct vserial *dev, uint8_t byte)
{
    struct stk500boot *s = stk500boot_of(dev);
    if (s->state != FIRST && s->state != LISTENING)
        return;
    listen(s);
    if (opens_monitor(s, byte)) {
        monitor_line(s);
        return;
    }
    enum v2_heard heard = v2_hear(&s->parser, byte);
    if (heard == V2_DERAILED)
        derail(s);
    else if (heard == V2_FRAME)
        execute(s);
}

static bool stk500boot_busy(const struct vserial *dev)
{
    const struct stk500boot *s = (const struct stk500boot *)dev;
    return s->state == PROGRAMMING || s->state == LEAVING || boot_sending(&s->boot);
}

/* ---- time ---- */

static uint64_t stk500boot_next(const struct vserial *dev)
{
    return ((const struct stk500boot *)dev)->until;
}

static void stk500boot_tick(struct vserial *dev)
{
    struct stk500boot *s = stk500boot_of(dev);
    if (s->until > boot_now(&s->boot))
        return;
    switch (s->state) {
    case STARTING:
        change(s, FIRST, s->until + FIRST_BYTE);
        break;
    case FIRST:
        no_first_byte(s);
        break;
    case PROGRAMMING:
        finish_programming(s);
        break;
    case MONITOR:
        monitor_line(s);
        break;
    case LISTENING:
    case LEAVING:
        start_application(s);
        break;
    default:
        s->until = UINT64_MAX;
        break;
    }
}

static const struct vserial_ops stk500boot_ops = {
    .reset = stk500boot_reset,
    .receive = stk500boot_receive,
    .next = stk500boot_next,
    .tick = stk500boot_tick,
    .busy = stk500boot_busy,
    .destroy = boot_destroy,
};

static struct vserial *stk500boot_create(const struct vconfig *config)
{
    struct stk500boot *s = (struct stk500boot *)boot_create(
        config, "stk500boot", sizeof *s, OWN_SECTION, UART_115200, &stk500boot_ops);
    if (!s)
        return NULL;
    s->old = config->variant && !strcmp(config->variant, "2011");
    if (config->app)
        start_application(s);
    else
        start_program(s, BOOT_START_UP);
    return &s->boot.serial;
}

static const char *const chips_stk500boot[] = {"atmega2560", NULL};

const struct vmodel vmodel_stk500boot = {
    .name = "stk500boot",
    .method = "stk500v2",
    .chips = chips_stk500boot,
    .baud = 115200,
    .proof = "avrdude -c wiring, and the real firmware in simavr",
    .create = stk500boot_create,
};
