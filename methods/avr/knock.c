/* See knock.h. */
#include "avr/knock.h"

#include <inttypes.h>

#include "base/text.h"

/* How long DTR and RTS stay inactive: enough for 100 nF at a pull-up of 10 kΩ to settle (1 ms) and
 * for the slowest USB-serial chips to take two requests. */
enum { PULSE_US = 20 * MILLISECOND };

enum { BAUDS_MAX = 8, BAUDS_TEXT_MAX = 96 };

static bool resets_by_dtr(const struct session *session)
{
    const char *enter = session->loader ? session->loader->enter : NULL;
    return !enter || text_has_word(enter, "dtr");
}

static int try_once(struct knock *knock, uint32_t baud, knock_once *once, struct error *err)
{
    struct serial *serial = knock->session->serial;
    heard_clear(&knock->heard);
    int rc = serial_set_baud(serial, baud, err);
    if (rc != OK)
        return rc;
    if (resets_by_dtr(knock->session))
        rc = serial_pulse_reset(serial, PULSE_US, err);
    else
        serial_drop_input(serial);
    knock->reset = clock_now(serial->clock);
    return rc == OK ? once(knock, err) : rc;
}

/* Of what came back in several tries, text tells most, then anything, then nothing. */
static void keep_telling(struct heard *kept, const struct heard *heard)
{
    if (heard->total > 0 && (kept->total == 0 || (heard_is_text(heard) && !heard_is_text(kept))))
        *kept = *heard;
}

static int nobody_answered(const struct heard *heard, const uint32_t *bauds, size_t count,
                           struct error *err)
{
    char text[HEARD_TEXT_MAX], rates[BAUDS_TEXT_MAX] = "";
    for (size_t i = 0; i < count; i++)
        text_append(rates, sizeof rates, "%s%" PRIu32,
                    i == 0          ? ""
                    : i + 1 < count ? ", "
                                    : " or ",
                    bauds[i]);
    int rc = error_set(err, ERR_NO_ANSWER, "no bootloader answered at %s baud: %s", rates,
                       heard_describe(heard, text));
    if (heard_is_text(heard))
        error_hint(err, "the application runs, so the board was not reset: press its RESET button "
                        "just as the run starts; if it was, it has no bootloader (-m isp)");
    else if (heard->total > 0)
        error_hint(err, "the rate may be wrong (--baud), the bootloader another one (-m), or "
                        "another program reads this port (`mflash doctor`)");
    else
        error_hint(err, "check board and port; without auto-reset press RESET just as the run "
                        "starts; another program may hold the port (`mflash doctor`); a chip "
                        "without bootloader needs one by ISP once (-m isp)");
    return rc;
}

int knock(struct session *session, knock_once *once, struct error *err)
{
    uint32_t bauds[BAUDS_MAX];
    size_t count = session_bauds(session, bauds, BAUDS_MAX);
    size_t tries = count == 1 ? 3 : 2 * count;
    struct heard kept = {.total = 0};
    struct error wrong = {.code = OK};
    for (size_t i = 0; i < tries; i++) {
        struct knock one = {.session = session};
        struct error why = {.code = OK};
        if (session_stopped(session))
            return session_interrupted(err);
        int rc = try_once(&one, bauds[i % count], once, &why);
        if (rc == OK)
            return OK;
        if (rc != ERR_NO_ANSWER)
            wrong = why;
        if (rc != ERR_NO_ANSWER && rc != ERR_PROTOCOL)
            break;
        keep_telling(&kept, &one.heard);
    }
    if (wrong.code == OK)
        return nobody_answered(&kept, bauds, count, err);
    if (err)
        *err = wrong;
    return wrong.code;
}
