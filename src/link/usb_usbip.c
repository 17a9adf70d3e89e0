/*
 * The USB/IP backend: a device of another host, or a virtual one, with no kernel driver and no
 * root. Importing, resetting and letting go; the transfers are usbip_link.c's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/usbip_link.h"

enum {
    REATTACH_PATIENCE = 2 * SECOND,
    RESET_DEADLINE = 5 * SECOND,
    DEVICE_BYTES = 18,
};

/* ---- reset ---- */

static int attach(struct usbip_link *link, uint64_t patience, struct error *err)
{
    struct usbip_record record = {.busid = ""};
    struct usb_device *device = &link->usb.device;
    int fd = usbip_import(link->usb.name, &link->where, link->usb.clock,
                          clock_in(link->usb.clock, patience), &record, err);
    if (fd < 0)
        return fd;
    link->fd = fd;
    link->broken = false;
    link->devid = record.bus << 16 | (record.address & 0xffff);
    link->speed = record.speed;
    link->usb.configured = record.configuration;
    device->vid = record.vid;
    device->pid = record.pid;
    device->bcd = record.bcd;
    device->bus = record.bus;
    device->address = record.address;
    (void)snprintf(device->bus_path, sizeof device->bus_path, "%s", link->where.busid);
    (void)snprintf(device->name, sizeof device->name, "%s", link->usb.name);
    return OK;
}

/* A reset leaves a device that stays itself without a configuration. */
static int come_back(struct usbip_link *link, struct error *err)
{
    enum { FROM_DEVICE = 0x80, GET_DESCRIPTOR = 6, GET_CONFIGURATION = 8 };
    const struct usb_setup identity = {FROM_DEVICE, GET_DESCRIPTOR, USB_DT_DEVICE << 8, 0,
                                       DEVICE_BYTES};
    const struct usb_setup current = {FROM_DEVICE, GET_CONFIGURATION, 0, 0, 1};
    struct usb *usb = &link->usb;
    uint8_t bytes[DEVICE_BYTES], configuration = 0;
    ssize_t came = usb_control(usb, &identity, bytes, clock_in(usb->clock, RESET_DEADLINE), err);
    if (came < 0)
        return (int)came;
    if (came != DEVICE_BYTES || memcmp(bytes, usb->device_descriptor, DEVICE_BYTES) != 0) {
        usbip_link_gone(link, "it came back as another device");
        return usbip_why_broken(link, err);
    }
    came = usb_control(usb, &current, &configuration, clock_in(usb->clock, RESET_DEADLINE), err);
    if (came < 0 && came != ERR_STALL)
        return (int)came;
    usb->configured = came == 1 ? configuration : 0;
    return usb->configured ? OK : usb_configure(usb, usb->configuration[5], err);
}

/* The hub's request for the port means the device itself, as Linux' server has it. A server that
 * does not know it resets a device when its importer leaves. */
static int usbip_reset(struct usb *usb, struct error *err)
{
    enum { TO_PORT = 0x23, SET_FEATURE = 3, PORT_RESET = 4, PORT = 1 };
    static const struct usb_setup reset = {TO_PORT, SET_FEATURE, PORT_RESET, PORT, 0};
    struct usbip_link *link = (struct usbip_link *)usb;
    ssize_t rc = usb_control(usb, &reset, NULL, clock_in(usb->clock, RESET_DEADLINE), err);
    if (rc == ERR_STALL) {
        usbip_link_gone(link, "it was let go to reset it");
        rc = attach(link, REATTACH_PATIENCE, err);
    }
    if (rc >= 0)
        rc = come_back(link, err);
    if (rc != OK)
        error_context(err, "resetting the device");
    return (int)rc;
}

/* ---- opening and closing ---- */

static void usbip_close(struct usb *usb)
{
    struct usbip_link *link = (struct usbip_link *)usb;
    usbip_link_gone(link, "it is closed");
    free(link->out);
    free(link);
}

static const struct usb_ops usbip_ops = {
    .name = "usbip",
    .submit = usbip_submit,
    .await = usbip_await,
    .cancel = usbip_cancel,
    .reset = usbip_reset,
    .close = usbip_close,
};

int usb_usbip_open(struct usb **usb, const char *name, uint64_t patience, struct error *err)
{
    struct usbip_name where;
    if (!usbip_parse(&where, name) || where.busid[0] == '\0') {
        error_set(err, ERR_USAGE, "%s names no device: usbip:HOST[:PORT]/BUSID does", name);
        error_hint(err, "`mflash detect --device %s` lists those of a server", name);
        return ERR_USAGE;
    }
    struct usbip_link *link = (struct usbip_link *)usb_allocate(sizeof *link, &usbip_ops, name);
    if (!link)
        return error_memory(err);
    link->where = where;
    link->fd = -1;
    int rc = attach(link, patience, err);
    if (rc != OK) {
        usbip_close(&link->usb);
        return rc;
    }
    *usb = &link->usb;
    return OK;
}
