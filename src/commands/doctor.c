/* `mflash doctor`: what on this machine will get in the way, and the remedy of each. */
#include "commands/cli.h"

#include <stdlib.h>

#include "doctor.h"

static void show(struct app *app, const struct finding *finding)
{
    const char *severity = severity_name(finding->severity);
    if (app->options.json)
        report_object(&app->report, json_pack("{s:s, s:s, s:s}", "severity", severity, "what",
                                              finding->what, "remedy", finding->remedy));
    else if (app->options.quiet)
        (void)printf("%s\n", finding->what);
    else
        (void)printf("%-8s %s\n         %s\n", severity, finding->what, finding->remedy);
}

int command_doctor(struct app *app, struct error *err)
{
    struct finding *findings = NULL;
    size_t count = 0;
    if (app_words(app, 0, err) || doctor(&findings, &count, NULL, NULL, err))
        return error_status(err);
    for (size_t i = 0; i < count; i++)
        show(app, &findings[i]);
    free(findings);
    if (!count && !app->options.json && !app->options.quiet)
        (void)printf("nothing on this machine gets in the way of flashing\n");
    return OK;
}
