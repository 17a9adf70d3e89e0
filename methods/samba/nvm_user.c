/*
 * The user row of SAMD2x (and user page of SAMD5x/E5x): bootloader protection, emulated EEPROM,
 * region locks. It is erased as a whole: everything else in it is read before and written back.
 * New values count after a reset.
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "samba/nvmctrl.h"

enum { USER_MAX = 512, USER_US = 2 * SECOND };

#define USER_ROW 0x00804000u

static uint32_t field_mask(const struct user_field *field)
{
    return field->width >= 32 ? UINT32_MAX : (1u << field->width) - 1;
}

static uint32_t field_value(const struct user_field *field, const uint8_t *row)
{
    return get_le32(row + 4 * field->word) >> field->shift & field_mask(field);
}

static int read_row(struct samba *s, uint8_t *row, size_t length, struct error *err)
{
    int rc = samba_receive(&s->monitor, USER_ROW, row, length, err);
    return rc == OK ? OK : error_context(err, "reading the user row");
}

int nvm_fuses(struct samba *s, struct fuse fuses[FUSES_MAX], size_t *count, struct error *err)
{
    uint8_t row[12];
    *count = 0;
    int rc = read_row(s, row, sizeof row, err);
    for (const struct user_field *f = nvm_kind(s)->fields; rc == OK && f->name; f++) {
        struct fuse *fuse = &fuses[(*count)++];
        *fuse = (struct fuse){.value = field_value(f, row), .mask = field_mask(f)};
        (void)snprintf(fuse->name, sizeof fuse->name, "%s", f->name);
        (void)snprintf(fuse->text, sizeof fuse->text, "%s", f->text);
    }
    return rc;
}

static int write_row(struct samba *s, const uint8_t *row, struct error *err)
{
    const struct nvm_kind *nvm = nvm_kind(s);
    int rc = nvm_manual_mode(s, err);
    if (rc == OK)
        rc = nvm_command(s, nvm->erase_user, USER_ROW, err);
    if (rc == OK)
        rc = nvm_wait(s, USER_US, err);
    for (size_t at = 0; rc == OK && at < nvm->user_row; at += nvm->user_unit)
        if (!bytes_blank(row + at, nvm->user_unit, 0xff))
            rc = nvm_write_words(s, USER_ROW + at, row + at, nvm->user_unit, nvm->write_user, err);
    return rc == OK ? nvm_wait(s, USER_US, err) : rc;
}

static const struct user_field *find_field(const struct samba *s, const char *name)
{
    const struct user_field *field = nvm_kind(s)->fields;
    while (field->name && strcmp(field->name, name) != 0)
        field++;
    return field->name ? field : NULL;
}

int nvm_set_fuse(struct samba *s, const char *name, uint32_t value, struct error *err)
{
    uint8_t row[USER_MAX], after[USER_MAX];
    size_t length = nvm_kind(s)->user_row;
    const struct user_field *field = find_field(s, name);
    if (!field)
        return error_set(err, ERR_USAGE, "%s has no fuse %s", s->session->chip->name, name);
    if (value & ~field_mask(field))
        return error_set(err, ERR_USAGE, "%s has %u bits: 0x%x does not fit", name, field->width,
                         (unsigned)value);
    int rc = read_row(s, row, length, err);
    if (rc != OK || field_value(field, row) == value)
        return rc;
    uint32_t word = get_le32(row + 4 * field->word) & ~(field_mask(field) << field->shift);
    put_le32(row + 4 * field->word, word | value << field->shift);
    rc = write_row(s, row, err);
    if (rc == OK)
        rc = read_row(s, after, length, err);
    if (rc == OK && memcmp(row, after, length) != 0)
        rc = error_set(err, ERR_VERIFY, "the user row does not hold what was written");
    return rc == OK ? OK : error_context(err, "setting %s", name);
}
