/* What every method needs from its session: progress, remarks, stopping, bauds and the signature
 * gate. See method.h. */
#include "method.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NOTE_MAX = 512 };

void session_advance(struct session *session, size_t bytes)
{
    if (session->advance && bytes)
        session->advance(session->user, bytes);
}

void session_note(struct session *session, const char *format, ...)
{
    if (!session->note)
        return;
    char text[NOTE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    session->note(session->user, text);
}

bool session_stopped(const struct session *session)
{
    return session->stop && *session->stop;
}

int session_interrupted(struct error *err)
{
    return error_set(err, ERR_INTERRUPTED, "stopped between two blocks, as asked");
}

size_t session_bauds(const struct session *session, uint32_t *bauds, size_t max)
{
    size_t count = 0;
    if (max == 0)
        return 0;
    if (session->baud) {
        bauds[count++] = session->baud;
        return count;
    }
    if (session->loader)
        while (count < max && count < session->loader->baud_count) {
            bauds[count] = session->loader->bauds[count];
            count++;
        }
    if (count == 0)
        bauds[count++] = session->method->baud;
    return count;
}

void device_info_add(struct device_info *info, const char *name, const char *format, ...)
{
    if (info->count >= INFO_MAX)
        return;
    struct info_line *line = &info->lines[info->count++];
    va_list args;
    va_start(args, format);
    (void)snprintf(line->name, sizeof line->name, "%s", name);
    (void)vsnprintf(line->text, sizeof line->text, format, args);
    va_end(args);
}

void signature_text(const uint8_t signature[3], char *out, size_t size)
{
    int used = snprintf(out, size, "%02x %02x %02x (", signature[0], signature[1], signature[2]);
    const struct chip *chip = NULL;
    const char *separator = "";
    while (used > 0 && (size_t)used < size && (chip = chip_by_signature(signature, chip))) {
        used += snprintf(out + used, size - (size_t)used, "%s%s", separator, chip->name);
        separator = " or ";
    }
    if (used > 0 && (size_t)used < size)
        (void)snprintf(out + used, size - (size_t)used, "%s)", *separator ? "" : "no chip known");
}

static bool uniform(const uint8_t signature[3])
{
    return signature[0] == signature[1] && signature[1] == signature[2] &&
           (signature[0] == 0x00 || signature[0] == 0xff);
}

int session_check_signature(struct session *session, const uint8_t signature[3], struct error *err)
{
    const struct avr_part *part = session->chip->avr;
    if (!part)
        return error_set(err, ERR_FAILED, "%s has no AVR signature to compare with",
                         session->chip->name);
    if (memcmp(signature, part->signature, 3) == 0)
        return OK;
    char found[96];
    signature_text(signature, found, sizeof found);
    if (session->force_signature) {
        session_note(session, "the device's signature is %s, not that of the board's %s: forced",
                     found, session->chip->name);
        return OK;
    }
    int rc = error_refuse(
        err, "signature", "the device's signature is %s, but the board has an %s (%02x %02x %02x)",
        found, session->chip->name, part->signature[0], part->signature[1], part->signature[2]);
    if (uniform(signature))
        error_hint(err, "no chip answers: check its power, its clock and the wiring");
    else
        error_hint(err, "name the right board with --board, or the right chip with --chip; "
                        "`--force signature` goes on regardless");
    return rc;
}

int session_check_proven(struct session *session, bool proven, struct error *err)
{
    const char *chip = session->chip->name;
    if (proven)
        return OK;
    if (session->force_unproven) {
        if (!session->unproven_told)
            session_note(session, "%s over %s has not been shown to work: forced", chip,
                         session->method->name);
        session->unproven_told = true;
        return OK;
    }
    error_refuse(err, "unproven-chip",
                 "%s over %s is written from data sheets and has not been shown to work", chip,
                 session->method->name);
    return error_hint(err, "`--force unproven-chip` tries it");
}
