/*
 * The monitor's G: runs a piece of Thumb code that the host has put into RAM, in Unicorn.
 *
 * Two things to know: RAM is copied in and out, everything else goes through the model's own bus;
 * and the code must come back as the monitor's compiler expects it of any function (AAPCS): SP and
 * R4 to R11 as they were. The monitor of SAM7 is an exception, by what BOSSA's applet tells of it:
 * each G costs it some of its stack, unless the code brings SP back to where stack is free.
 */
#include <stdlib.h>
#include <string.h>
#include <unicorn/unicorn.h>

#include "base/bytes.h"
#include "sam_chip.h"

enum {
    LANDING = 0x1fff0000, /* where LR points: a page of its own */
    INSTRUCTIONS_MAX = 40000000,
    INSTRUCTIONS_EACH_US = 32, /* a core at 48 MHz, one and a half cycles each */
    CALLEE_SAVED = 8,          /* R4 to R11 */
    STACK_LOST = 8,            /* by each G of a SAM7 */
    THUMB = 0x20,              /* in CPSR */
};

static const int saved_registers[CALLEE_SAVED] = {
    UC_ARM_REG_R4, UC_ARM_REG_R5, UC_ARM_REG_R6,  UC_ARM_REG_R7,
    UC_ARM_REG_R8, UC_ARM_REG_R9, UC_ARM_REG_R10, UC_ARM_REG_R11,
};

static uint64_t bus_load(uc_engine *engine, uint64_t offset, unsigned size, void *data)
{
    const struct sam_window *window = data;
    uint32_t value;
    if (size > 4 || !sam_load(window->sam, window->start + (uint32_t)offset, size, &value)) {
        uc_emu_stop(engine);
        return 0;
    }
    return value;
}

static void bus_store(uc_engine *engine, uint64_t offset, unsigned size, uint64_t value, void *data)
{
    const struct sam_window *window = data;
    if (size > 4 ||
        !sam_store(window->sam, window->start + (uint32_t)offset, size, (uint32_t)value) ||
        window->sam->reset_wanted)
        uc_emu_stop(engine);
}

static void count(uc_engine *engine, uint64_t address, uint32_t size, void *data)
{
    struct sam *sam = data;
    (void)address;
    sam->instructions += size / 2;
    if (sam->instructions > INSTRUCTIONS_MAX) {
        sam_die(sam, "an applet that does not end", (uint32_t)address);
        uc_emu_stop(engine);
    }
}

static bool map(struct sam *sam, uc_engine *engine)
{
    struct span window;
    bool good = uc_mem_map(engine, LANDING, 4096, UC_PROT_READ | UC_PROT_EXEC) == UC_ERR_OK;
    for (size_t i = 0; i < SAM_RAM_MAX && good; i++)
        if (sam->ram[i].size)
            good =
                uc_mem_map(engine, sam->ram[i].start, sam->ram[i].size, UC_PROT_ALL) == UC_ERR_OK;
    for (size_t n = 0; good && n < SAM_WINDOW_MAX && sam_window(sam, n, &window); n++) {
        sam->windows[n] = (struct sam_window){sam, (uint32_t)window.start};
        good = uc_mmio_map(engine, window.start, window.size, bus_load, &sam->windows[n], bus_store,
                           &sam->windows[n]) == UC_ERR_OK;
    }
    return good;
}

void applet_close(struct sam *sam)
{
    if (sam->engine)
        uc_close(sam->engine);
    sam->engine = NULL;
}

/* At the first G: many a host never says one. */
static bool open_engine(struct sam *sam)
{
    uc_engine *engine;
    uc_hook hook;
    if (sam->engine)
        return true;
    void (*counter)(uc_engine *, uint64_t, uint32_t, void *) = count;
    void *callback; /* POSIX: function pointers fit; ISO C has no cast for it */
    memcpy(&callback, &counter, sizeof callback);
    uc_mode mode = sam->kind->controller == SAM_EFC ? UC_MODE_ARM : UC_MODE_THUMB | UC_MODE_MCLASS;
    if (uc_open(UC_ARCH_ARM, mode, &engine) != UC_ERR_OK)
        return false;
    sam->engine = engine;
    /* Every block: a range that ends before it begins. */
    if (uc_ctl_set_cpu_model(engine, sam->kind->cpu) == UC_ERR_OK && map(sam, engine) &&
        uc_hook_add(engine, &hook, UC_HOOK_BLOCK, callback, sam, 1, 0) == UC_ERR_OK)
        return true;
    applet_close(sam);
    return false;
}

/* ---- one run ---- */

static bool overlaps(const struct sam_ram *ram, const struct span *span)
{
    return span->size && span->start >= ram->start && span->start < ram->start + ram->size;
}

/* Takes RAM back; false if the monitor's own part is not what it was. */
static bool fetch_ram(struct sam *sam, uc_engine *engine, struct sam_ram *ram)
{
    const struct span *own = sam->kind->monitor_ram;
    bool kept = true;
    uint8_t *after = malloc(ram->size);
    if (!after || uc_mem_read(engine, ram->start, after, ram->size) != UC_ERR_OK) {
        free(after);
        return false;
    }
    for (size_t i = 0; i < 2; i++)
        if (overlaps(ram, &own[i])) {
            size_t at = (size_t)own[i].start - ram->start;
            kept = kept && memcmp(ram->bytes + at, after + at, (size_t)own[i].size) == 0;
        }
    memcpy(ram->bytes, after, ram->size);
    free(after);
    return kept;
}

/* Gives RAM, and forgets what was translated from what it held before. */
static bool give_ram(struct sam *sam, uc_engine *engine)
{
    for (size_t i = 0; i < SAM_RAM_MAX; i++) {
        const struct sam_ram *ram = &sam->ram[i];
        uint64_t start = ram->start, end = start + ram->size;
        if (ram->size && (uc_mem_write(engine, start, ram->bytes, ram->size) != UC_ERR_OK ||
                          uc_ctl_remove_cache(engine, start, end) != UC_ERR_OK))
            return false;
    }
    return true;
}

/* The monitor of a Cortex-M is Thumb code, that of an ARM7 is not. */
static void set_registers(uc_engine *engine, uint32_t sp, bool arm7)
{
    uint32_t link = arm7 ? LANDING : LANDING | 1;
    uc_reg_write(engine, UC_ARM_REG_SP, &sp);
    uc_reg_write(engine, UC_ARM_REG_LR, &link);
    for (uint32_t i = 0; i < CALLEE_SAVED; i++) {
        uint32_t value = 0xc0de0000 + i;
        uc_reg_write(engine, saved_registers[i], &value);
    }
}

/* What is wrong with the way it came back, or NULL. */
static const char *bad_return(uc_engine *engine, uint32_t sp, bool arm7)
{
    uint32_t value = 0;
    uc_reg_read(engine, UC_ARM_REG_PC, &value);
    if ((value & ~1u) != LANDING)
        return "an applet that did not return";
    uc_reg_read(engine, UC_ARM_REG_CPSR, &value);
    if (arm7 && value & THUMB)
        return "an applet that returned in Thumb state";
    uc_reg_read(engine, UC_ARM_REG_SP, &value);
    if (value != sp && !arm7)
        return "an applet that moved SP";
    for (uint32_t i = 0; i < CALLEE_SAVED; i++) {
        uc_reg_read(engine, saved_registers[i], &value);
        if (value != 0xc0de0000 + i)
            return "an applet that changed R4 to R11";
    }
    return NULL;
}

/* A SAM7's monitor goes on with the stack it finds; it may be anywhere in RAM above its own. */
static const char *bad_stack(struct sam *sam, uc_engine *engine)
{
    const struct span *own = &sam->kind->monitor_ram[0];
    uc_reg_read(engine, UC_ARM_REG_SP, &sam->sp);
    sam->sp -= STACK_LOST;
    bool in_ram = sam->sp > own->start + own->size &&
                  sam->sp <= sam->ram[0].start + sam->ram[0].size && sam->sp % 4 == 0;
    return in_ram ? NULL : "a stack that has run into the monitor's variables";
}

static void execute(struct sam *sam, uint32_t base, uint32_t sp, uint32_t pc)
{
    uc_engine *engine = sam->engine;
    bool kept = true;
    sam->instructions = 0;
    bool arm7 = sam->kind->controller == SAM_EFC;
    set_registers(engine, sp, arm7);
    uc_err err = uc_emu_start(engine, pc, LANDING, 0, 0);
    for (size_t i = 0; i < SAM_RAM_MAX; i++)
        if (sam->ram[i].size)
            kept = fetch_ram(sam, engine, &sam->ram[i]) && kept;
    sam_spend(sam, sam->instructions / INSTRUCTIONS_EACH_US);
    if (sam->reset_wanted || sam->state == SAM_DEAD)
        return;
    const char *why = err == UC_ERR_OK ? bad_return(engine, sp, arm7) : uc_strerror(err);
    if (!why && !kept)
        why = "an applet that changed the monitor's RAM";
    if (!why && arm7)
        why = bad_stack(sam, engine);
    if (why)
        sam_die(sam, why, base);
}

void applet_run(struct sam *sam, uint32_t base)
{
    uint32_t sp = sam->sp, pc = base;
    if (sam->kind->controller == SAM_EFC)
        base &= ~1u;
    else if (!sam_load(sam, base, 4, &sp) || !sam_load(sam, base + 4, 4, &pc))
        return;
    if (!(pc & 1))
        sam_die(sam, "a jump to an even address", pc);
    else if (!open_engine(sam) || !give_ram(sam, sam->engine))
        sam_die(sam, "no emulator", base);
    else
        execute(sam, base, sp, pc);
}
