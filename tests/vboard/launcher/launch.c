/* The command line of vboard: see launch.h. */
#include "launch.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

static const char usage[] =
    "usage: vboard list\n"
    "       vboard BOARD [-m METHOD] [--app] [--fresh] [--serve WHERE] [OPTIONS]\n"
    "\n"
    "A virtual board: prints `ready` and what to give to mflash's --device or --probe, and serves\n"
    "until SIGTERM. SIGHUP is the reset button, SIGUSR1 a power cycle.\n"
    "\n"
    "  -m, --method NAME    start in the loader of this method (default: the first with a model)\n"
    "      --app            start in the application instead\n"
    "      --fresh          a chip as it comes from the factory, behind an ISP programmer\n"
    "      --probe KIND     which programmer: avrisp2 (default), arduino-isp\n"
    "      --serve WHERE    pty:LINK, usbip:PORT (on 127.0.0.1; 0 is a free port), can:IFACE or\n"
    "                       can:unix:PATH (default: by the board pty:/tmp/vboard-BOARD, usbip:0 "
    "or\n"
    "                       can:unix:/tmp/vboard-BOARD; in $XDG_RUNTIME_DIR if that is set)\n"
    "      --nodes N        so many of the board on one CAN bus, 1 to 60\n"
    "      --bitrate N      of the CAN bus (default: 1000000)\n"
    "      --flash FILE     load and keep the flash as a raw image; FILE.1 … for further nodes\n"
    "      --mem NAME=FILE  the same for eeprom and fuses\n"
    "      --pace           take the time that the real part and line would take\n"
    "      --fault SPEC     drop:N corrupt:N nak:N stall:N cut:N power:N stuck:ADDR locked "
    "wrong-id;\n"
    "                       on a CAN bus frames are counted, and there is bus-off:N\n"
    "      --log FILE       every byte with time and direction\n"
    "      --model NAME     of several models, this one (`vboard list` shows the one taken)\n"
    "      --variant WORD   a model's own word, for example 2011 for the old Mega bootloader\n"
    "      --boards FILE    more boards\n"
    "  -v, --verbose        the UUIDs of the nodes of a CAN bus, one a line on stderr\n"
    "  -h, --help           this text\n";

static int complain(const char *what)
{
    fprintf(stderr, "vboard: %s\n", what);
    return EXIT_USAGE;
}

static int pass(struct launch *launch, const char *option, const char *value)
{
    if (launch->passed_count + 2 > PASSED_MAX)
        return complain("too many options");
    launch->passed[launch->passed_count++] = option;
    if (value)
        launch->passed[launch->passed_count++] = value;
    return 0;
}

enum {
    OPT_SERVE = 256,
    OPT_FLASH,
    OPT_MEM,
    OPT_LOG,
    OPT_VARIANT,
    OPT_FAULT,
    OPT_APP,
    OPT_FRESH,
    OPT_PACE,
    OPT_NODES,
    OPT_PROBE,
    OPT_MODEL,
    OPT_BOARDS,
    OPT_BITRATE,
};

static const struct option long_options[] = {
    {"method", required_argument, NULL, 'm'},
    {"serve", required_argument, NULL, OPT_SERVE},
    {"flash", required_argument, NULL, OPT_FLASH},
    {"mem", required_argument, NULL, OPT_MEM},
    {"log", required_argument, NULL, OPT_LOG},
    {"variant", required_argument, NULL, OPT_VARIANT},
    {"fault", required_argument, NULL, OPT_FAULT},
    {"app", no_argument, NULL, OPT_APP},
    {"fresh", no_argument, NULL, OPT_FRESH},
    {"pace", no_argument, NULL, OPT_PACE},
    {"nodes", required_argument, NULL, OPT_NODES},
    {"bitrate", required_argument, NULL, OPT_BITRATE},
    {"verbose", no_argument, NULL, 'v'},
    {"probe", required_argument, NULL, OPT_PROBE},
    {"model", required_argument, NULL, OPT_MODEL},
    {"boards", required_argument, NULL, OPT_BOARDS},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int take_serve(struct launch *launch, const char *spec)
{
    bool path = strncmp(spec, "pty:", 4) == 0 || strncmp(spec, "can:", 4) == 0;
    char *end;

    launch->serve = spec;
    if (path && spec[4])
        return 0;
    if (strncmp(spec, "usbip:", 6) == 0 && spec[6] >= '0' && spec[6] <= '9' &&
        strtoul(spec + 6, &end, 10) <= UINT16_MAX && *end == '\0')
        return 0;
    return complain("--serve: where is pty:LINK, usbip:PORT (0 to 65535), can:IFACE or "
                    "can:unix:PATH");
}

static int take_option(struct launch *launch, int option, const char *value)
{
    switch (option) {
    case 'm':
        launch->method = value;
        return 0;
    case 'h':
        fputs(usage, stdout);
        return -1;
    case OPT_SERVE:
        return take_serve(launch, value);
    case OPT_PROBE:
        launch->probe = value;
        return 0;
    case OPT_MODEL:
        launch->model = value;
        return 0;
    case OPT_BOARDS:
        launch->boards_file = value;
        return 0;
    case OPT_NODES:
        launch->bus = true;
        return pass(launch, "--nodes", value);
    case OPT_BITRATE:
        launch->bus = true;
        return pass(launch, "--bitrate", value);
    case 'v':
        return pass(launch, "--verbose", NULL);
    case OPT_FLASH:
        return pass(launch, "--flash", value);
    case OPT_MEM:
        return pass(launch, "--mem", value);
    case OPT_LOG:
        return pass(launch, "--log", value);
    case OPT_VARIANT:
        launch->scripted = true;
        return pass(launch, "--variant", value);
    case OPT_FAULT:
        launch->bus |= strncmp(value, "bus-off:", 8) == 0;
        launch->scripted |= strncmp(value, "nak:", 4) == 0 || strcmp(value, "wrong-id") == 0;
        return pass(launch, "--fault", value);
    case OPT_APP:
        return pass(launch, "--app", NULL);
    case OPT_PACE:
        return pass(launch, "--pace", NULL);
    case OPT_FRESH:
        launch->fresh = true;
        return pass(launch, "--fresh", NULL);
    default:
        return EXIT_USAGE; /* getopt has said what is wrong */
    }
}

int launch_parse(struct launch *launch, int argc, char **argv)
{
    int option, status;

    *launch = (struct launch){0};
    while ((option = getopt_long(argc, argv, "m:vh", long_options, NULL)) != -1)
        if ((status = take_option(launch, option, optarg)) != 0)
            return status;
    if (optind + 1 != argc)
        return complain(optind == argc ? "which board? `vboard list` shows them"
                                       : "one board at a time");
    launch->list = strcmp(argv[optind], "list") == 0;
    launch->board = argv[optind];
    return 0;
}

/* What mflash's --probe wants before the port, for a programmer; nothing for a board. */
static const char *ready_prefix(const struct model *model)
{
    if (!model->fresh)
        return "";
    return strcmp(model->name, "arduino-isp") == 0 ? "arduino-isp:" : "avrisp2:";
}

static void default_serve(char *serve, size_t size, const struct board *board,
                          const struct model *model)
{
    const char *folder = getenv("XDG_RUNTIME_DIR");

    if (strcmp(model->link, "usb") == 0) {
        snprintf(serve, size, "usbip:0");
        return;
    }
    snprintf(serve, size, "%s%s/vboard-%s", strcmp(model->link, "can") == 0 ? "can:unix:" : "pty:",
             folder && *folder ? folder : "/tmp", board->name);
}

enum { KLIPPER_VID = 0x1d50, KLIPPER_PID = 0x614e, USB_ID_TEXT = 32 };

/* The ids that the device has in its loader, and in an application that is not Klipper. */
static void usb_ids(char loader_id[USB_ID_TEXT], char application_id[USB_ID_TEXT],
                    const struct board *board, const struct loader *loader)
{
    loader_id[0] = application_id[0] = '\0';
    if (loader->usb_count)
        snprintf(loader_id, USB_ID_TEXT, "loader=%04x:%04x", loader->usb[0].vid,
                 loader->usb[0].pid);
    for (size_t i = 0; i < board->usb_count && !application_id[0]; i++)
        if (board->usb[i].vid != KLIPPER_VID || board->usb[i].pid != KLIPPER_PID)
            snprintf(application_id, USB_ID_TEXT, "application=%04x:%04x", board->usb[i].vid,
                     board->usb[i].pid);
}

int launch_exec(const struct launch *launch, const struct board *board, const struct loader *loader,
                const struct model *model, struct error *err)
{
    const char *argv[PASSED_MAX + 24];
    char serve[4200], ids[2][USB_ID_TEXT];
    size_t count = 0;

    default_serve(serve, sizeof serve, board, model);
    const char *const fixed[] = {model->executable,
                                 "--model",
                                 model->name,
                                 "--chip",
                                 board->chip->name,
                                 "--serve",
                                 launch->serve ? launch->serve : serve,
                                 "--ready",
                                 ready_prefix(model),
                                 "--mcu",
                                 board->mcu ? board->mcu : board->chip->name,
                                 "--product",
                                 board->title};
    usb_ids(ids[0], ids[1], board, loader);
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        argv[count++] = fixed[i];
    for (size_t i = 0; i < 2; i++)
        if (ids[i][0]) {
            argv[count++] = "--usb";
            argv[count++] = ids[i];
        }
    for (size_t i = 0; i < launch->passed_count; i++)
        argv[count++] = launch->passed[i];
    argv[count] = NULL;
    execv(model->executable, (char *const *)argv);
    return error_set(err, ERR_FAILED, "starting %s: %s", model->executable, strerror(errno));
}
