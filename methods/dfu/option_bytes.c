/* Option bytes through the alternate that shows them: always read and written together. See dfu.h.
 */
#include <stdio.h>

#include "dfu/dfu.h"
#include "stm32/options.h"

enum { RESETS_US = 1 * SECOND };

static int select_options(struct dfu *dfu, struct error *err)
{
    const struct stm32_part *part = dfu->session->chip->stm32;
    const struct span area = {part ? part->option_base : 0, part ? part->option_bytes : 0};
    struct dfu_alternate *alternate =
        area.size ? dfu_alternate_for(dfu, &area, DFU_READABLE) : NULL;
    if (!alternate)
        return error_set(err, ERR_NOT_POSSIBLE, "this device does not show the option bytes of %s",
                         dfu->session->chip->name);
    return dfu_select(dfu, alternate, err);
}

static int read_options(struct dfu *dfu, uint8_t area[OPTIONS_MAX], struct error *err)
{
    const struct stm32_part *part = dfu->session->chip->stm32;
    if (select_options(dfu, err))
        return error_status(err);
    return dfu_st_read(dfu, part->option_base, area, part->option_bytes, err);
}

int dfu_fuses(struct session *session, struct fuse fuses[FUSES_MAX], size_t *count,
              struct error *err)
{
    uint8_t area[OPTIONS_MAX];
    const struct option_field *field;
    if (read_options(session->state, area, err))
        return error_status(err);
    for (*count = 0; *count < FUSES_MAX && (field = option_at(session->chip, *count)); ++*count) {
        struct fuse *fuse = &fuses[*count];
        *fuse = (struct fuse){.value = option_get(field, area), .mask = option_mask(field)};
        (void)snprintf(fuse->name, sizeof fuse->name, "%s", field->name);
        option_decode(session->chip, field->name, fuse->value, fuse->text, sizeof fuse->text);
    }
    return OK;
}

int dfu_set_fuse(struct session *session, const char *name, uint32_t value, struct error *err)
{
    struct dfu *dfu = session->state;
    uint8_t area[OPTIONS_MAX];
    const struct stm32_part *part = session->chip->stm32;
    const struct option_field *field = option_find(session->chip, name);
    if (!field)
        return error_set(err, ERR_USAGE, "%s has no option %s", session->chip->name, name);
    if (read_options(dfu, area, err))
        return error_status(err);
    option_set(field, area, value);
    int rc = dfu_st_write_area(dfu, part->option_base, area, part->option_bytes, err);
    if (rc == ERR_GONE || rc == ERR_NO_ANSWER || rc == ERR_STALL)
        rc = OK;
    if (rc == OK) /* the chip resets to take them */
        session->comes_back = dfu_await_leaving(&dfu->wire, RESETS_US);
    return rc == OK ? OK : error_context(err, "writing the option bytes");
}
