/*
 * DFU over USB: STM32's ROM and its many relatives (DfuSe), stm32duino, and plain DFU 1.0 and 1.1.
 * See dfu.h for documents, wire.h for the one thing to know.
 */
#include "dfu/dfu.h"

#include <inttypes.h>
#include <stdlib.h>

#include "stm32/options.h"

enum { KIB = 1024 };

static struct dfu *dfu_of(const struct session *session)
{
    return session->state;
}

/* ---- the method ---- */

static void dfu_disconnect(struct session *session)
{
    struct dfu *dfu = dfu_of(session);
    if (dfu && dfu->wire.usb)
        usb_release(dfu->wire.usb, dfu->wire.interface);
    free(dfu);
    session->state = NULL;
}

static int dfu_connect(struct session *session, struct error *err)
{
    struct dfu *dfu = calloc(1, sizeof *dfu);
    if (!dfu)
        return error_memory(err);
    dfu->session = session;
    dfu->wire.usb = session->usb;
    session->state = dfu;
    int rc = dfu_open(dfu, err);
    if (rc != OK)
        dfu_disconnect(session);
    return rc;
}

static const char *kind_name(enum dfu_kind kind)
{
    static const char *const names[] = {"DFU 1.1", "DfuSe", "stm32duino"};
    return names[kind];
}

static int dfu_info(struct session *session, struct device_info *info, struct error *err)
{
    struct dfu *dfu = dfu_of(session);
    const struct usb_device *device = &session->usb->device;
    (void)err;
    device_info_add(info, "bootloader", "%s (%s)", device->product[0] ? device->product : "?",
                    kind_name(dfu->kind));
    device_info_add(info, "release", "%x.%02x", device->bcd >> 8, device->bcd & 0xff);
    device_info_add(info, "serial", "%s", device->serial);
    for (size_t i = 0; i < dfu->count; i++)
        device_info_add(info, i ? "" : "memory", "%u  %s", dfu->alternates[i].number,
                        dfu->alternates[i].description);
    if (dfu->kilobytes)
        device_info_add(info, "flash", "%u KiB, by the serial number %s of this GD32",
                        dfu->kilobytes, dfu->serial);
    device_info_add(info, "block", "%u bytes", dfu->transfer);
    return OK;
}

static enum erase_style dfu_style(const struct loader *loader)
{
    /* Loaders with one start place programs themselves, and erase as they go. */
    return loader->start_count ? ERASE_RANGES : ERASE_BY_WRITE;
}

static int not_st(const struct dfu *dfu, const char *what, struct error *err)
{
    return error_set(err, ERR_NOT_POSSIBLE,
                     "%s: not possible over this %s loader, because it has "
                     "no command for it",
                     what, kind_name(dfu->kind));
}

static int dfu_erase(struct session *session, const struct span *ranges, size_t count,
                     struct error *err)
{
    struct dfu *dfu = dfu_of(session);
    return dfu->kind == DFU_ST ? dfu_st_erase(dfu, ranges, count, err) : not_st(dfu, "erase", err);
}

static int dfu_erase_chip(struct session *session, struct error *err)
{
    struct dfu *dfu = dfu_of(session);
    return dfu->kind == DFU_ST ? dfu_st_erase_all(dfu, err) : not_st(dfu, "erase the chip", err);
}

/* A small part of the family ends before the chip's row does. */
static int check_fits(struct dfu *dfu, const struct job *job, struct error *err)
{
    for (size_t i = 0; i < job->image->count && dfu->kind == DFU_ST; i++) {
        const struct segment *s = &job->image->segments[i];
        const struct span span = {s->address, s->length};
        if (s->memory == MEM_FLASH && !dfu_alternate_for(dfu, &span, DFU_WRITABLE))
            return dfu_no_memory(dfu, "written", &span, err);
    }
    return OK;
}

static int dfu_write(struct session *session, const struct job *job, struct error *err)
{
    struct dfu *dfu = dfu_of(session);
    if (check_fits(dfu, job, err))
        return error_status(err);
    uint8_t first;
    if (image_read(job->image, MEM_FLASH, session->program, &first, 1, 0xff))
        dfu->wrote = true;
    return dfu->kind == DFU_ST ? dfu_st_write(dfu, job, err) : dfu_plain_write(dfu, job, err);
}

static int check_readable(const struct dfu *dfu, struct error *err)
{
    if (dfu->described && !(dfu->attributes & DFU_CAN_UPLOAD))
        return error_set(err, ERR_NOT_POSSIBLE, "this device does not let its memory be read");
    if (dfu->left)
        return error_set(err, ERR_NOT_POSSIBLE,
                         "this device left its loader as soon as the image was complete");
    return OK;
}

static int dfu_read(struct session *session, enum memory memory, uint64_t address, uint8_t *bytes,
                    size_t length, struct error *err)
{
    struct dfu *dfu = dfu_of(session);
    if (memory != MEM_FLASH)
        return error_set(err, ERR_NOT_POSSIBLE, "%s has no %s", session->chip->name,
                         memory_name(memory));
    if (check_readable(dfu, err))
        return error_status(err);
    if (length == 0)
        return OK;
    return dfu->kind == DFU_ST ? dfu_st_read(dfu, address, bytes, length, err)
                               : dfu_plain_read(dfu, address, bytes, length, err);
}

/* Reading 2 KiB takes some 5 ms; erasing a large sector up to two seconds, and 4 KiB of serial
 * flash 45 to 400 ms. */
static bool dfu_cheap_read(const struct session *session, const struct span *sector)
{
    const struct dfu *dfu = dfu_of(session);
    const struct region *flash = &session->chip->regions[0];
    bool own = sector->start >= flash->start && sector->start - flash->start < flash->size;
    return dfu->kind == DFU_ST && sector->size >= (own ? 16 : 4) * KIB &&
           check_readable(dfu, NULL) == OK;
}

/* ST's ROM starts whatever is there. */
static int refuse_empty(struct dfu *dfu, uint64_t start, struct error *err)
{
    uint8_t vectors[8];
    if (dfu->wrote || dfu->kind != DFU_ST || check_readable(dfu, err))
        return OK;
    if (dfu_st_read(dfu, start, vectors, sizeof vectors, err))
        return error_status(err);
    if (!bytes_blank(vectors, sizeof vectors, 0xff))
        return OK;
    error_refuse(err, "blank", "there is no program at 0x%08" PRIx64, start);
    return error_hint(err, "flash one: started now, the chip would hang until it is reset");
}

static int dfu_run(struct session *session, struct error *err)
{
    struct dfu *dfu = dfu_of(session);
    if (dfu->unfinished)
        return error_set(err, ERR_FAILED, "the program is not complete, and is not started");
    if (dfu->left && dfu->kind == DFU_ST)
        return OK;
    if (refuse_empty(dfu, session->program, err))
        return error_status(err);
    int rc =
        dfu->kind == DFU_ST ? dfu_st_leave(dfu, session->program, err) : dfu_plain_leave(dfu, err);
    return rc == OK ? OK : error_context(err, "starting the application");
}

static int dfu_unlock(struct session *session, struct error *err)
{
    struct dfu *dfu = dfu_of(session);
    return dfu->kind == DFU_ST ? dfu_st_unprotect(dfu, err) : not_st(dfu, "unlock", err);
}

static const struct refusal refusals[] = {
    {OP_EEPROM, "its loaders reach the flash and the option bytes"},
    {OP_COUNT, NULL},
};

static const char *const keys[] = {"alt", "layout", NULL};

const struct method method_dfu = {
    .name = "dfu",
    .summary = "DFU on USB: the ROM of STM32 (DfuSe), stm32duino, plain DFU 1.1",
    .document = "USB DFU 1.1, ST AN3156, UM0424",
    .link = LINK_USB,
    .rom = true,
    .regions = true,
    .erase_style = ERASE_RANGES,
    .refusals = refusals,
    .keys = keys,
    .connect = dfu_connect,
    .info = dfu_info,
    .style = dfu_style,
    .erase = dfu_erase,
    .erase_chip = dfu_erase_chip,
    .write = dfu_write,
    .read = dfu_read,
    .cheap_read = dfu_cheap_read,
    .fuses = dfu_fuses,
    .set_fuse = dfu_set_fuse,
    .fuse_danger = option_danger,
    .unlock = dfu_unlock,
    .run = dfu_run,
    .disconnect = dfu_disconnect,
};
