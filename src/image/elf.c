/*
 * ELF (System V ABI, chapters 4 and 5) of any class and byte order, through libelf. What a device
 * gets are the loadable parts by physical address.
 *
 * A linker may make a loadable segment start early, so that the ELF header itself is "loaded": an
 * application linked to 0x08002000 would then overwrite the bootloader at 0x08000000. So inside a
 * segment only the bytes of its sections count, as objcopy does it; a segment without sections
 * (stripped file) counts whole.
 */
#include "image/pieces.h"

#include <gelf.h>
#include <inttypes.h>

/* Real programs have about five; sections are searched for each of them. */
enum { LOADS_MAX = 256, SECTIONS_MAX = 65536 };

struct elf {
    const struct input *in;
    Elf *elf;
    struct pieces *pieces;
    GElf_Ehdr head;
    size_t sections;
};

static int check_range(const struct input *in, uint64_t offset, uint64_t size, const char *what,
                       struct error *err)
{
    if (offset <= in->length && size <= in->length - offset)
        return OK;
    return input_error(in, (size_t)(offset < in->length ? offset : in->length), err,
                       "the file is cut off: %s goes on to offset 0x%" PRIx64
                       ", the file ends at 0x%zx",
                       what, size > UINT64_MAX - offset ? UINT64_MAX : offset + size, in->length);
}

/* True if the section lies in the file, is loaded, and is inside that segment. */
static bool section_in(const GElf_Shdr *section, const GElf_Phdr *load)
{
    if (!(section->sh_flags & SHF_ALLOC) || section->sh_type == SHT_NOBITS || !section->sh_size)
        return false;
    return section->sh_offset >= load->p_offset &&
           section->sh_offset - load->p_offset < load->p_filesz &&
           section->sh_size <= load->p_filesz - (section->sh_offset - load->p_offset);
}

static int add_range(const struct elf *elf, uint64_t address, uint64_t offset, uint64_t size,
                     struct error *err)
{
    return pieces_add(elf->pieces, address, elf->in->bytes + offset, (size_t)size, (size_t)offset,
                      err);
}

static int add_load(const struct elf *elf, const GElf_Phdr *load, struct error *err)
{
    int rc = check_range(elf->in, load->p_offset, load->p_filesz, "a loadable segment", err);
    if (rc == OK && load->p_filesz > UINT64_MAX - load->p_paddr)
        rc = input_error(elf->in, (size_t)load->p_offset, err,
                         "a loadable segment runs past the end of the address space");
    bool whole = true;
    for (size_t i = 1; i < elf->sections && rc == OK; i++) {
        GElf_Shdr section;
        if (!gelf_getshdr(elf_getscn(elf->elf, i), &section) || !section_in(&section, load))
            continue;
        whole = false;
        uint64_t into = section.sh_offset - load->p_offset;
        rc = add_range(elf, load->p_paddr + into, section.sh_offset, section.sh_size, err);
    }
    if (rc == OK && whole)
        rc = add_range(elf, load->p_paddr, load->p_offset, load->p_filesz, err);
    return rc;
}

static int add_loads(const struct elf *elf, struct error *err)
{
    size_t count, loads = 0;
    if (elf_getphdrnum(elf->elf, &count) != 0)
        return input_error(elf->in, 0, err, "broken ELF header: %s", elf_errmsg(-1));
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr load;
        if (!gelf_getphdr(elf->elf, (int)i, &load))
            return input_error(elf->in, 0, err, "program header %zu cannot be read: %s", i,
                               elf_errmsg(-1));
        if (load.p_type != PT_LOAD || load.p_filesz == 0)
            continue;
        if (++loads > LOADS_MAX)
            return input_error(elf->in, 0, err, "more than %d loadable segments", LOADS_MAX);
        int rc = add_load(elf, &load, err);
        if (rc != OK)
            return rc;
    }
    if (loads)
        return OK;
    input_error(elf->in, 0, err, "the ELF file has no loadable segment");
    return error_hint(err, "this is an object file or a library: give the linked program");
}

static int read_head(struct elf *elf, struct error *err)
{
    if (elf_kind(elf->elf) != ELF_K_ELF || !gelf_getehdr(elf->elf, &elf->head))
        return input_error(elf->in, 0, err, "broken ELF header: %s", elf_errmsg(-1));
    const GElf_Ehdr *head = &elf->head;
    int rc = check_range(elf->in, head->e_phoff, (uint64_t)head->e_phnum * head->e_phentsize,
                         "the table of segments", err);
    if (rc == OK)
        rc = check_range(elf->in, head->e_shoff, (uint64_t)head->e_shnum * head->e_shentsize,
                         "the table of sections", err);
    if (rc != OK)
        return rc;
    if (elf_getshdrnum(elf->elf, &elf->sections) != 0)
        return input_error(elf->in, 0, err, "broken ELF header: %s", elf_errmsg(-1));
    if (elf->sections > SECTIONS_MAX)
        return input_error(elf->in, 0, err, "more than %d sections", SECTIONS_MAX);
    return OK;
}

static enum machine machine_of(const GElf_Ehdr *head)
{
    return head->e_machine == EM_AVR   ? MACHINE_AVR
           : head->e_machine == EM_ARM ? MACHINE_ARM
                                       : MACHINE_OTHER;
}

static int scan(const struct input *in, struct pieces *pieces, struct image *image,
                struct error *err)
{
    if (elf_version(EV_CURRENT) == EV_NONE)
        return error_set(err, ERR_FAILED, "libelf is too old");
    /* libelf reads the block only: it converts into memory of its own. */
    struct elf elf = {.in = in, .pieces = pieces, .elf = elf_memory((char *)in->bytes, in->length)};
    if (!elf.elf)
        return input_error(in, 0, err, "broken ELF header: %s", elf_errmsg(-1));
    int rc = read_head(&elf, err);
    if (rc == OK)
        rc = add_loads(&elf, err);
    image->machine = machine_of(&elf.head);
    image->has_entry = true;
    image->entry = elf.head.e_entry;
    (void)elf_end(elf.elf);
    return rc;
}

static bool recognise(const struct input *in)
{
    static const uint8_t magic[] = {0x7f, 'E', 'L', 'F'};
    for (size_t i = 0; i < sizeof magic; i++)
        if (in->length <= i || in->bytes[i] != magic[i])
            return false;
    return true;
}

const struct format format_elf = {FORMAT_ELF, false, recognise, scan};
