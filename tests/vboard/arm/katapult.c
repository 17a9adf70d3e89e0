/* The loader's life and its receive parser: see katapult.h. */
#include "katapult.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "board/chip.h"
#include "models/flash.h"
#include "variant.h"

enum {
    STX1 = 0x01,
    STX2 = 0x88,
    TRAILER1 = 0x99,
    TRAILER2 = 0x03,
    WINDOW_MIN = 10 * MILLISECOND,  /* src/bootentry.c: a second reset counts from here … */
    WINDOW_END = 500 * MILLISECOND, /* … to here */
};

#define VERSION "v0.0.1-110-gb0bf421"

/* ---- what it is ---- */

/* The application starts that Katapult's Kconfig offers, by the beginning of the chip's name. */
static const struct {
    const char *chips;
    uint32_t start;
    const char *other; /* variant word */
    uint32_t other_start;
} starts[] = {
    {"stm32f0", 0x08002000, "4k", 0x08001000},
    {"stm32f1", 0x08002000, "4k", 0x08001000},
    {"stm32g0", 0x08002000, "4k", 0x08001000},
    {"stm32g4", 0x08002000, "", 0},
    {"stm32f2", 0x08008000, "16k", 0x08004000},
    {"stm32f4", 0x08008000, "16k", 0x08004000},
    {"stm32h7", 0x08020000, "", 0},
    {"rp2", 0x10004000, "", 0},
    {"lpc176", 0x4000, "", 0},
};

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static uint32_t application_start(const char *chip, const char *variant)
{
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (begins(chip, starts[i].chips))
            return variant_has(variant, starts[i].other) ? starts[i].other_start : starts[i].start;
    return 0;
}

/* One build serves all parts of a line and has the line's name. */
static void name_mcu(struct katapult *k, bool wrong)
{
    const char *name = k->chip->name;
    if (begins(name, "stm32f103"))
        name = "stm32f103xe";
    if (wrong)
        name = strcmp(name, "stm32f072xb") ? "stm32f072xb" : "stm32f103xe";
    (void)snprintf(k->mcu, sizeof k->mcu, "%s", name);
}

bool katapult_init(struct katapult *k, const struct vconfig *config,
                   const struct katapult_link *link)
{
    const char *variant = config->variant;
    const struct chip *chip = config->chip;
    k->chip = chip;
    k->flash_kind = chip ? katapult_flash_of(chip) : NULL;
    if (!k->flash_kind || config->flash.size < chip->regions[0].size) {
        fprintf(stderr, "katapult: not for %s\n", chip ? chip->name : "no chip");
        return false;
    }
    k->link = link;
    k->flash = config->flash;
    k->faults = config->faults;
    k->start = application_start(chip->name, variant);
    k->protocol = variant_has(variant, "1.0") ? 0x010000 : 0x010100;
    k->version = variant_has(variant, "1.0")          ? NULL
                 : variant_has(variant, "no-version") ? ""
                                                      : VERSION;
    k->button = variant_has(variant, "button");
    k->page_address = k->start;
    name_mcu(k, config->faults.wrong_id);
    k->state = config->app && katapult_has_application(k) ? KATAPULT_APPLICATION : KATAPULT_LOADER;
    k->until = k->complete_at = k->window_from = UINT64_MAX;
    return true;
}

/* ---- life ---- */

bool katapult_has_application(const struct katapult *k)
{
    const uint8_t *word = k->flash.bytes + (k->start - k->chip->regions[0].start);
    return get_le32(word) != 0 && get_le32(word) != UINT32_MAX;
}

static bool is_second_reset(const struct katapult *k, enum katapult_cause cause)
{
    return cause == KATAPULT_PIN && k->state == KATAPULT_WINDOW &&
           k->now >= k->window_from + WINDOW_MIN;
}

static enum katapult_state state_after(const struct katapult *k, enum katapult_cause cause)
{
    if (cause == KATAPULT_COMPLETED)
        return katapult_has_application(k) ? KATAPULT_APPLICATION : KATAPULT_FAULTED;
    bool stays = cause == KATAPULT_REQUESTED || k->button || !katapult_has_application(k) ||
                 is_second_reset(k, cause);
    return stays ? KATAPULT_STARTING : KATAPULT_WINDOW;
}

void katapult_restart(struct katapult *k, enum katapult_cause cause)
{
    k->state = state_after(k, cause);
    k->window_from = k->now;
    k->until = k->state == KATAPULT_STARTING ? k->now + k->link->start_time
               : k->state == KATAPULT_WINDOW ? k->now + WINDOW_END
                                             : UINT64_MAX;
    k->complete_at = UINT64_MAX;
    k->rx_used = 0;
    k->need_valid = false;
    k->pages = 0;
    k->page_used = 0;
    k->page_address = k->start;
    if (cause == KATAPULT_POWER)
        k->executed = 0;
    k->link->restarted(k);
}

bool katapult_stalled(const struct katapult *k)
{
    return k->flash_kind->stalls &&
           (k->state == KATAPULT_ERASING || k->state == KATAPULT_PROGRAMMING);
}

/* ---- packets ---- */

void katapult_reply(struct katapult *k, uint8_t type, const uint8_t *payload, size_t length)
{
    uint8_t packet[KATAPULT_PACKET_MAX] = {STX1, STX2, type, (uint8_t)(length / 4)};
    if (KATAPULT_EXTRA + length > sizeof packet)
        return;
    if (length)
        memcpy(packet + KATAPULT_HEADER, payload, length);
    uint8_t *tail = packet + KATAPULT_HEADER + length;
    put_le16(tail, katapult_crc(packet + 2, length + 2));
    tail[2] = TRAILER1;
    tail[3] = TRAILER2;
    if (k->link->unsent(k) + KATAPULT_EXTRA + length <= k->link->transmit_buffer)
        k->link->send(k, packet, KATAPULT_EXTRA + length);
}

static void drop(struct katapult *k, size_t count)
{
    k->rx_used -= count;
    memmove(k->rx, k->rx + count, k->rx_used);
}

void katapult_pop(struct katapult *k)
{
    drop(k, KATAPULT_EXTRA + 4u * k->rx[3]);
}

enum found { FOUND_MORE_NEEDED, FOUND_PACKET, FOUND_ERROR };

static enum found find_packet(const struct katapult *k)
{
    const uint8_t *rx = k->rx;
    if (k->rx_used < KATAPULT_EXTRA)
        return FOUND_MORE_NEEDED;
    size_t length = KATAPULT_EXTRA + 4u * rx[3];
    if (rx[0] != STX1 || rx[1] != STX2 || length > KATAPULT_PACKET_MAX)
        return FOUND_ERROR;
    if (k->rx_used < length)
        return FOUND_MORE_NEEDED;
    const uint8_t *tail = rx + length - 4;
    bool good = tail[2] == TRAILER1 && tail[3] == TRAILER2 &&
                get_le16(tail) == katapult_crc(rx + 2, length - 6);
    return good ? FOUND_PACKET : FOUND_ERROR;
}

/* The search for the next packet begins at the first byte of the bad one: if that is 01, nothing
 * is dropped, and the loader never comes past it again. Returns whether anything was dropped. */
static bool resynchronise(struct katapult *k)
{
    const uint8_t *next = memchr(k->rx, STX1, k->rx_used);
    size_t count = next ? (size_t)(next - k->rx) : k->rx_used;
    drop(k, count);
    if (!k->need_valid)
        katapult_reply(k, KATAPULT_NACK, NULL, 0);
    k->need_valid = true;
    return count > 0;
}

/* One pass of the main loop; false if there is nothing more to do in it. */
static bool pass(struct katapult *k)
{
    switch (find_packet(k)) {
    case FOUND_PACKET:
        k->need_valid = false;
        katapult_execute(k);
        return true;
    case FOUND_ERROR:
        return resynchronise(k);
    default:
        return false;
    }
}

static void main_loop(struct katapult *k)
{
    while (k->state == KATAPULT_LOADER && pass(k))
        continue;
}

size_t katapult_room(const struct katapult *k)
{
    return k->link->receive_buffer - k->rx_used;
}

void katapult_take(struct katapult *k, uint8_t byte)
{
    bool listens = k->state == KATAPULT_LOADER || k->state == KATAPULT_ERASING ||
                   k->state == KATAPULT_PROGRAMMING;
    if (!listens || katapult_room(k) == 0)
        return;
    k->rx[k->rx_used++] = byte;
    main_loop(k);
}

/* ---- time ---- */

/* The main loop looks at the clock only between two packets. */
uint64_t katapult_next(const struct katapult *k)
{
    bool leaves = k->state == KATAPULT_LOADER && k->complete_at < k->until;
    return leaves ? k->complete_at : k->until;
}

static void window_over(struct katapult *k)
{
    k->state = KATAPULT_APPLICATION;
    k->until = UINT64_MAX;
    k->link->restarted(k);
}

static void state_over(struct katapult *k)
{
    switch (k->state) {
    case KATAPULT_WINDOW:
        window_over(k);
        break;
    case KATAPULT_STARTING:
        k->state = KATAPULT_LOADER;
        k->until = UINT64_MAX;
        break;
    case KATAPULT_ERASING:
    case KATAPULT_PROGRAMMING:
        katapult_work_due(k);
        main_loop(k);
        break;
    default:
        k->until = UINT64_MAX;
        break;
    }
}

void katapult_tick(struct katapult *k)
{
    if (k->until <= k->now)
        state_over(k);
    if (k->complete_at <= k->now && k->state == KATAPULT_LOADER)
        katapult_restart(k, KATAPULT_COMPLETED);
}
