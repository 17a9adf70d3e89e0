/* Error texts: see error.h. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void put(char *out, size_t size, const char *format, va_list args)
{
    (void)vsnprintf(out, size, format, args);
}

int(error_set)(struct error *err, enum error_code code, const char *format, ...)
{
    if (!err)
        return code;
    error_clear(err);
    err->code = code;
    va_list args;
    va_start(args, format);
    put(err->message, sizeof err->message, format, args);
    va_end(args);
    return code;
}

int(error_context)(struct error *err, const char *format, ...)
{
    if (!err)
        return ERR_FAILED;
    char before[ERROR_MESSAGE_MAX];
    char joined[2 * ERROR_MESSAGE_MAX + 4];
    va_list args;
    va_start(args, format);
    put(before, sizeof before, format, args);
    va_end(args);
    /* A message too long for its place loses its end, never its beginning. */
    (void)snprintf(joined, sizeof joined, "%s: %s", before, err->message);
    joined[ERROR_MESSAGE_MAX - 1] = '\0';
    memcpy(err->message, joined, ERROR_MESSAGE_MAX);
    return err->code;
}

int(error_hint)(struct error *err, const char *format, ...)
{
    if (!err)
        return ERR_FAILED;
    va_list args;
    va_start(args, format);
    put(err->hint, sizeof err->hint, format, args);
    va_end(args);
    return err->code;
}

int(error_memory)(struct error *err)
{
    return error_set(err, ERR_MEMORY, "out of memory");
}

int(error_refuse)(struct error *err, const char *check, const char *format, ...)
{
    if (!err)
        return ERR_REFUSED;
    error_clear(err);
    err->code = ERR_REFUSED;
    err->check = check;
    va_list args;
    va_start(args, format);
    put(err->message, sizeof err->message, format, args);
    va_end(args);
    return ERR_REFUSED;
}

void error_clear(struct error *err)
{
    err->code = OK;
    err->check = NULL;
    err->message[0] = '\0';
    err->hint[0] = '\0';
}

static const struct {
    enum error_code code;
    int status;
    const char *name;
} codes[] = {
    {OK, 0, "ok"},
    {ERR_FAILED, 1, "failed"},
    {ERR_MEMORY, 1, "out-of-memory"},
    {ERR_USAGE, 2, "usage"},
    {ERR_BOARDS_FILE, 2, "boards-file"},
    {ERR_NOT_POSSIBLE, 2, "not-possible"},
    {ERR_IMAGE, 3, "bad-image"},
    {ERR_NO_DEVICE, 4, "no-device"},
    {ERR_AMBIGUOUS, 4, "several-devices"},
    {ERR_BUSY, 5, "busy"},
    {ERR_PERMISSION, 5, "no-permission"},
    {ERR_REFUSED, 6, "refused"},
    {ERR_NO_ANSWER, 7, "no-answer"},
    {ERR_PROTOCOL, 7, "wrong-answer"},
    {ERR_GONE, 7, "device-gone"},
    {ERR_VERIFY, 8, "verify-mismatch"},
    {ERR_PROTECTED, 9, "protected"},
    {ERR_INTERRUPTED, 130, "interrupted"},
    {ERR_STALL, 7, "device-stalled"},
};

const char *error_code_name(enum error_code code)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].code == code)
            return codes[i].name;
    return "failed";
}

int error_exit_status(enum error_code code)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].code == code)
            return codes[i].status;
    return 1;
}
