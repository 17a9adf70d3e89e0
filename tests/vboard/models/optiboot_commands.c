/* The commands of optiboot; see optiboot.c. */
#include "optiboot.h"

#include "flash.h"

static bool is_modern(const struct optiboot *o) /* 16-bit lengths, erase after the data */
{
    return o->version.major >= 6;
}

static uint32_t full_address(const struct optiboot *o)
{
    return (uint32_t)o->rampz << 16 | o->address;
}

static bool has_rampz(const struct optiboot *o)
{
    return o->boot.flash.size > 0x10000;
}

/* ---- commands ---- */

size_t optiboot_length(const struct optiboot *o)
{
    size_t low = o->parameter[1] ? o->parameter[1] : 256;
    if (!is_modern(o) || o->boot.page < 256)
        return low;
    size_t length = (size_t)o->parameter[0] << 8 | o->parameter[1];
    return length ? length : 0x10000;
}

static bool wants_eeprom(const struct optiboot *o)
{
    return o->parameter[2] == 'E';
}

/* Before version 6 a page that can be read while it is written is erased while its data arrives. */
void optiboot_page_begins(struct optiboot *o)
{
    if (is_modern(o) || full_address(o) >= o->boot.nrww)
        return;
    boot_erase_page(&o->boot, full_address(o));
    o->erase_over = boot_after(&o->boot, BOOT_PAGE_ERASE);
}

void optiboot_page_arrived(struct optiboot *o)
{
    if (is_modern(o) || full_address(o) < o->boot.nrww)
        return;
    boot_erase_page(&o->boot, full_address(o));
    o->state = ERASING;
    o->until = boot_after(&o->boot, BOOT_PAGE_ERASE);
}

static void begin_write(struct optiboot *o)
{
    if (is_modern(o)) {
        if (wants_eeprom(o)) {
            optiboot_die(o, OPTIBOOT_WATCHDOG);
            return;
        }
        boot_erase_page(&o->boot, full_address(o));
        o->erase_over = boot_after(&o->boot, BOOT_PAGE_ERASE);
    }
    uint64_t start = boot_now(&o->boot);
    if (o->erase_over > start)
        start = o->erase_over;
    o->state = WRITING;
    o->until = start + (boot_after(&o->boot, BOOT_PAGE_WRITE) - boot_now(&o->boot));
}

static void send_end(struct optiboot *o)
{
    boot_send_byte(&o->boot, boot_nak(&o->boot) ? V1_FAILED : V1_OK);
}

/* The whole page is written from the buffer, whatever of it is fresh; the low address bits turn it
 * round inside the page. */
void optiboot_written(struct optiboot *o)
{
    uint8_t page[BOOT_PAGE_MAX];
    for (uint32_t i = 0; i < o->boot.page; i++)
        page[(o->address + i) % o->boot.page] = o->buffer[i];
    boot_write_page(&o->boot, full_address(o), page);
    o->state = LISTENING;
    send_end(o);
}

static void send_page(struct optiboot *o)
{
    for (size_t left = optiboot_length(o); left; left--) {
        boot_send_byte(&o->boot, vmemory_byte(&o->boot.flash, full_address(o)));
        /* LPM counts Z up; on large parts the carry goes into RAMPZ. */
        if (++o->address == 0 && has_rampz(o))
            o->rampz++;
    }
}

static void load_address(struct optiboot *o)
{
    uint8_t top = o->parameter[1] >> 7;
    o->address = (uint16_t)((o->parameter[0] | o->parameter[1] << 8) << 1);
    if (has_rampz(o))
        o->rampz = o->version.major >= 8 ? (uint8_t)((o->rampz & 0xfe) | top) : top;
}

static void universal(struct optiboot *o)
{
    if (o->parameter[0] == 0x4d && o->version.major >= 8 && has_rampz(o))
        o->rampz = (uint8_t)((o->rampz & 1) | o->parameter[2] << 1);
    boot_send_byte(&o->boot, 0);
}

static uint8_t parameter_value(const struct optiboot *o)
{
    switch (o->parameter[0]) {
    case 0x81:
        return o->version.major;
    case 0x82:
        return o->version.minor;
    default:
        return 3;
    }
}

/* The closing 20 was there. */
void optiboot_execute(struct optiboot *o)
{
    boot_send_byte(&o->boot, V1_INSYNC);
    switch (o->command) {
    case V1_GET_PARAMETER:
        boot_send_byte(&o->boot, parameter_value(o));
        break;
    case V1_LOAD_ADDRESS:
        load_address(o);
        break;
    case V1_UNIVERSAL:
        universal(o);
        break;
    case V1_PROG_PAGE:
        begin_write(o);
        return; /* 10 comes when the page is written */
    case V1_READ_PAGE:
        if (is_modern(o) && wants_eeprom(o)) {
            optiboot_die(o, OPTIBOOT_WATCHDOG);
            return;
        }
        send_page(o);
        break;
    case V1_READ_SIGN:
        boot_send(&o->boot, o->boot.signature, 3);
        break;
    default:
        break;
    }
    send_end(o);
}
