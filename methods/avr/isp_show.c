/* What can be told about an AVR and its programmer: fuses with their meaning, and `mflash info`. */
#include "avr/isp.h"

#include <stdio.h>

int isp_fuses(struct session *session, struct fuse fuses[FUSES_MAX], size_t *count,
              struct error *err)
{
    const struct avr_fuse *known;
    *count = 0;
    for (size_t n = 0; n < FUSES_MAX && (known = avr_fuse_at(session->chip, n)); n++) {
        struct fuse *fuse = &fuses[n];
        uint8_t value = 0;
        int rc = isp_read_fuse(session->state, known, &value, err);
        if (rc != OK)
            return rc;
        (void)snprintf(fuse->name, sizeof fuse->name, "%s", known->name);
        fuse->value = value;
        fuse->mask = avr_fuse_mask(session->chip, known->name);
        fuse_decode(session->chip, known->name, value, fuse->text, sizeof fuse->text);
        *count = n + 1;
    }
    return OK;
}

struct info_line *isp_info_line(struct device_info *info, const char *name)
{
    struct info_line *line = &info->lines[info->count < INFO_MAX ? info->count++ : INFO_MAX - 1];
    (void)snprintf(line->name, sizeof line->name, "%.23s", name);
    return line;
}

int isp_info(struct session *session, struct device_info *info, struct error *err)
{
    struct isp *isp = session->state;
    const uint8_t *s = isp->signature;
    struct fuse fuses[FUSES_MAX];
    size_t count;
    int rc = isp_fuses(session, fuses, &count, err);
    if (rc != OK)
        return rc;
    const struct chip *found = chip_by_signature(s, NULL);
    struct info_line *line = isp_info_line(info, "signature");
    (void)snprintf(line->text, sizeof line->text, "%02x %02x %02x (%s)", s[0], s[1], s[2],
                   found ? found->name : "no chip known");
    isp->programmer->info(isp, info);
    if (isp->sck) {
        line = isp_info_line(info, "SCK");
        (void)snprintf(line->text, sizeof line->text, "%u Hz", (unsigned)isp->sck);
    }
    for (size_t n = 0; n < count; n++) {
        line = isp_info_line(info, fuses[n].name);
        (void)snprintf(line->text, sizeof line->text, "0x%02x  %.140s", (unsigned)fuses[n].value,
                       fuses[n].text);
    }
    return OK;
}
