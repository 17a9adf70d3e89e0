/*
 * `mflash doctor`: what on this machine gets in the way of flashing, and the remedy of each. It
 * only looks: sysfs, /proc, modes of nodes, udev's notes. Nothing is opened, nothing is changed.
 */
#ifndef MFLASH_DOCTOR_H
#define MFLASH_DOCTOR_H

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "link/host.h"

enum severity {
    SEVERITY_NOTE,    /* slower or less convenient than it could be */
    SEVERITY_WARNING, /* can make a flash fail */
    SEVERITY_PROBLEM, /* will make it fail */
};

const char *severity_name(enum severity severity); /* "note", "warning", "problem" */

struct finding {
    enum severity severity;
    char what[320];   /* one sentence, no full stop */
    char remedy[320]; /* what to do or type */
};

/* Who asks: permissions are judged for this user. */
struct user {
    uid_t uid;
    const gid_t *groups; /* all of them, the primary one too */
    size_t group_count;
};

/* All findings, the gravest first; free(*findings). None is good news: count is 0. `host` and
 * `user`: NULL means this machine and who runs this process. */
int doctor(struct finding **findings, size_t *count, const struct host *host,
           const struct user *user, struct error *err);

#endif
