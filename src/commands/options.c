/* Parses the command line with getopt_long: see options.h. */
#include "commands/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "commands/cli.h"

const char options_help[] =
    "usage: mflash [OPTIONS] IMAGE[@ADDRESS]...        flash (`-` is standard input)\n"
    "       mflash COMMAND [OPTIONS] [ARGUMENTS]\n"
    "\n"
    "  detect                  every device that could be flashed now\n"
    "  query [-i can0]         CAN node discovery; --config printer.cfg names nodes, --ask asks "
    "the\n"
    "                          silent ones by name (never while a host has the bus)\n"
    "  boards [PATTERN]        list boards; one exact name shows everything known about it\n"
    "  methods                 list methods with what each can do\n"
    "  check IMAGE             what is in this image, and would it be accepted for --board\n"
    "  read -o FILE            back up flash [--range A:LEN] [--region NAME]\n"
    "  verify IMAGE            compare, write nothing\n"
    "  erase                   [--range A:LEN | --chip-erase]\n"
    "  info                    connect and identify\n"
    "  bootloader [FILE]       install a bootloader on a fresh chip by the board's recipe\n"
    "  unlock                  remove protection (this erases the chip)\n"
    "  fuses [NAME=VALUE]...   show or set fuses and lock bits\n"
    "  reset | enter | run     reset the board / enter its bootloader / start its application\n"
    "  printer FILE            every board of one printer: check all, flash all, prove all\n"
    "  status [FILE]           the version on each board against its image\n"
    "  doctor                  what on this machine will get in the way\n"
    "\n"
    "  -b, --board NAME        board from the database (`mflash boards`)\n"
    "  -m, --method NAME       which bootloader (`mflash methods`)\n"
    "  -d, --device DEV        path, VID:PID[:SERIAL], bus path 1-1.4, tcp:HOST:PORT,\n"
    "                          usbip:HOST[:PORT]/BUSID, can0:UUID; else $FLASH_DEVICE, else the\n"
    "                          only candidate; several are flashed at once\n"
    "  -p, --probe KIND:DEV    programmer: avrisp2:PORT, arduino-isp:PORT\n"
    "  -i, --interface IF      CAN interface (can0; unix:PATH for a virtual bus)\n"
    "  -u, --uuid UUID         CAN node, repeatable    --all             all in their bootloader\n"
    "      --bring-up BITRATE  takes the CAN interface up first, where privileges allow\n"
    "  -a, --address ADDR      where a raw binary goes (same as IMAGE@ADDR)\n"
    "      --baud N            --chip NAME             --region NAME[=START,SIZE,SECTOR[,FLM]]\n"
    "      --erase needed|image|chip|none              --diff auto|yes|no\n"
    "      --no-verify         --no-run                --wait SECONDS\n"
    "  -n, --dry-run           print the plan, touch nothing\n"
    "      --force CHECK       override one safety check: machine start size blank vectors\n"
    "                          loader-overlap klipper-mcu can-bitrate signature fuses\n"
    "                          unproven-chip\n"
    "      --json              one JSON object a line on standard output\n"
    "      --trace FILE        everything on the wire, as pcapng\n"
    "      --boards FILE       more boards             --klipper DIR     a Klipper source tree\n"
    "  -o, --output FILE       for read                --flm FILE        flash algorithm\n"
    "  -y, --yes  -v, --verbose  -q, --quiet  -V, --version  -h, --help\n";

enum {
    OPT_BAUD = 256,
    OPT_CHIP,
    OPT_FLM,
    OPT_REGION,
    OPT_ERASE,
    OPT_DIFF,
    OPT_NO_VERIFY,
    OPT_NO_RUN,
    OPT_WAIT,
    OPT_FORCE,
    OPT_JSON,
    OPT_TRACE,
    OPT_BOARDS,
    OPT_KLIPPER,
    OPT_ALL,
    OPT_RANGE,
    OPT_CHIP_ERASE,
    OPT_BRING_UP,
    OPT_ASK,
    OPT_CONFIG,
};

static const struct option long_options[] = {
    {"board", required_argument, NULL, 'b'},
    {"method", required_argument, NULL, 'm'},
    {"device", required_argument, NULL, 'd'},
    {"probe", required_argument, NULL, 'p'},
    {"interface", required_argument, NULL, 'i'},
    {"uuid", required_argument, NULL, 'u'},
    {"all", no_argument, NULL, OPT_ALL},
    {"address", required_argument, NULL, 'a'},
    {"baud", required_argument, NULL, OPT_BAUD},
    {"chip", required_argument, NULL, OPT_CHIP},
    {"flm", required_argument, NULL, OPT_FLM},
    {"region", required_argument, NULL, OPT_REGION},
    {"erase", required_argument, NULL, OPT_ERASE},
    {"diff", required_argument, NULL, OPT_DIFF},
    {"no-verify", no_argument, NULL, OPT_NO_VERIFY},
    {"no-run", no_argument, NULL, OPT_NO_RUN},
    {"wait", required_argument, NULL, OPT_WAIT},
    {"dry-run", no_argument, NULL, 'n'},
    {"force", required_argument, NULL, OPT_FORCE},
    {"json", no_argument, NULL, OPT_JSON},
    {"trace", required_argument, NULL, OPT_TRACE},
    {"boards", required_argument, NULL, OPT_BOARDS},
    {"klipper", required_argument, NULL, OPT_KLIPPER},
    {"output", required_argument, NULL, 'o'},
    {"range", required_argument, NULL, OPT_RANGE},
    {"chip-erase", no_argument, NULL, OPT_CHIP_ERASE},
    {"bring-up", required_argument, NULL, OPT_BRING_UP},
    {"ask", no_argument, NULL, OPT_ASK},
    {"config", required_argument, NULL, OPT_CONFIG},
    {"yes", no_argument, NULL, 'y'},
    {"verbose", no_argument, NULL, 'v'},
    {"quiet", no_argument, NULL, 'q'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int bad_value(struct error *err, const char *option, const char *value, const char *wanted)
{
    return error_set(err, ERR_USAGE, "%s %s: %s is wanted", option, value, wanted);
}

static int parse_choice(const char *option, const char *value, const char *const *choices,
                        int *choice, struct error *err)
{
    char wanted[128] = "";
    for (int i = 0; choices[i]; i++) {
        if (strcmp(value, choices[i]) == 0) {
            *choice = i;
            return OK;
        }
        text_append(wanted, sizeof wanted, "%s%s", i ? ", " : "one of ", choices[i]);
    }
    return bad_value(err, option, value, wanted);
}

static int parse_number(const char *option, const char *value, uint64_t max, uint64_t *number,
                        struct error *err)
{
    if (!text_number(value, number) || *number > max)
        return bad_value(err, option, value, "a number (decimal, 0x…, with K or M)");
    return OK;
}

static int parse_force(struct options *options, const char *value, struct error *err)
{
    enum check check;
    if (check_find(value, &check)) {
        options->forced |= 1U << check;
        return OK;
    }
    error_set(err, ERR_USAGE, "--force %s: no safety check has that name", value);
    char names[256] = "";
    for (int i = 0; i < CHECK_COUNT; i++)
        text_append(names, sizeof names, " %s", check_name((enum check)i));
    return error_hint(err, "the checks are:%s", names);
}

static int parse_wait(struct options *options, const char *value, struct error *err)
{
    char *end;
    options->wait = strtod(value, &end);
    if (end == value || *end || !(options->wait >= 0) || options->wait > 86400)
        return bad_value(err, "--wait", value, "a number of seconds");
    return OK;
}

static int parse_valued(struct options *options, int option, const char *value, struct error *err)
{
    static const char *const erases[] = {"needed", "image", "chip", "none", NULL};
    static const char *const diffs[] = {"auto", "yes", "no", NULL};
    uint64_t number = 0;
    int choice = 0;
    switch (option) {
    case 'a':
        options->has_address = true;
        return parse_number("--address", value, UINT64_MAX, &options->address, err);
    case OPT_BAUD:
        if (parse_number("--baud", value, 20000000, &number, err) || number == 0)
            return number ? error_status(err) : bad_value(err, "--baud", value, "a rate");
        options->baud = (uint32_t)number;
        return OK;
    case OPT_BRING_UP:
        if (parse_number("--bring-up", value, 1000000, &number, err) || number < 10000)
            return number >= 10000 ? error_status(err)
                                   : bad_value(err, "--bring-up", value, "a bit rate");
        options->bring_up = (uint32_t)number;
        return OK;
    case OPT_ERASE:
        if (parse_choice("--erase", value, erases, &choice, err))
            return error_status(err);
        options->erase = (enum erase_choice)choice;
        return OK;
    case OPT_DIFF:
        if (parse_choice("--diff", value, diffs, &choice, err))
            return error_status(err);
        options->diff = (enum diff_choice)choice;
        return OK;
    case OPT_WAIT:
        return parse_wait(options, value, err);
    case OPT_FORCE:
        return parse_force(options, value, err);
    case 'u':
        if (options->uuid_count == OPTION_LIST_MAX)
            return error_set(err, ERR_USAGE, "too many --uuid");
        options->uuids[options->uuid_count++] = value;
        return OK;
    default:
        return OK;
    }
}

static const char **text_option(struct options *options, int option)
{
    switch (option) {
    case 'b':
        return &options->board;
    case 'm':
        return &options->method;
    case 'd':
        return &options->device;
    case 'p':
        return &options->probe;
    case 'i':
        return &options->interface;
    case 'o':
        return &options->output;
    case OPT_CHIP:
        return &options->chip;
    case OPT_FLM:
        return &options->flm;
    case OPT_REGION:
        return &options->region;
    case OPT_TRACE:
        return &options->trace;
    case OPT_BOARDS:
        return &options->boards;
    case OPT_KLIPPER:
        return &options->klipper;
    case OPT_RANGE:
        return &options->range;
    case OPT_CONFIG:
        return &options->config;
    default:
        return NULL;
    }
}

static bool *flag_option(struct options *options, int option)
{
    switch (option) {
    case OPT_ALL:
        return &options->all;
    case OPT_ASK:
        return &options->ask;
    case OPT_CHIP_ERASE:
        return &options->chip_erase;
    case OPT_NO_VERIFY:
        return &options->no_verify;
    case OPT_NO_RUN:
        return &options->no_run;
    case OPT_JSON:
        return &options->json;
    case 'n':
        return &options->dry_run;
    case 'y':
        return &options->yes;
    case 'q':
        return &options->quiet;
    case 'h':
        return &options->help;
    case 'V':
        return &options->version;
    default:
        return NULL;
    }
}

static const char *long_option_name(const void *list, size_t n)
{
    return ((const struct option *)list)[n].name;
}

static int report_unknown(int found, char **argv, int at, struct error *err)
{
    const char *word = argv[at];
    if (found == ':')
        return error_set(err, ERR_USAGE, "%s wants a value", word);
    char near[128];
    error_set(err, ERR_USAGE, "unknown option %s", word);
    text_nearest(near, sizeof near, word + strspn(word, "-"), long_option_name, long_options);
    return error_hint(err, near[0] ? "did you mean --%s?" : "`mflash --help` lists them%s", near);
}

static int take_option(struct options *options, int option, const char *value, struct error *err)
{
    const char **text = text_option(options, option);
    bool *flag = flag_option(options, option);
    if (option == 'd' && options->device_count == OPTION_LIST_MAX)
        return error_set(err, ERR_USAGE, "too many --device");
    if (option == 'd')
        options->devices[options->device_count++] = value;
    if (text && (option != 'd' || !*text))
        *text = value;
    if (flag)
        *flag = true;
    if (option == 'v')
        options->verbose++;
    return text || flag ? OK : parse_valued(options, option, value, err);
}

static int take_words(struct options *options, int argc, char **argv, struct error *err)
{
    int at = optind;
    options->command = "flash";
    if (at < argc && command_find(argv[at]))
        options->command = argv[at++];
    for (; at < argc; at++) {
        if (options->word_count == OPTION_LIST_MAX)
            return error_set(err, ERR_USAGE, "too many files");
        options->words[options->word_count++] = argv[at];
    }
    return OK;
}

static int check_many(const struct options *options, struct error *err)
{
    size_t named = options->device_count + options->uuid_count;
    if (command_find(options->command)->many || (named < 2 && !options->all))
        return OK;
    error_set(err, ERR_USAGE, "%s: one board at a time here", options->command);
    return error_hint(err, "several --device, several --uuid and --all go with flashing, verify "
                           "and query");
}

int options_parse(struct options *options, int argc, char **argv, struct error *err)
{
    int option;
    *options = (struct options){0};
    opterr = 0;
    optind = 1;
    for (;;) {
        int at = optind;
        option = getopt_long(argc, argv, ":b:m:d:p:i:u:a:o:nyvqVh", long_options, NULL);
        if (option == -1)
            break;
        if (option == '?' || option == ':')
            return report_unknown(option, argv, at < argc && argv[at][0] == '-' ? at : optind - 1,
                                  err);
        if (take_option(options, option, optarg, err))
            return error_status(err);
    }
    if (take_words(options, argc, argv, err))
        return error_status(err);
    return check_many(options, err);
}
