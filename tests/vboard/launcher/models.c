/* The tables of the board executables: see models.h. */
#include "models.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* name, method, link, baud, fresh or -, chips by commas, proof; by tabs */
static bool parse_line(struct model *model)
{
    char *rest = model->text, *fields[7];

    rest[strcspn(rest, "\n")] = '\0';
    for (size_t i = 0; i < 7; i++) {
        fields[i] = strsep(&rest, "\t");
        if (!fields[i])
            return false;
    }
    model->name = fields[0];
    model->method = fields[1];
    model->link = fields[2];
    model->baud = (uint32_t)strtoul(fields[3], NULL, 10);
    model->fresh = strcmp(fields[4], "fresh") == 0;
    model->chips = fields[5];
    model->proof = fields[6];
    return true;
}

static int read_lines(struct models *models, FILE *pipe, const char *executable, struct error *err)
{
    while (models->count < MODELS_MAX) {
        struct model *model = &models->list[models->count];
        if (!fgets(model->text, sizeof model->text, pipe))
            return OK;
        if (!parse_line(model))
            return error_set(err, ERR_FAILED, "%s list: a line that is no model", executable);
        model->executable = executable;
        models->count++;
    }
    return error_set(err, ERR_FAILED, "%s list: more than %d models", executable, MODELS_MAX);
}

static int spawn_reader(const char *executable, int ends[2], pid_t *pid)
{
    char *const argv[] = {(char *)executable, "list", NULL};
    posix_spawn_file_actions_t actions;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    int failed = posix_spawn(pid, executable, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

int models_ask(struct models *models, const char *executable, struct error *err)
{
    int ends[2], failed, status = 0;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set(err, ERR_FAILED, "a pipe to %s: %s", executable, strerror(errno));
    failed = spawn_reader(executable, ends, &pid);
    close(ends[1]);
    FILE *pipe = fdopen(ends[0], "r");
    if (failed || !pipe) {
        if (pipe)
            fclose(pipe);
        return error_set(err, ERR_FAILED, "starting %s: %s", executable,
                         strerror(failed ? failed : errno));
    }
    int result = read_lines(models, pipe, executable, err);
    fclose(pipe);
    waitpid(pid, &status, 0);
    if (result == OK && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return error_set(err, ERR_FAILED, "%s list failed", executable);
    return result;
}

static bool is_chip(const struct model *model, const char *chip)
{
    size_t length = strlen(chip);

    for (const char *at = model->chips; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, chip, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

static bool is_real(const struct model *model)
{
    return strncmp(model->proof, "real ", 5) == 0;
}

/* The position of the model's rate among the board's, or past all of them. */
static size_t baud_rank(const struct model *model, const struct loader *loader)
{
    size_t rank = 0;

    if (model->baud == 0 || loader->baud_count == 0)
        return 0;
    while (rank < loader->baud_count && loader->bauds[rank] != model->baud)
        rank++;
    return rank;
}

static bool is_better(const struct model *model, const struct model *than,
                      const struct loader *loader, bool scripted)
{
    if (!than)
        return true;
    bool plain = strcmp(model->name, model->method) == 0;
    size_t mine = baud_rank(model, loader), other = baud_rank(than, loader);
    if (mine != other)
        return mine < other;
    if (is_real(model) != is_real(than))
        return is_real(model) != scripted;
    if (!loader->baud_count && model->baud != than->baud)
        return model->baud > than->baud;
    return plain; /* a kind of its own (katapult-bridge) is asked for by its name */
}

/* A serial port with USB of its own can be either. */
static bool has_link(const struct model *model, const char *link)
{
    if (!link || strcmp(model->link, link) == 0)
        return true;
    return strcmp(model->link, "cdc") == 0 && strcmp(link, "can") != 0;
}

const struct model *models_find(const struct models *models, const struct board *board,
                                const struct loader *loader, bool scripted, const char *name,
                                const char *link)
{
    const struct model *best = NULL;

    for (size_t i = 0; i < models->count; i++) {
        const struct model *model = &models->list[i];
        bool fits = strcmp(model->method, loader->method) == 0 &&
                    is_chip(model, board->chip->name) &&
                    (!loader->baud_count || baud_rank(model, loader) < loader->baud_count) &&
                    (!name || strcmp(model->name, name) == 0) && has_link(model, link);
        if (fits && is_better(model, best, loader, scripted))
            best = model;
    }
    return best;
}
