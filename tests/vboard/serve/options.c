/* The command line of vboard-avr: see options.h. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board/chip.h"

enum { EXIT_USAGE = 2, EXIT_NO_MODEL = 4, NODES_MAX = 60 };

static int complain(const char *what, const char *value)
{
    fprintf(stderr, "vboard-avr: %s: %s\n", value, what);
    return EXIT_USAGE;
}

static const struct vmodel *model_named(const char *name)
{
    for (const struct vmodel *const *model = vmodels; *model; model++)
        if (strcmp((*model)->name, name) == 0)
            return *model;
    return NULL;
}

static bool number(const char *text, uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(text, &end, 0);
    return errno == 0 && end != text && *end == '\0' && *text != '-';
}

/* drop:N corrupt:N nak:N stall:N cut:N power:N stuck:ADDR locked wrong-id */
static int parse_fault(struct options *options, const char *spec)
{
    struct line_faults *line = &options->line_faults;
    const struct {
        const char *name;
        unsigned *at;
    } counted[] = {
        {"drop:", &line->drop},          {"corrupt:", &line->corrupt},
        {"stall:", &line->stall},        {"cut:", &line->cut},
        {"power:", &line->power},        {"nak:", &options->faults.nak},
        {"bus-off:", &options->bus_off},
    };
    uint64_t value;

    if (strcmp(spec, "locked") == 0) {
        options->faults.locked = true;
        return 0;
    }
    if (strcmp(spec, "wrong-id") == 0) {
        options->faults.wrong_id = true;
        return 0;
    }
    if (strncmp(spec, "stuck:", 6) == 0 && number(spec + 6, &options->stuck))
        return 0;
    for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++) {
        size_t length = strlen(counted[i].name);
        if (strncmp(spec, counted[i].name, length) != 0)
            continue;
        if (!number(spec + length, &value) || value == 0 || value > UINT32_MAX)
            return complain("message numbers count from 1", spec);
        *counted[i].at = (unsigned)value;
        return 0;
    }
    return complain("no such fault; there are drop:N corrupt:N nak:N stall:N cut:N power:N "
                    "bus-off:N stuck:ADDR locked wrong-id",
                    spec);
}

static int parse_memory(struct options *options, const char *spec)
{
    if (strncmp(spec, "eeprom=", 7) == 0)
        options->eeprom_file = spec + 7;
    else if (strncmp(spec, "fuses=", 6) == 0)
        options->fuses_file = spec + 6;
    else if (strncmp(spec, "options=", 8) == 0)
        options->options_file = spec + 8;
    else if (strncmp(spec, "qspi=", 5) == 0)
        options->qspi_file = spec + 5;
    else if (strncmp(spec, "flash=", 6) == 0)
        options->flash_file = spec + 6;
    else
        return complain("an AVR has eeprom=FILE and fuses=FILE, an ARM options=FILE", spec);
    return 0;
}

static int parse_serve(struct options *options, const char *spec)
{
    static const char wanted[] =
        "--serve wants pty:LINK, usbip:PORT (0: a free one), can:IFACE or can:unix:PATH";
    const char *where = strchr(spec, ':');
    uint64_t port;

    if (!where || where[1] == '\0')
        return complain(wanted, spec);
    if (strncmp(spec, "pty:", 4) == 0) {
        options->link = where + 1;
    } else if (strncmp(spec, "can:", 4) == 0) {
        options->can = where + 1;
    } else if (strncmp(spec, "usbip:", 6) == 0 && number(where + 1, &port) && port <= UINT16_MAX) {
        options->usbip = true;
        options->port = (uint16_t)port;
    } else {
        return complain(wanted, spec);
    }
    return 0;
}

/* loader=VID:PID, application=VID:PID, in hex */
static int parse_usb(struct options *options, const char *spec)
{
    static const char *const names[] = {"loader=", "application="};
    struct cdc_face *const faces[] = {&options->faces.loader, &options->faces.application};
    unsigned vid, pid;
    char end;

    for (size_t i = 0; i < 2; i++) {
        size_t length = strlen(names[i]);
        if (strncmp(spec, names[i], length) == 0 &&
            sscanf(spec + length, "%4x:%4x%c", &vid, &pid, &end) == 2) {
            faces[i]->vid = (uint16_t)vid;
            faces[i]->pid = (uint16_t)pid;
            return 0;
        }
    }
    return complain("--usb wants loader=VID:PID or application=VID:PID", spec);
}

static int parse_nodes(struct options *options, const char *text)
{
    uint64_t value;

    if (!number(text, &value) || value < 1 || value > NODES_MAX)
        return complain("--nodes wants 1 to 60", text);
    options->nodes = (unsigned)value;
    return 0;
}

/* What a controller can be set to: ISO 11898-2 ends at 1 Mbit/s. */
static int parse_bitrate(struct options *options, const char *text)
{
    uint64_t value;

    if (!number(text, &value) || value < 10000 || value > 1000000)
        return complain("--bitrate wants 10000 to 1000000", text);
    options->bitrate = (uint32_t)value;
    return 0;
}

enum {
    OPT_MODEL = 256,
    OPT_CHIP,
    OPT_SERVE,
    OPT_FLASH,
    OPT_MEM,
    OPT_LOG,
    OPT_READY,
    OPT_VARIANT,
    OPT_FAULT,
    OPT_APP,
    OPT_FRESH,
    OPT_PACE,
    OPT_NODES,
    OPT_BITRATE,
    OPT_USB,
    OPT_MCU,
    OPT_PRODUCT,
};

static const struct option long_options[] = {
    {"model", required_argument, NULL, OPT_MODEL},
    {"chip", required_argument, NULL, OPT_CHIP},
    {"serve", required_argument, NULL, OPT_SERVE},
    {"flash", required_argument, NULL, OPT_FLASH},
    {"mem", required_argument, NULL, OPT_MEM},
    {"log", required_argument, NULL, OPT_LOG},
    {"ready", required_argument, NULL, OPT_READY},
    {"variant", required_argument, NULL, OPT_VARIANT},
    {"fault", required_argument, NULL, OPT_FAULT},
    {"app", no_argument, NULL, OPT_APP},
    {"fresh", no_argument, NULL, OPT_FRESH},
    {"pace", no_argument, NULL, OPT_PACE},
    {"nodes", required_argument, NULL, OPT_NODES},
    {"bitrate", required_argument, NULL, OPT_BITRATE},
    {"verbose", no_argument, NULL, 'v'},
    {"usb", required_argument, NULL, OPT_USB},
    {"mcu", required_argument, NULL, OPT_MCU},
    {"product", required_argument, NULL, OPT_PRODUCT},
    {NULL, 0, NULL, 0},
};

static int take_option(struct options *options, int option, const char *value)
{
    switch (option) {
    case OPT_MODEL:
        options->model = model_named(value);
        return options->model ? 0 : complain("no such model; `vboard-avr list` shows them", value);
    case OPT_CHIP:
        options->chip = chip_find(value);
        return options->chip ? 0 : complain("no such chip", value);
    case OPT_SERVE:
        return parse_serve(options, value);
    case OPT_FLASH:
        options->flash_file = value;
        return 0;
    case OPT_MEM:
        return parse_memory(options, value);
    case OPT_LOG:
        options->log_file = value;
        return 0;
    case OPT_READY:
        options->ready = value;
        return 0;
    case OPT_VARIANT:
        options->variant = value;
        return 0;
    case OPT_FAULT:
        return parse_fault(options, value);
    case OPT_APP:
        options->app = true;
        return 0;
    case OPT_FRESH:
        options->fresh = true;
        return 0;
    case OPT_PACE:
        options->paced = true;
        return 0;
    case OPT_NODES:
        return parse_nodes(options, value);
    case OPT_BITRATE:
        return parse_bitrate(options, value);
    case 'v':
        options->verbose = true;
        return 0;
    case OPT_USB:
        return parse_usb(options, value);
    case OPT_MCU:
        options->mcu = value;
        return 0;
    case OPT_PRODUCT:
        options->product = value;
        return 0;
    default:
        return EXIT_USAGE; /* getopt has said what is wrong */
    }
}

static bool can_be(const struct vmodel *model, const struct chip *chip)
{
    for (const char *const *name = model->chips; *name; name++)
        if (strcmp(*name, chip->name) == 0)
            return true;
    return false;
}

/* A node of a bus is served on a bus, a board with a line on a pty, one with USB over USB/IP. */
static int check_serve(const struct options *options)
{
    const char *name = options->model->name;

    if (!options->model->create_can && options->can)
        return complain("this board is no node of a CAN bus: --serve pty:LINK", name);
    if (options->model->create_can && !options->can)
        return complain("this board is a node of a CAN bus: --serve can:IFACE or can:unix:PATH",
                        name);
    if (options->link && !options->model->create)
        return complain("this board is no serial port: --serve usbip:PORT", name);
    if (options->usbip && !options->model->create_usb &&
        (options->model->baud || options->model->fresh))
        return complain("this board is on a UART, not on USB: --serve pty:LINK", name);
    if (!options->can && (options->nodes || options->bitrate || options->bus_off))
        return complain("--nodes, --bitrate and --fault bus-off are for nodes of a CAN bus", name);
    return 0;
}

/* ---- what a serial model is on USB ---- */

enum {
    VID_OPENMOKO = 0x1d50,
    PID_KLIPPER = 0x614e,
    PID_KATAPULT = 0x6177,
    VID_ARDUINO = 0x2341,
    VID_ARDUINO_ORG = 0x2a03,
    VID_TESTS = 0x1209, /* pid.codes: 0001 is nobody's */
    PID_TESTS = 0x0001,
    RELEASE = 0x0100,
};

/* Arduino's loaders and cores name the board; ROM loaders have no texts. */
static void name_face(struct cdc_face *face, const struct options *options)
{
    bool arduino = face->vid == VID_ARDUINO || face->vid == VID_ARDUINO_ORG;

    if (!face->vid)
        *face = (struct cdc_face){.vid = VID_TESTS, .pid = PID_TESTS};
    face->bcd = RELEASE;
    face->manufacturer = arduino ? "Arduino LLC" : NULL;
    face->product = arduino ? options->product : NULL;
}

static void complete_faces(struct options *options)
{
    struct usb_serial_faces *faces = &options->faces;
    const char *mcu = options->mcu ? options->mcu : options->chip->name;

    cdc_chip_serial(options->chip_serial, options->chip, 0);
    name_face(&faces->loader, options);
    name_face(&faces->application, options);
    faces->klipper =
        (struct cdc_face){VID_OPENMOKO, PID_KLIPPER, RELEASE, "Klipper", mcu, options->chip_serial};
    if (strcmp(options->model->method, "katapult-usb") == 0)
        faces->loader = (struct cdc_face){VID_OPENMOKO, PID_KATAPULT, RELEASE,
                                          "katapult",   mcu,          options->chip_serial};
}

int options_parse(struct options *options, int argc, char **argv)
{
    int option, status;

    *options = (struct options){.stuck = UINT64_MAX, .ready = ""};
    while ((option = getopt_long(argc, argv, "v", long_options, NULL)) != -1)
        if ((status = take_option(options, option, optarg)) != 0)
            return status;
    if (optind < argc)
        return complain("unexpected word", argv[optind]);
    if (!options->model || (!options->link && !options->can && !options->usbip))
        return complain("--model NAME and --serve WHERE are needed", "usage");
    if ((status = check_serve(options)) != 0)
        return status;
    if (!options->chip)
        options->chip = chip_find(options->model->chips[0]);
    if (!options->chip || !can_be(options->model, options->chip)) {
        complain("the model cannot be that chip", options->model->name);
        return EXIT_NO_MODEL;
    }
    if (!options->nodes)
        options->nodes = 1;
    complete_faces(options);
    return 0;
}
