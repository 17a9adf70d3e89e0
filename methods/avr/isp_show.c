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

int isp_info(struct session *session, struct device_info *info, struct error *err)
{
    struct isp *isp = session->state;
    struct fuse fuses[FUSES_MAX];
    size_t count;
    int rc = isp_fuses(session, fuses, &count, err);
    if (rc != OK)
        return rc;
    char signature[96];
    signature_text(isp->signature, signature, sizeof signature);
    device_info_add(info, "signature", "%s", signature);
    isp->programmer->info(isp, info);
    if (isp->sck)
        device_info_add(info, "SCK", "%u Hz", (unsigned)isp->sck);
    for (size_t n = 0; n < count; n++)
        device_info_add(info, fuses[n].name, "0x%02x  %s", (unsigned)fuses[n].value, fuses[n].text);
    return OK;
}
