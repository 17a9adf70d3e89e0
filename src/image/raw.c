/*
 * Anything that no other format claims is a raw binary, unless it is plainly no firmware: a web
 * page saved under the name of a file, a text, an archive.
 */
#include "image/pieces.h"

#include <string.h>
#include <strings.h>

struct magic {
    size_t offset;
    const char *bytes;
    size_t length;
    const char *what;
};

static const struct magic archives[] = {
    {0, "PK\003\004", 4, "a zip archive"},        {0, "PK\005\006", 4, "an empty zip archive"},
    {0, "\x1f\x8b\x08", 3, "gzip-compressed"},    {0, "BZh", 3, "bzip2-compressed"},
    {0, "\xfd\x37zXZ", 6, "xz-compressed"},       {0, "\x28\xb5\x2f\xfd", 4, "zstd-compressed"},
    {0, "7z\xbc\xaf\x27\x1c", 6, "a 7z archive"}, {0, "Rar!\x1a\x07", 6, "a rar archive"},
    {257, "ustar", 5, "a tar archive"},           {0, "%PDF-", 5, "a PDF document"},
    {0, "\x89PNG\r\n\x1a\n", 8, "a PNG picture"},
};

static const char *archive_kind(const struct input *in)
{
    for (size_t i = 0; i < sizeof archives / sizeof archives[0]; i++) {
        const struct magic *m = &archives[i];
        if (in->length >= m->offset + m->length &&
            memcmp(in->bytes + m->offset, m->bytes, m->length) == 0)
            return m->what;
    }
    return NULL;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_web_page(const struct input *in)
{
    static const char *const starts[] = {"<!doctype", "<html", "<?xml", "<head", "<!--"};
    static const uint8_t byte_order_mark[] = {0xef, 0xbb, 0xbf};
    size_t at = 0;
    if (in->length >= 3 && memcmp(in->bytes, byte_order_mark, 3) == 0)
        at = 3;
    while (at < in->length && is_space(in->bytes[at]))
        at++;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        size_t length = strlen(starts[i]);
        if (in->length - at >= length &&
            strncasecmp((const char *)in->bytes + at, starts[i], length) == 0)
            return true;
    }
    return false;
}

/* Bytes of the printable character at p, by ASCII and the shape of UTF-8; 0: not printable. */
static size_t character(const uint8_t *p, size_t left)
{
    if (is_space(*p) || (*p >= 0x20 && *p < 0x7f))
        return 1;
    size_t length = *p >= 0xc2 && *p < 0xe0   ? 2
                    : *p >= 0xe0 && *p < 0xf0 ? 3
                    : *p >= 0xf0 && *p < 0xf5 ? 4
                                              : 0;
    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

static bool is_text(const struct input *in)
{
    for (size_t at = 0, n; at < in->length; at += n) {
        n = character(in->bytes + at, in->length - at);
        if (n == 0)
            return false;
    }
    return true;
}

static int scan(const struct input *in, struct pieces *pieces, struct image *image,
                struct error *err)
{
    const char *archive = archive_kind(in);
    if (archive) {
        error_set(err, ERR_IMAGE, "%s: this file is %s, not firmware", in->name, archive);
        return error_hint(err, "unpack it and give the firmware file that is inside, if any");
    }
    if (is_web_page(in)) {
        error_set(err, ERR_IMAGE, "%s: this file is a web page (HTML), not firmware", in->name);
        return error_hint(err, "download the file itself: on GitHub use the link \"raw\"");
    }
    if (is_text(in)) {
        error_set(err, ERR_IMAGE, "%s: this file is plain text, not firmware", in->name);
        return error_hint(err, "give the compiled program: a .bin, .hex, .elf, .uf2 or .dfu file");
    }
    image->placed = false;
    return pieces_add(pieces, 0, in->bytes, in->length, 0, err);
}

static bool recognise(const struct input *in)
{
    return in->length > 0;
}

const struct format format_raw = {FORMAT_RAW, false, recognise, scan};
