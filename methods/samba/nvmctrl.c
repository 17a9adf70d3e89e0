/*
 * NVMCTRL of SAMD2x/C2x/L2x (DS40001882) and of SAMD5x/E5x (DS60001507), behind the flash
 * bootloaders of Arduino and UF2.
 *
 * Two things to know. The monitor's Y writes and its X erases, but neither tells of errors: the
 * controller's sticky flags are cleared before and read after. And the monitor runs from the flash
 * it changes: on a SAMD2x it stands still meanwhile, so commands may be queued without looking.
 */
#include "samba/nvmctrl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum {
    CMDEX = 0xa500,
    CHUNK = 4096,          /* bytes of one Y, as bossac; parts with little RAM take less */
    ERASE_US = 2 * SECOND, /* a row takes 6 ms at most, a block 200 */
    WRITE_US = 5 * SECOND,
    X_US = 20 * SECOND, /* 1 MiB of 8 KiB blocks */
    ROWS_QUEUED = 16,   /* erased between two looks at the controller */
    PAGE_MAX = 512,
    REPLY = 3, /* 'Y' LF CR */
};

static const struct user_field d2x_fields[] = {
    {"user0", 0, 0, 32, "first word of the user row"},
    {"user1", 1, 0, 32, "second word of the user row"},
    {"bootprot", 0, 0, 3, "protected bootloader: 7 none, 6 512 bytes, doubled down to 0 32 KiB"},
    {"eeprom", 0, 4, 3, "emulated EEPROM: 7 none, 6 256 bytes, doubled down to 0 16 KiB"},
    {"regionlock", 1, 16, 16, "regions after reset: 1 = unlocked"},
    {0},
};

static const struct user_field d5x_fields[] = {
    {"user0", 0, 0, 32, "first word of the user page"},
    {"user1", 1, 0, 32, "second word of the user page"},
    {"user2", 2, 0, 32, "third word of the user page"},
    {"bootprot", 0, 26, 4, "protected bootloader: 15 none, each step down 8 KiB more"},
    {"seesblk", 1, 0, 4, "blocks of the emulated EEPROM"},
    {"regionlock", 2, 0, 32, "regions after reset: 1 = unlocked"},
    {0},
};

static const struct nvm_kind d2x = {
    .command = 0x41004000, /* CTRLA */
    .address = 0x4100401c,
    .shift = 1,
    .erase = 0x02,                /* ER */
    .write = 0x04,                /* WP */
    .clear_buffer = 0x44,         /* PBC */
    .unlock = 0x41,               /* UR */
    .erase_user = 0x05,           /* EAR */
    .write_user = 0x06,           /* WAP */
    .ready_register = 0x41004014, /* INTFLAG */
    .ready = 0x01,
    .error_flag = 0x02,
    .error_register = 0x41004018, /* STATUS: PROGE, LOCKE, NVME */
    .errors = 0x1c,
    .protection_error = 0x08,
    .lock_register = 0x41004020,
    .mode_register = 0x41004004, /* CTRLB: MANW, CACHEDIS */
    .mode_set = 0x40080,
    .stalls = true,
    .user_row = 64,
    .user_unit = 64,
    .fields = d2x_fields,
};

static const struct nvm_kind d5x = {
    .command = 0x41004004, /* CTRLB */
    .address = 0x41004014,
    .shift = 0,
    .erase = 0x01,                /* EB */
    .write = 0x03,                /* WP */
    .clear_buffer = 0x15,         /* PBC */
    .unlock = 0x12,               /* UR */
    .erase_user = 0x00,           /* EP */
    .write_user = 0x04,           /* WQW */
    .ready_register = 0x41004010, /* INTFLAG, and STATUS above it */
    .ready = 0x10000,
    .error_register = 0x41004010, /* ADDRE, PROGE, LOCKE, NVME and ECC errors, SUSP */
    .errors = 0xce,
    .protection_error = 0x08,
    .lock_register = 0x41004018, /* RUNLOCK */
    .mode_register = 0x41004000, /* CTRLA: WMODE manual, CACHEDIS0 and 1 */
    .mode_clear = 0x30,
    .mode_set = 0xc000,
    .user_row = 512,
    .user_unit = 16,
    .fields = d5x_fields,
};

const struct nvm_kind *nvm_kind(const struct samba *s)
{
    return s->controller == &samba_nvmctrl_d2x ? &d2x : &d5x;
}

/* ---- Commands and errors ---- */

int nvm_command(struct samba *s, uint8_t command, uint64_t address, struct error *err)
{
    const struct nvm_kind *nvm = nvm_kind(s);
    int rc = samba_set(&s->monitor, nvm->address, (uint32_t)(address >> nvm->shift), err);
    return rc == OK ? samba_set(&s->monitor, nvm->command, CMDEX | command, err) : rc;
}

static int clear_errors(struct samba *s, struct error *err)
{
    const struct nvm_kind *nvm = nvm_kind(s);
    int rc = samba_set(&s->monitor, nvm->error_register, nvm->errors, err);
    if (rc == OK && nvm->error_flag)
        rc = samba_set(&s->monitor, nvm->ready_register, nvm->error_flag, err);
    return rc;
}

int nvm_wait(struct samba *s, uint64_t timeout, struct error *err)
{
    const struct nvm_kind *nvm = nvm_kind(s);
    uint32_t ready = 0, errors = 0;
    int rc = samba_wait(s, nvm->ready_register, nvm->ready, &ready, timeout, err);
    if (rc != OK)
        return rc;
    errors = ready;
    if (nvm->error_register != nvm->ready_register)
        rc = samba_word(&s->monitor, nvm->error_register, &errors, err);
    errors &= nvm->errors;
    if (rc != OK || !errors)
        return rc;
    rc = clear_errors(s, err);
    if (rc != OK)
        return rc;
    if (!(errors & nvm->protection_error))
        return error_set(err, ERR_PROTOCOL, "the flash controller reports error 0x%02" PRIx32,
                         errors);
    error_set(err, ERR_PROTECTED,
              "the flash controller reports LOCKE (0x%02" PRIx32 "): the region is locked, or "
              "protected as the bootloader's",
              errors);
    return error_hint(err, "`mflash fuses` shows regionlock and bootprot; `mflash unlock` unlocks");
}

int nvm_manual_mode(struct samba *s, struct error *err)
{
    const struct nvm_kind *nvm = nvm_kind(s);
    uint32_t mode = 0;
    int rc = samba_word(&s->monitor, nvm->mode_register, &mode, err);
    mode = (mode & ~nvm->mode_clear) | nvm->mode_set;
    return rc == OK ? samba_set(&s->monitor, nvm->mode_register, mode, err) : rc;
}

/* ---- Locks ---- */

/* Unlocks until the next reset; the user row decides what is locked then. */
static int unlock_extent(struct samba *s, struct span extent, struct error *err)
{
    uint32_t open = 0;
    uint64_t size = s->flash->size / s->part->lock_regions;
    int rc = samba_word(&s->monitor, nvm_kind(s)->lock_register, &open, err);
    for (uint32_t n = 0; rc == OK && n < s->part->lock_regions && n < 32; n++) {
        uint64_t start = s->flash->start + n * size;
        if (open >> n & 1 || start >= extent.start + extent.size || start + size <= extent.start)
            continue;
        session_note(s->session, "lock region at 0x%08" PRIx64 " is unlocked until reset", start);
        rc = nvm_command(s, nvm_kind(s)->unlock, start, err);
        if (rc == OK)
            rc = nvm_wait(s, ERASE_US, err);
    }
    return rc == OK ? OK : error_context(err, "unlocking");
}

static int nvm_unlock(struct samba *s, struct error *err)
{
    int rc = unlock_extent(s, (struct span){s->flash->start, s->flash->size}, err);
    uint32_t all = s->part->lock_regions >= 32 ? UINT32_MAX : (1u << s->part->lock_regions) - 1;
    return rc == OK ? nvm_set_fuse(s, "regionlock", all, err) : rc;
}

static int nvm_prepare(struct samba *s, struct span extent, struct error *err)
{
    int rc = clear_errors(s, err);
    return rc == OK ? unlock_extent(s, extent, err) : rc;
}

/* ---- Erasing and programming ---- */

static int nvm_erase(struct samba *s, struct span sectors, struct error *err)
{
    const struct nvm_kind *nvm = nvm_kind(s);
    unsigned queued = 0;
    int rc = OK;
    for (uint64_t at = 0; rc == OK && at < sectors.size; at += s->flash->sector) {
        bool last = at + s->flash->sector >= sectors.size;
        rc = nvm_command(s, nvm->erase, sectors.start + at, err);
        if (rc == OK && (last || !nvm->stalls || ++queued % ROWS_QUEUED == 0))
            rc = nvm_wait(s, ERASE_US, err);
        if (rc != OK)
            error_context(err, "erasing at 0x%08" PRIx64, sectors.start + at);
    }
    return rc;
}

static int expect(struct samba *s, char letter, uint64_t timeout, struct error *err)
{
    uint8_t reply[REPLY];
    int rc = samba_answer(&s->monitor, reply, sizeof reply, timeout, err);
    if (rc == OK && (reply[0] != (uint8_t)letter || reply[1] != '\n' || reply[2] != '\r'))
        rc = error_set(err, ERR_PROTOCOL, "the device answered %02x %02x %02x to %c", reply[0],
                       reply[1], reply[2], letter);
    return rc;
}

/* S, Y and Y leave without waiting; the two answers come when the bytes are in flash. */
static int write_buffered(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                          struct error *err)
{
    uint32_t buffer = samba_buffer(s);
    int rc = samba_send(&s->monitor, buffer, bytes, length, err);
    if (rc == OK)
        rc = samba_queue(&s->monitor, err, "Y%08X,0#", (unsigned)buffer);
    if (rc == OK)
        rc = samba_queue(&s->monitor, err, "Y%08X,%08X#", (unsigned)address, (unsigned)length);
    if (rc == OK)
        rc = expect(s, 'Y', WRITE_US, err);
    return rc == OK ? expect(s, 'Y', WRITE_US, err) : rc;
}

int nvm_write_words(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                    uint8_t command, struct error *err)
{
    const struct nvm_kind *nvm = nvm_kind(s);
    int rc = samba_set(&s->monitor, nvm->command, CMDEX | nvm->clear_buffer, err);
    if (rc == OK && !nvm->stalls)
        rc = nvm_wait(s, ERASE_US, err);
    for (size_t i = 0; rc == OK && i < length; i += 4)
        rc = samba_set(&s->monitor, (uint32_t)(address + i), get_le32(bytes + i), err);
    if (rc == OK)
        rc = nvm_command(s, command, address, err);
    return rc == OK && !nvm->stalls ? nvm_wait(s, WRITE_US, err) : rc;
}

/* Monitors without Y: page by page. */
static int write_pages(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                       struct error *err)
{
    size_t page = s->flash->page;
    int rc = nvm_manual_mode(s, err);
    for (size_t at = 0; rc == OK && at < length; at += page)
        if (!bytes_blank(bytes + at, page, s->flash->erased))
            rc = nvm_write_words(s, address + at, bytes + at, page, nvm_kind(s)->write, err);
    return rc;
}

static size_t used_length(const struct samba *s, const uint8_t *bytes, size_t length)
{
    size_t page = s->flash->page;
    while (length >= page && bytes_blank(bytes + length - page, page, s->flash->erased))
        length -= page;
    return length;
}

/* RAM of the smallest parts holds less than a chunk. */
static size_t chunk_size(const struct samba *s)
{
    size_t room = s->end - samba_buffer(s) - 128; /* XMODEM fills its last block up */
    room -= room % s->flash->page;
    return room < CHUNK ? room : CHUNK;
}

static int nvm_program(struct samba *s, uint64_t address, const uint8_t *bytes, size_t length,
                       bool erased, struct error *err)
{
    size_t chunk = chunk_size(s);
    int rc = erased ? OK : nvm_erase(s, (struct span){address, length}, err);
    length = used_length(s, bytes, length);
    for (size_t at = 0; rc == OK && at < length; at += chunk) {
        size_t n = length - at < chunk ? length - at : chunk;
        rc = s->monitor.y ? write_buffered(s, address + at, bytes + at, n, err)
                          : write_pages(s, address + at, bytes + at, n, err);
        if (rc == OK)
            rc = nvm_wait(s, WRITE_US, err);
        if (rc != OK)
            error_context(err, "writing at 0x%08" PRIx64, address + at);
    }
    return rc;
}

/* The application's flash: the bootloader below it stays. */
static int nvm_erase_all(struct samba *s, struct error *err)
{
    uint64_t start = s->session->loader->start;
    if (!s->session->loader->has_start || start <= s->flash->start)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "the board's data does not say where the "
                         "application starts behind this bootloader");
    if (!s->monitor.x)
        return nvm_erase(s, (struct span){start, s->flash->start + s->flash->size - start}, err);
    int rc = samba_queue(&s->monitor, err, "X%08X#", (unsigned)start);
    if (rc == OK)
        rc = expect(s, 'X', X_US, err);
    if (rc == OK)
        rc = nvm_wait(s, ERASE_US, err);
    return rc == OK ? OK : error_context(err, "erasing from 0x%08" PRIx64 " on", start);
}

/* ---- What it is ---- */

enum { D2X_STATUS_SB = 0x100 };

static int d2x_security(struct samba *s, struct error *err)
{
    uint32_t status = 0;
    int rc = samba_word(&s->monitor, d2x.error_register, &status, err);
    s->unreadable = s->monitor.secure && status & D2X_STATUS_SB;
    return rc;
}

static int d5x_security(struct samba *s, struct error *err)
{
    (void)s, (void)err; /* not to be seen from inside */
    return OK;
}

static const char *nvm_fuse_danger(const char *name, uint32_t value)
{
    return strncmp(name, "user", 4) == 0 && value == UINT32_MAX
               ? "an erased user row starts the watchdog at power-on, and it cannot be stopped"
               : NULL;
}

static int nvm_info(struct samba *s, struct device_info *info, struct error *err)
{
    uint32_t parameters = 0; /* PARAM: pages, and 8 << code bytes in each */
    int rc = samba_word(&s->monitor, 0x41004008, &parameters, err);
    if (rc != OK)
        return error_context(err, "asking for the flash's geometry");
    unsigned page = 8u << (parameters >> 16 & 7), pages = parameters & 0xffff;
    device_info_add(info, "flash", "%u KiB in pages of %u bytes", pages * page / 1024, page);
    return OK;
}

const struct flash_controller samba_nvmctrl_d2x = {
    .name = "NVMCTRL_D2x",
    .first_last = true,
    .prepare = nvm_prepare,
    .erase = nvm_erase,
    .program = nvm_program,
    .erase_all = nvm_erase_all,
    .unlock = nvm_unlock,
    .fuses = nvm_fuses,
    .set_fuse = nvm_set_fuse,
    .fuse_danger = nvm_fuse_danger,
    .security = d2x_security,
    .info = nvm_info,
};

const struct flash_controller samba_nvmctrl_d5x = {
    .name = "NVMCTRL_D5x",
    .first_last = true,
    .prepare = nvm_prepare,
    .erase = nvm_erase,
    .program = nvm_program,
    .erase_all = nvm_erase_all,
    .unlock = nvm_unlock,
    .fuses = nvm_fuses,
    .set_fuse = nvm_set_fuse,
    .fuse_danger = nvm_fuse_danger,
    .security = d5x_security,
    .info = nvm_info,
};
