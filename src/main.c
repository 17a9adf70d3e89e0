/* mflash: the command line. Everything it does is in src/commands; everything they use is mflash.h.
 */
#include "commands/cli.h"

#include <string.h>

static const struct command commands[] = {
    {"flash", command_flash, true},      {"detect", command_detect, false},
    {"query", command_query, true},      {"boards", command_boards, false},
    {"methods", command_methods, false}, {"check", command_check, false},
    {"read", command_read, false},       {"verify", command_verify, true},
    {"erase", command_erase, false},     {"info", command_info, false},
    {"unlock", command_unlock, false},   {"bootloader", command_bootloader, false},
    {"fuses", command_fuses, false},     {"reset", command_reset, false},
    {"enter", command_enter, false},     {"run", command_run, false},
    {"printer", command_printer, false}, {"status", command_status, false},
    {"doctor", command_doctor, false},
};

const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* The trace's own failure (disk full) is said, but does not change what happened to the board. */
static void close_trace(struct app *app)
{
    struct error err;
    if (trace_close(app->trace, &err))
        report_error(&app->report, &err, NULL);
    app->trace = NULL;
}

static int run_command(struct app *app)
{
    struct error err;
    error_clear(&err);
    const struct options *options = &app->options;
    int status = options->trace ? trace_open(&app->trace, options->trace, &err) : OK;
    app->engine.trace = app->trace;
    app->engine.stop = app->stop;
    app->engine.baud = options->baud;
    app->engine.force_signature = options->forced & 1U << CHECK_SIGNATURE;
    app->engine.force_unproven = options->forced & 1U << CHECK_UNPROVEN_CHIP;
    app->engine.force_size = options->forced & 1U << CHECK_SIZE;
    app->engine.force_start = options->forced & 1U << CHECK_START;
    app->engine.force_vectors = options->forced & 1U << CHECK_VECTORS;
    app->engine.force_blank = options->forced & 1U << CHECK_BLANK;
    app->engine.events = report_events(&app->report);
    if (!status)
        status = command_find(options->command)->run(app, &err);
    engine_close(&app->engine);
    if (status)
        report_error(&app->report, &err, app->engine.target.device[0] ? &app->engine.state : NULL);
    if (app->trace)
        close_trace(app);
    board_db_free(app->db);
    return error_exit_status((enum error_code)status);
}

int main(int argc, char **argv)
{
    struct app app = {0};
    struct error err;
    int status = options_parse(&app.options, argc, argv, &err);
    struct error none;
    if (report_init(&app.report, app.options.json, app.options.quiet, app.options.verbose, &none))
        return error_exit_status(none.code);
    int exit_status = 0;
    app.stop = signals_install();
    if (status) {
        report_error(&app.report, &err, NULL);
        exit_status = error_exit_status((enum error_code)status);
    } else if (app.options.version) {
        (void)printf("mflash %s\n", mflash_version());
    } else if (app.options.help) {
        (void)fputs(options_help, stdout);
    } else {
        exit_status = run_command(&app);
    }
    report_close(&app.report);
    return exit_status;
}
