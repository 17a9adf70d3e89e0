/* The commands of the Mega 2560's bootloader; see stk500boot.c. Lengths are believed as they come:
 * those that would run past the buffer or never count down to 0 derail the program. */
#include "stk500boot.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "flash.h"

enum {
    LEAVE_WAIT = 100 * MILLISECOND,
    READ_LIMIT = STK500BOOT_BODY - 3, /* command, status and closing status are in the buffer too */
};

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
    uint8_t body[STK500BOOT_BODY];
    if (length == 0 || length > READ_LIMIT || (words && length % 2)) {
        stk500boot_derail(s); /* it counts down to 0, in steps of a word for flash */
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
    if (s->erase_address >= s->boot.flash.size - 2 * STK500BOOT_SECTION)
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
    for (size_t i = 0; i < length && 10 + i < STK500BOOT_BODY; i++) {
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
        stk500boot_derail(s);
        return;
    }
    uint64_t time = erase_next_page(s) + BOOT_PAGE_WRITE;
    fill_page(s, length);
    s->page_at = s->address;
    s->address += (uint32_t)length;
    stk500boot_change(s, PROGRAMMING, boot_after(&s->boot, time));
}

static void program_eeprom(struct stk500boot *s)
{
    size_t length = get_be16(s->parser.body + 1);
    uint64_t time = s->old ? 0 : (uint64_t)length * BOOT_EEPROM_WRITE;
    stk500boot_change(s, PROGRAMMING, boot_after(&s->boot, time));
}

static void store_eeprom(struct stk500boot *s)
{
    size_t length = get_be16(s->parser.body + 1);
    for (size_t i = 0; i < length && 10 + i < STK500BOOT_BODY; i++, s->address += 2)
        vmemory_store(&s->boot.eeprom, s->address >> 1, s->parser.body[10 + i]);
}

void stk500boot_programmed(struct stk500boot *s)
{
    if (s->parser.body[0] == V2_PROGRAM_FLASH)
        boot_write_page(&s->boot, s->page_at, s->page);
    else if (!s->old)
        store_eeprom(s);
    if (s->boot.broken) {
        stk500boot_derail(s);
        return;
    }
    stk500boot_listen(s);
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
    stk500boot_change(s, LEAVING, boot_now(&s->boot) + LEAVE_WAIT);
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

void stk500boot_execute(struct stk500boot *s)
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
