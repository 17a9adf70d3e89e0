/*
 * A pseudo-terminal that stands for a serial port. LINK is a symbolic link to its slave side; a
 * host opening the slave is what DTR is on a real port, because a pty has no modem lines.
 */
#ifndef VBOARD_PTY_H
#define VBOARD_PTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pty {
    int master;       /* -1: the port is not there */
    int watch;        /* inotify on the slave: opens too short to be seen otherwise */
    const char *link; /* path of the symbolic link */
    bool opened;      /* a host had it open when last looked at */
};

enum pty_change {
    PTY_SAME,
    PTY_OPENED,
    PTY_CLOSED,
    PTY_TOUCHED,  /* opened and closed again */
    PTY_REOPENED, /* closed and opened again */
};

/* Makes a new pty, raw and with nobody on it, and points the link at it. False with a line on
 * stderr. */
bool pty_attach(struct pty *pty);

/* Hangs up: hosts that have it open see it vanish, and so does the link. */
void pty_detach(struct pty *pty);

/* What hosts have done since the last look; sets `opened`. */
enum pty_change pty_look(struct pty *pty);

/* What a host wrote: bytes read, 0 if nothing is there. */
size_t pty_read(struct pty *pty, uint8_t *bytes, size_t max);

/* Gives the host what there is room for; returns how many bytes that was. */
size_t pty_write(struct pty *pty, const uint8_t *bytes, size_t length);

/* The rate the host has set, in baud; any rate, also 250000. */
uint32_t pty_rate(const struct pty *pty);

/* What an earlier host has not read must not greet the next one. */
void pty_forget_unread(struct pty *pty);

#endif
