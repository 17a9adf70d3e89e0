/* The table of methods and what each can do: see method.h. */
#include "method.h"

#include <string.h>

const struct method *method_find(const char *name)
{
    for (size_t i = 0; methods[i]; i++)
        if (strcmp(methods[i]->name, name) == 0)
            return methods[i];
    return NULL;
}

/* A method that does not say why it lacks an operation still must not be asked for it. */
static bool has_function(const struct method *m, enum operation op)
{
    switch (op) {
    case OP_WRITE:
        return m->write;
    case OP_READ:
        return m->read;
    case OP_VERIFY:
        return m->verify || m->read;
    case OP_ERASE_RANGE:
        return m->erase;
    case OP_ERASE_CHIP:
        return m->erase_chip;
    case OP_INFO:
        return m->info;
    case OP_FUSES:
        return m->fuses;
    case OP_SET_FUSES:
        return m->set_fuse;
    case OP_UNLOCK:
        return m->unlock;
    case OP_BOOTLOADER:
        return m->rom && m->write;
    case OP_RUN:
        return m->run;
    case OP_RESET: /* the engine's own business, or run */
    case OP_ENTER:
    case OP_EEPROM: /* a memory, not a function */
    case OP_COUNT:
        break;
    }
    return true;
}

const char *method_refusal(const struct method *method, enum operation op)
{
    for (const struct refusal *r = method->refusals; r && r->because; r++)
        if (r->op == op)
            return r->because;
    return has_function(method, op) ? NULL : "its protocol has no command for that";
}

const char *operation_name(enum operation op)
{
    static const char *const names[OP_COUNT] = {
        [OP_WRITE] = "write",
        [OP_READ] = "read",
        [OP_VERIFY] = "verify",
        [OP_ERASE_RANGE] = "erase a range",
        [OP_ERASE_CHIP] = "erase the chip",
        [OP_INFO] = "info",
        [OP_FUSES] = "show fuses",
        [OP_SET_FUSES] = "set fuses",
        [OP_UNLOCK] = "unlock",
        [OP_BOOTLOADER] = "install a bootloader",
        [OP_RESET] = "reset",
        [OP_ENTER] = "enter the bootloader",
        [OP_RUN] = "run",
        [OP_EEPROM] = "EEPROM",
    };
    return (unsigned)op < OP_COUNT ? names[op] : "unknown";
}
