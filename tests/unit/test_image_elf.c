/* ELF: both classes and byte orders, what counts as payload, and headers that lie. */
#include "image_file.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct file file;
static bool wide, big; /* class and byte order of the file in the making */

static int fresh(void **state)
{
    (void)state;
    file_clear(&file);
    wide = big = false;
    return 0;
}

static void number(uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> (big ? 8 * (bytes - 1 - i) : 8 * i));
        file_bytes(&file, &byte, 1);
    }
}

static void word(uint64_t value) /* an address or offset */
{
    number(value, wide ? 8 : 4);
}

static size_t head_size(void)
{
    return wide ? 64 : 52;
}

static void head(uint16_t machine, uint64_t entry, unsigned segments, uint64_t sections_at,
                 unsigned sections)
{
    file_bytes(&file, "\177ELF", 4);
    number(wide ? 2 : 1, 1);
    number(big ? 2 : 1, 1);
    number(1, 1);
    file_fill(&file, 0, 9);
    number(ET_EXEC, 2);
    number(machine, 2);
    number(1, 4);
    word(entry);
    word(segments ? head_size() : 0);
    word(sections_at);
    number(0, 4);
    number(head_size(), 2);
    number(wide ? 56 : 32, 2);
    number(segments, 2);
    number(wide ? 64 : 40, 2);
    number(sections, 2);
    number(0, 2);
}

static void load(uint64_t offset, uint64_t physical, uint64_t in_file, uint64_t in_memory)
{
    number(PT_LOAD, 4);
    if (wide)
        number(5, 4);
    word(offset);
    word(0x40000000); /* virtual: must not matter */
    word(physical);
    word(in_file);
    word(in_memory);
    if (!wide)
        number(5, 4);
    word(4);
}

static void section(uint32_t type, uint64_t flags, uint64_t offset, uint64_t size)
{
    number(0, 4);
    number(type, 4);
    word(flags);
    word(0x40000000);
    word(offset);
    word(size);
    number(0, 8);
    word(1);
    word(0);
}

static void payload_at(size_t offset, const char *text)
{
    file_fill(&file, 0, offset - file.length);
    file_text(&file, text);
}

static void both_classes_and_byte_orders_are_read(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 4; kind++) {
        file_clear(&file);
        wide = kind & 1;
        big = kind & 2;
        head(EM_ARM, 0x08002101, 1, 0, 0);
        load(0x100, 0x08002000, 5, 5);
        payload_at(0x100, "hello");
        struct image image = parsed(&file, NULL);
        assert_int_equal(image.format, FORMAT_ELF);
        assert_int_equal(image.machine, MACHINE_ARM);
        assert_int_equal(image.entry, 0x08002101);
        assert_int_equal(image.count, 1);
        check_segment(&image, 0, MEM_FLASH, 0x08002000, "hello", 5);
        image_free(&image);
    }
}

static void machines_are_told_apart(void **state)
{
    static const struct {
        uint16_t elf;
        enum machine machine;
    } cases[] = {{EM_AVR, MACHINE_AVR}, {EM_ARM, MACHINE_ARM}, {EM_X86_64, MACHINE_OTHER}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        file_clear(&file);
        head(cases[i].elf, 0, 1, 0, 0);
        load(0x100, 0, 5, 5);
        payload_at(0x100, "hello");
        struct image image = parsed(&file, NULL);
        assert_int_equal(image.machine, cases[i].machine);
        image_free(&image);
    }
}

static void memory_beyond_the_file_part_is_not_payload(void **state)
{
    (void)state;
    head(EM_ARM, 0, 2, 0, 0);
    load(0x100, 0x08000000, 5, 0xffffffff);
    load(0x100, 0x20000000, 0, 0xffffffff);
    payload_at(0x100, "hello");
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.count, 1);
    assert_int_equal(image_bytes(&image, MEM_FLASH), 5);
    image_free(&image);
}

static void only_the_sections_of_a_segment_are_payload(void **state)
{
    (void)state;
    /* As a linker makes it for an application at 0x08002000: the segment begins with the header. */
    head(EM_ARM, 0, 1, 0x200, 4);
    load(0, 0x08000000, 0x110, 0x110);
    payload_at(0x100, "hello");
    file_fill(&file, 0, 0x200 - file.length);
    section(SHT_NULL, 0, 0, 0);
    section(SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 0x100, 5);
    section(SHT_NOBITS, SHF_ALLOC | SHF_WRITE, 0x108, 8); /* in the file, yet without contents */
    section(SHT_PROGBITS, 0, 0x40, 16);                   /* not loaded: debug information */
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.count, 1);
    check_segment(&image, 0, MEM_FLASH, 0x08000100, "hello", 5);
    image_free(&image);
}

static void avr_sections_go_to_their_memories(void **state)
{
    (void)state;
    head(EM_AVR, 0, 5, 0, 0);
    load(0x100, 0x12340, 5, 5); /* beyond 64 KiB is still flash */
    load(0x110, 0x810008, 2, 2);
    load(0x120, 0x820000, 3, 3);
    load(0x130, 0x830000, 1, 1);
    load(0x140, 0x840000, 3, 3);
    payload_at(0x100, "hello");
    payload_at(0x110, "ee");
    payload_at(0x120, "\x62\xd9\xfd");
    payload_at(0x130, "\xcf");
    payload_at(0x140, "\x0f\x95\x1e");
    struct image image = parsed(&file, NULL);
    assert_int_equal(image.count, 4);
    check_segment(&image, 0, MEM_FLASH, 0x12340, "hello", 5);
    check_segment(&image, 1, MEM_EEPROM, 8, "ee", 2);
    check_segment(&image, 2, MEM_FUSE, 0, "\x62\xd9\xfd", 3);
    check_segment(&image, 3, MEM_LOCK, 0, "\xcf", 1);
    image_free(&image);
}

static void bytes_for_the_ram_of_an_avr_are_refused(void **state)
{
    (void)state;
    head(EM_AVR, 0, 1, 0, 0);
    load(0x100, 0x800100, 5, 5);
    payload_at(0x100, "hello");
    refused(&file, "file: offset 0x100: 5 bytes at 0x800100 are in no memory of an AVR");
}

static void an_arm_address_like_an_eeprom_stays_flash(void **state)
{
    (void)state;
    head(EM_ARM, 0, 1, 0, 0);
    load(0x100, 0x810000, 5, 5);
    payload_at(0x100, "hello");
    struct image image = parsed(&file, NULL);
    check_segment(&image, 0, MEM_FLASH, 0x810000, "hello", 5);
    image_free(&image);
}

static void an_object_file_is_refused(void **state)
{
    (void)state;
    head(EM_ARM, 0, 0, 0, 0);
    refused(&file, "the ELF file has no loadable segment");
}

static void a_segment_beyond_the_file_is_cut_off(void **state)
{
    (void)state;
    head(EM_ARM, 0, 1, 0, 0);
    load(0x100, 0x08000000, 6, 6);
    payload_at(0x100, "hello");
    refused(&file, "file: offset 0x100: the file is cut off: a loadable segment goes on to offset "
                   "0x106, the file ends at 0x105");
}

static void a_section_table_beyond_the_file_is_cut_off(void **state)
{
    (void)state;
    head(EM_ARM, 0, 1, 0x1000, 3);
    load(0x100, 0x08000000, 5, 5);
    payload_at(0x100, "hello");
    refused(&file, "the file is cut off: the table of sections");
}

static void a_header_cut_short_is_refused(void **state)
{
    (void)state;
    head(EM_ARM, 0, 1, 0, 0);
    file.length = 30;
    refused(&file, "broken ELF header");
    file.length = 4;
    refused(&file, "broken ELF header");
}

static void lengths_that_wrap_around_are_refused(void **state)
{
    (void)state;
    wide = true;
    head(EM_ARM, 0, 1, 0, 0);
    load(0x100, 0x08000000, UINT64_MAX, 5);
    payload_at(0x100, "hello");
    refused(&file, "the file is cut off");
    file_clear(&file);
    head(EM_ARM, 0, 1, 0, 0);
    load(0x100, UINT64_MAX - 2, 5, 5);
    payload_at(0x100, "hello");
    refused(&file, "runs past the end of the address space");
}

static void segments_that_overlap_are_named_by_offset(void **state)
{
    (void)state;
    head(EM_ARM, 0, 2, 0, 0);
    load(0x100, 0x08000000, 5, 5);
    load(0x110, 0x08000004, 5, 5);
    payload_at(0x100, "hello");
    payload_at(0x110, "world");
    refused(&file,
            "file: offset 0x110: address 0x8000004 is given twice, here and at offset 0x100");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(both_classes_and_byte_orders_are_read, fresh),
        cmocka_unit_test_setup(machines_are_told_apart, fresh),
        cmocka_unit_test_setup(memory_beyond_the_file_part_is_not_payload, fresh),
        cmocka_unit_test_setup(only_the_sections_of_a_segment_are_payload, fresh),
        cmocka_unit_test_setup(avr_sections_go_to_their_memories, fresh),
        cmocka_unit_test_setup(bytes_for_the_ram_of_an_avr_are_refused, fresh),
        cmocka_unit_test_setup(an_arm_address_like_an_eeprom_stays_flash, fresh),
        cmocka_unit_test_setup(an_object_file_is_refused, fresh),
        cmocka_unit_test_setup(a_segment_beyond_the_file_is_cut_off, fresh),
        cmocka_unit_test_setup(a_section_table_beyond_the_file_is_cut_off, fresh),
        cmocka_unit_test_setup(a_header_cut_short_is_refused, fresh),
        cmocka_unit_test_setup(lengths_that_wrap_around_are_refused, fresh),
        cmocka_unit_test_setup(segments_that_overlap_are_named_by_offset, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
