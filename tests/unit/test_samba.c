/* SAM-BA against the strict models of SAM7, SAM3X, SAM4E, SAM D21 and SAM D51 on virtual time, with
 * used chips: applets run in an emulator, and a model dies of what would kill the monitor. Faults
 * at every message: test_samba_faults_*.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "samba_rig.h"

/* The flash is what it was before, with the image over it; frees `before`. */
static void assert_only_the_image_changed(const struct rig *rig, uint8_t *before)
{
    const struct region *flash = &rig->chip->regions[0];
    for (size_t i = 0; i < rig->image.count; i++) {
        const struct segment *s = &rig->image.segments[i];
        memcpy(before + (s->address - flash->start), s->data, s->length);
    }
    for (size_t i = 0; i < flash->size; i++)
        if (rig->flash[i] != before[i])
            fail_msg("%s: offset 0x%zx is %02x, not %02x", rig->model->name, i, rig->flash[i],
                     before[i]);
    free(before);
}

/* ---- writing ---- */

static void write_changes_the_image_s_bytes_and_no_others(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAM_BOARDS; i++) {
        struct rig *rig = samba_rig(sam_boards[i], NULL);
        uint8_t *before = keep_flash(rig);
        rig_image(rig, MEM_FLASH, sam_boards[i]->start, 9001);
        rig_image(rig, MEM_FLASH, sam_boards[i]->start + 0x8123, 333);
        rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
        assert_int_equal(rig->advanced, 2 * (9001 + 333));
        assert_only_the_image_changed(rig, before);
        rig_free(rig);
    }
}

/* bossac cannot write a SAM4 beyond page 32 unless it erased the whole chip. */
static void sam4e_takes_40_kib_without_a_chip_erase(void **state)
{
    (void)state;
    struct rig *rig = samba_rig(&duet, NULL);
    uint8_t *before = keep_flash(rig);
    rig_image(rig, MEM_FLASH, 0x400000, 40 * KIB);
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
    assert_only_the_image_changed(rig, before);
    rig_free(rig);
}

static void write_crosses_from_one_plane_into_the_other(void **state)
{
    (void)state;
    const struct sam_board *const boards[] = {&due, &sam7s};
    for (size_t i = 0; i < 2; i++) {
        struct rig *rig = samba_rig(boards[i], NULL);
        uint8_t *before = keep_flash(rig);
        rig_image(rig, MEM_FLASH, boards[i]->base + 256 * KIB - 700, 1500);
        rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
        assert_only_the_image_changed(rig, before);
        rig_free(rig);
    }
}

static void blank_pages_of_a_used_chip_are_blanked(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAM_BOARDS; i++) {
        struct rig *rig = samba_rig(sam_boards[i], NULL);
        static uint8_t bytes[12 * KIB];
        memset(bytes, 0xff, sizeof bytes);
        memset(bytes, 0x5a, 300);
        memset(bytes + 11 * KIB, 0xa5, 700);
        rig_image_bytes(rig, MEM_FLASH, sam_boards[i]->start, bytes, sizeof bytes);
        rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
        assert_true(rig_holds_image(rig));
        rig_free(rig);
    }
}

/* bossac resets while the bit is still being written, and it is lost. */
/* bossac erases its first plane twice instead, and never waits for a SAM7's controller. */
static void sam7_with_two_planes_is_erased_as_a_whole(void **state)
{
    (void)state;
    struct rig *rig = samba_rig(&sam7s, NULL);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, method_samba.erase_chip(&rig->session, &rig->err));
    assert_true(bytes_blank(rig->flash, 512 * KIB, 0xff));
    rig_free(rig);
}

/* Its RAM holds the applets and half a slab. */
static void a_sam7_with_little_ram_is_written(void **state)
{
    (void)state;
    struct sam_board small = sam7s;
    small.chip = "at91sam7s64";
    struct rig *rig = samba_rig(&small, NULL);
    uint8_t *before = keep_flash(rig);
    rig_image(rig, MEM_FLASH, 0x100000 + 77, 40 * KIB);
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
    assert_only_the_image_changed(rig, before);
    rig_free(rig);
}

static void boot_bit_is_set_before_the_reset(void **state)
{
    (void)state;
    const struct sam_board *const roms[] = {&sam7x, &due, &due_uart, &duet};
    for (size_t i = 0; i < 4; i++) {
        struct rig *rig = samba_rig(roms[i], NULL);
        rig_image(rig, MEM_FLASH, roms[i]->start, 1000);
        assert_false(boots_flash(rig, roms[i]));
        rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
        assert_true(boots_flash(rig, roms[i]));
        rig_free(rig);
    }
}

static void stop_leaves_a_rom_board_in_its_rom(void **state)
{
    (void)state;
    struct rig *rig = samba_rig(&due, NULL);
    rig->options[0] &= (uint8_t)~due.boot_bit;
    rig_image(rig, MEM_FLASH, 0x80000, 30 * KIB);
    rig->stop_at = 10 * KIB;
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_INTERRUPTED);
    assert_false(boots_flash(rig, &due));
    rig_free(rig);
}

static void stop_leaves_the_first_sector_empty_behind_a_flash_loader(void **state)
{
    (void)state;
    const struct sam_board *const loaders[] = {&zero, &metro};
    for (size_t i = 0; i < 2; i++) {
        struct rig *rig = samba_rig(loaders[i], NULL);
        rig_image(rig, MEM_FLASH, loaders[i]->start, 30 * KIB);
        rig->stop_at = 10 * KIB;
        assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_INTERRUPTED);
        assert_true(
            bytes_blank(rig->flash + loaders[i]->start, rig->chip->regions[0].sector, 0xff));
        rig_free(rig);
    }
}

static void a_bit_that_will_not_program_fails_and_the_chip_stays_in_its_rom(void **state)
{
    (void)state;
    struct rig *rig = samba_rig(&due, NULL);
    static uint8_t zeros[2000];
    rig_image_bytes(rig, MEM_FLASH, 0x80000, zeros, sizeof zeros);
    rig->config.flash.stuck = 0x123;
    rig_remake(rig);
    assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_VERIFY);
    assert_non_null(strstr(rig->err.message, "0x00080123"));
    assert_false(boots_flash(rig, &due));
    rig_free(rig);
}

/* ---- what is refused ---- */

static void connect_refuses_another_chip(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAM_BOARDS; i++) {
        struct rig *rig = samba_rig(sam_boards[i], &(struct vfaults){.wrong_id = true});
        assert_int_equal(rig_connect(rig, NULL), ERR_REFUSED);
        assert_string_equal(rig->err.check, "signature");
        rig_free(rig);
    }
}

static void a_board_of_another_family_is_named_without_killing_it(void **state)
{
    (void)state;
    static const char *const others[] = {"samd21g18a", "sam4e8e", "samd51j19a", "sam3x8e",
                                         "at91sam7x256"};
    for (size_t i = 0; i < SAM_BOARDS; i++)
        for (size_t n = 0; n < 5; n++) {
            struct rig *rig = samba_rig(sam_boards[i], NULL);
            if (strcmp(others[n], sam_boards[i]->chip) != 0) {
                rig->chip = chip_find(others[n]);
                assert_int_equal(rig_connect(rig, NULL), ERR_REFUSED);
                assert_non_null(strstr(rig->err.message, sam_boards[i]->chip));
            }
            rig_free(rig);
        }
}

static void security_bit_is_told_and_nothing_is_written(void **state)
{
    (void)state;
    const struct sam_board *const roms[] = {&sam7s, &sam7x, &due, &duet};
    for (size_t i = 0; i < 4; i++) {
        struct rig *rig = samba_rig(roms[i], &(struct vfaults){.locked = true});
        rig_image(rig, MEM_FLASH, roms[i]->start, 1000);
        assert_int_equal(rig_run(rig, MEM_FLASH, NULL), ERR_PROTECTED);
        assert_non_null(strstr(rig->err.hint, "ERASE"));
        if (roms[i]->boot_bit)
            assert_false(boots_flash(rig, roms[i]));
        rig_free(rig);
    }
}

/* bossac's X with address 0 erases the bootloader. */
static void nothing_below_the_application_is_changed(void **state)
{
    (void)state;
    const struct sam_board *const loaders[] = {&zero, &metro};
    for (size_t i = 0; i < 2; i++) {
        struct rig *rig = samba_rig(loaders[i], NULL);
        const struct span below = {0, loaders[i]->start};
        uint8_t *before = keep_flash(rig);
        rig_assert_ok(rig, rig_connect(rig, NULL));
        assert_int_equal(method_samba.erase(&rig->session, &below, 1, &rig->err), ERR_REFUSED);
        rig_assert_ok(rig, method_samba.erase_chip(&rig->session, &rig->err));
        assert_memory_equal(rig->flash, before, below.size);
        assert_true(bytes_blank(rig->flash + below.size,
                                (size_t)(rig->chip->regions[0].size - below.size), 0xff));
        free(before);
        rig_free(rig);
    }
}

static void unproven_families_want_force_before_the_first_change(void **state)
{
    (void)state;
    struct rig *rig = samba_rig(&due, NULL);
    struct sam_part part = *rig->chip->sam;
    struct chip chip = *rig->chip;
    part.proven = false;
    chip.sam = &part;
    rig->chip = &chip;
    rig_image(rig, MEM_FLASH, 0x80000, 1000);
    uint8_t *before = keep_flash(rig);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    struct job job = rig_job(rig, MEM_FLASH);
    assert_int_equal(method_samba.write(&rig->session, &job, &rig->err), ERR_REFUSED);
    assert_string_equal(rig->err.check, "unproven-chip");
    assert_memory_equal(rig->flash, before, 2000);
    rig->session.force_unproven = true;
    rig_assert_ok(rig, method_samba.write(&rig->session, &job, &rig->err));
    assert_true(rig_holds_image(rig));
    free(before);
    rig_free(rig);
}

/* ---- locks ---- */

/* bossac queues its unlocking to the end, and fails before. */
static void locked_regions_are_unlocked_only_where_the_image_is(void **state)
{
    (void)state;
    struct rig *rig = samba_rig(&due, NULL);
    rig_image(rig, MEM_FLASH, 0x80000 + 20 * KIB, 1000); /* region 1 of 16 KiB */
    rig->options[1] = 0xf8;                              /* 0, 1 and 2 are locked */
    rig_remake(rig);
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
    assert_true(rig_holds_image(rig));
    assert_int_equal(rig->options[1], 0xfa);
    assert_non_null(strstr(rig->notes, "0x00084000"));
    rig_free(rig);
}

static void unlock_clears_every_lock_of_both_planes(void **state)
{
    (void)state;
    struct rig *rig = samba_rig(&due, NULL);
    memset(rig->options + 1, 0, 4);
    rig_remake(rig);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, method_samba.unlock(&rig->session, &rig->err));
    assert_true(bytes_blank(rig->options + 1, 4, 0xff));
    rig_free(rig);
}

/* ---- reading, erasing, fuses ---- */

/* Lengths that ROMs choke on (multiples of 64), and addresses that are no words. */
static void read_any_address_and_length(void **state)
{
    (void)state;
    static const struct span spans[] = {{0, 1},    {1, 64},      {3, 63},       {7, 65},
                                        {0, 4096}, {8190, 8192}, {0x4321, 4095}};
    static uint8_t bytes[8192];
    for (size_t i = 0; i < SAM_BOARDS; i++) {
        struct rig *rig = samba_rig(sam_boards[i], NULL);
        rig_assert_ok(rig, rig_connect(rig, NULL));
        for (size_t n = 0; n < sizeof spans / sizeof spans[0]; n++) {
            size_t length = (size_t)spans[n].size;
            rig->advanced = 0;
            rig_assert_ok(rig, method_samba.read(&rig->session, MEM_FLASH,
                                                 sam_boards[i]->base + spans[n].start, bytes,
                                                 length, &rig->err));
            assert_memory_equal(bytes, rig->flash + spans[n].start, length);
            assert_int_equal(rig->advanced, length);
        }
        rig_free(rig);
    }
}

static void erase_blanks_the_range_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAM_BOARDS; i++) {
        struct rig *rig = samba_rig(sam_boards[i], NULL);
        uint8_t *before = keep_flash(rig);
        const struct span range = {sam_boards[i]->base + 0x8000, 0x4000};
        rig_assert_ok(rig, rig_connect(rig, NULL));
        rig_assert_ok(rig, method_samba.erase(&rig->session, &range, 1, &rig->err));
        memset(before + 0x8000, 0xff, 0x4000);
        assert_memory_equal(rig->flash, before, (size_t)rig->chip->regions[0].size);
        free(before);
        rig_free(rig);
    }
}

static void a_chip_just_erased_is_programmed_without_erasing(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAM_BOARDS; i++) {
        struct rig *rig = samba_rig(sam_boards[i], NULL);
        rig_image(rig, MEM_FLASH, sam_boards[i]->start, 20001);
        rig_assert_ok(rig, rig_connect(rig, NULL));
        rig_assert_ok(rig, method_samba.erase_chip(&rig->session, &rig->err));
        struct job job = rig_job(rig, MEM_FLASH);
        job.erased = true;
        rig_assert_ok(rig, method_samba.write(&rig->session, &job, &rig->err));
        assert_true(rig_holds_image(rig));
        rig_free(rig);
    }
}

static void assert_fuse(struct rig *rig, const char *name, uint32_t value)
{
    struct fuse fuses[FUSES_MAX];
    size_t count;
    rig_assert_ok(rig, method_samba.fuses(&rig->session, fuses, &count, &rig->err));
    for (size_t i = 0; i < count; i++)
        if (strcmp(fuses[i].name, name) == 0) {
            assert_int_equal(fuses[i].value, value);
            return;
        }
    fail_msg("no fuse %s", name);
}

static void fuses_are_shown_and_set(void **state)
{
    (void)state;
    static const struct {
        const struct sam_board *bench;
        const char *name;
        uint32_t before, after;
    } cases[] = {{&due, "gpnvm2", 1, 0},
                 {&due, "lock0", 0, 0x8001}, /* 16 regions in each plane */
                 {&due, "lock1", 0, 0x0002},
                 {&duet, "gpnvm1", 0, 1},
                 {&duet, "lock1", 0, 0x80000000},
                 {&sam7s, "gpnvm1", 0, 1},
                 {&sam7s, "lock1", 0, 0x8000},
                 {&sam7s, "security", 0, 1},
                 {&sam7x, "gpnvm2", 0, 1},
                 {&zero, "bootprot", 2, 7},
                 {&zero, "regionlock", 0xffff, 0xfffd},
                 {&metro, "bootprot", 15, 13}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *rig = samba_rig(cases[i].bench, NULL);
        if (strcmp(cases[i].name, "gpnvm2") == 0 && cases[i].bench == &due)
            rig->options[0] &= 0xfb; /* gpnvm2 set; D2x and D5x have the factory's row */
        rig_remake(rig);
        rig_assert_ok(rig, rig_connect(rig, NULL));
        assert_fuse(rig, cases[i].name, cases[i].before);
        rig_assert_ok(
            rig, method_samba.set_fuse(&rig->session, cases[i].name, cases[i].after, &rig->err));
        assert_fuse(rig, cases[i].name, cases[i].after);
        rig_free(rig);
    }
}

static void fuses_that_lock_the_user_out_are_dangerous(void **state)
{
    (void)state;
    const struct chip *sam3 = chip_find("sam3x8e"), *sam7 = chip_find("at91sam7s256");
    assert_non_null(method_samba.fuse_danger(sam3, "gpnvm0", 1));
    assert_null(method_samba.fuse_danger(sam3, "gpnvm0", 0));
    assert_null(method_samba.fuse_danger(sam3, "gpnvm1", 1));
    assert_null(method_samba.fuse_danger(sam7, "gpnvm0", 1)); /* its brown-out detector */
    assert_non_null(method_samba.fuse_danger(sam7, "security", 1));
    assert_non_null(method_samba.fuse_danger(chip_find("samd21g18a"), "user1", UINT32_MAX));
}

static void connect_says_what_the_monitor_is(void **state)
{
    (void)state;
    struct device_info info = {.count = 0};
    struct rig *rig = samba_rig(&due, NULL);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, method_samba.info(&rig->session, &info, &rig->err));
    assert_string_equal(info.lines[0].text, "SAM-BA v1.1 Dec 15 2010 19:25:04");
    assert_string_equal(info.lines[2].text, "0x285e0a60 (sam3x8e)");
    rig_free(rig);
}

static void an_empty_chip_is_not_sent_into_its_flash(void **state)
{
    (void)state;
    struct rig *rig = samba_rig(&due, NULL);
    memset(rig->flash, 0xff, sizeof rig->flash);
    rig_assert_ok(rig, rig_connect(rig, NULL));
    rig_assert_ok(rig, method_samba.run(&rig->session, &rig->err));
    assert_false(boots_flash(rig, &due));
    assert_non_null(strstr(rig->notes, "empty"));
    rig_free(rig);
}

static void a_refused_flash_command_is_an_error_with_its_place(void **state)
{
    (void)state;
    struct rig *rig = samba_rig(&duet, NULL);
    unsigned failures = 0;
    rig_image(rig, MEM_FLASH, 0x400000, 1000);
    for (unsigned n = 1; n < 40; n++) {
        rig->config.faults.nak = n;
        rig_remake(rig);
        int rc = rig_run(rig, MEM_FLASH, NULL);
        assert_true(rc == OK || rc == ERR_PROTOCOL || rc == ERR_PROTECTED || rc == ERR_VERIFY);
        assert_true(rc != OK || rig_holds_image(rig));
        failures += rc != OK;
    }
    assert_true(failures > 3);
    rig_free(rig);
}

/* ---- speed ---- */

/* What bossac 1.9.1 needs besides the flash: 1 ms of sleep at each S, W and G, as measured against
 * a model that takes no time (8.8 ms a page to write, 6.5 ms to verify), and 0.2 s to connect. */
static double bossac_seconds(size_t pages, double erase)
{
    return 0.2 + erase + (double)pages * (8.8 + 6.5) / 1000;
}

static double seconds_of(const struct sam_board *bench)
{
    struct rig *rig = samba_rig(bench, NULL);
    rig_image(rig, MEM_FLASH, bench->start, 40 * KIB);
    rig_assert_ok(rig, rig_run(rig, MEM_FLASH, NULL));
    double seconds = (double)(rig->connecting + rig->writing + rig->verifying) / SECOND;
    print_message("%s 40 KiB: connect %.3f s, write %.3f s, verify %.3f s, %u messages\n",
                  bench->model->name, (double)rig->connecting / SECOND,
                  (double)rig->writing / SECOND, (double)rig->verifying / SECOND, rig->messages);
    rig_free(rig);
    return seconds;
}

static void flashing_is_faster_than_bossac(void **state)
{
    (void)state;
    assert_true(2 * seconds_of(&due) < bossac_seconds(160, 2 * 0.050));
    assert_true(4 * seconds_of(&duet) < bossac_seconds(80, 7.3 / 2));
    /* 160 rows of 6 ms and 640 pages of 2.5 ms (DS40001882 table 37-42), a tenth for the rest. */
    assert_true(seconds_of(&zero) < 1.1 * (160 * 0.006 + 640 * 0.0025));
    assert_true(seconds_of(&metro) < 2.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_changes_the_image_s_bytes_and_no_others),
        cmocka_unit_test(sam4e_takes_40_kib_without_a_chip_erase),
        cmocka_unit_test(write_crosses_from_one_plane_into_the_other),
        cmocka_unit_test(blank_pages_of_a_used_chip_are_blanked),
        cmocka_unit_test(sam7_with_two_planes_is_erased_as_a_whole),
        cmocka_unit_test(a_sam7_with_little_ram_is_written),
        cmocka_unit_test(boot_bit_is_set_before_the_reset),
        cmocka_unit_test(stop_leaves_a_rom_board_in_its_rom),
        cmocka_unit_test(stop_leaves_the_first_sector_empty_behind_a_flash_loader),
        cmocka_unit_test(a_bit_that_will_not_program_fails_and_the_chip_stays_in_its_rom),
        cmocka_unit_test(connect_refuses_another_chip),
        cmocka_unit_test(a_board_of_another_family_is_named_without_killing_it),
        cmocka_unit_test(security_bit_is_told_and_nothing_is_written),
        cmocka_unit_test(nothing_below_the_application_is_changed),
        cmocka_unit_test(unproven_families_want_force_before_the_first_change),
        cmocka_unit_test(locked_regions_are_unlocked_only_where_the_image_is),
        cmocka_unit_test(unlock_clears_every_lock_of_both_planes),
        cmocka_unit_test(read_any_address_and_length),
        cmocka_unit_test(erase_blanks_the_range_and_nothing_else),
        cmocka_unit_test(a_chip_just_erased_is_programmed_without_erasing),
        cmocka_unit_test(fuses_are_shown_and_set),
        cmocka_unit_test(fuses_that_lock_the_user_out_are_dangerous),
        cmocka_unit_test(connect_says_what_the_monitor_is),
        cmocka_unit_test(an_empty_chip_is_not_sent_into_its_flash),
        cmocka_unit_test(a_refused_flash_command_is_an_error_with_its_place),
        cmocka_unit_test(flashing_is_faster_than_bossac),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
