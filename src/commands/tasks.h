/*
 * Several boards at once: all are checked, then all are worked on, each in a thread with a link of
 * its own; a failure of one does not stop the others. Nothing mutable is shared but the screen and
 * the trace.
 */
#ifndef MFLASH_TASKS_H
#define MFLASH_TASKS_H

#include <pthread.h>

#include "commands/cli.h"

struct task {
    struct app app; /* its own options, engine and report; boards, trace and stop are shared */
    char name[64];  /* before its lines: "can0:87e84657e676", "mcu" of a printer file */
    bool verify;    /* compares only */
    bool last;      /* after the others: a bridge takes their bus away while it is flashed */
    struct image image;
    struct plan plan;
    int status;
    struct error err;
    pthread_t thread;
    bool started, finished;
};

/* A task with these options; `image`, if not NULL, is copied into it. */
int task_init(struct task *task, const struct app *app, const struct options *options,
              const char *name, const struct image *image, struct error *err);

/*
 * Board, loader, device and plan of each task (its image is loaded already); every refusal is
 * reported. Then all are executed and a summary is given. Returns the code that all failures share,
 * else ERR_FAILED. With --dry-run the plans are told and nothing is touched.
 */
int tasks_run(struct app *app, struct task *tasks, size_t count, struct error *err);

void tasks_free(struct task *tasks, size_t count);

#endif
