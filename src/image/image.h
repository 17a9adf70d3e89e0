/*
 * The image: what is to be written. A file of any format becomes a sorted list of segments plus
 * what can be known about it. Nothing behind this room knows a file format.
 *
 * Formats are recognised by content, never by name. Memory stays bounded whatever the file says:
 * IMAGE_BYTES_MAX bytes of payload and IMAGE_SEGMENTS_MAX segments, else ERR_IMAGE.
 */
#ifndef MFLASH_IMAGE_H
#define MFLASH_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { IMAGE_BYTES_MAX = 256 * 1024 * 1024, IMAGE_SEGMENTS_MAX = 65536 };

/* Memories are separate address spaces. avr-ld's 0x810000 (EEPROM), 0x820000 (fuses) and 0x830000
 * (lock bits) sections become MEM_EEPROM, MEM_FUSE, MEM_LOCK with addresses from 0. */
enum memory { MEM_FLASH, MEM_EEPROM, MEM_FUSE, MEM_LOCK };

const char *memory_name(enum memory memory); /* "flash", "eeprom", "fuse", "lock" */

enum image_format {
    FORMAT_RAW,
    FORMAT_IHEX,
    FORMAT_SREC,
    FORMAT_ELF,
    FORMAT_UF2,
    FORMAT_DFU,   /* raw payload with a DFU 1.0/1.1 suffix */
    FORMAT_DFUSE, /* ST's DfuSe container */
};

const char *image_format_name(enum image_format format); /* "raw", "ihex", "srec", "elf" ... */

enum machine { MACHINE_UNKNOWN, MACHINE_AVR, MACHINE_ARM, MACHINE_OTHER };

const char *machine_name(enum machine machine); /* "unknown", "AVR", "ARM", "other" */

struct segment {
    enum memory memory;
    uint64_t address; /* in the target's space, bytes */
    size_t length;    /* bytes, never 0 */
    uint8_t *data;    /* owned */
    size_t source;    /* index into image.sources: the file it came from */
};

/* A Klipper data dictionary found in the payload (zlib stream; Klipper docs/Protocol.md). */
struct klipper_facts {
    bool present;
    char mcu[32];         /* config.MCU, "stm32f103xe" */
    char version[96];     /* "v0.12.0-200-gabcdef12" */
    uint32_t can_bitrate; /* config.CANBUS_FREQUENCY, 0 if none */
    uint32_t serial_baud; /* config.SERIAL_BAUD, 0 if none */
    bool can_bridge;      /* config.CANBUS_BRIDGE */
    uint32_t reset;       /* commands.reset: the message that restarts it, 0 if none */
    enum memory memory;   /* where the compressed stream lies */
    uint64_t address;     /* address of the stream (offset, for a raw image not yet placed) */
    uint32_t length;      /* compressed bytes */
    uint32_t crc;         /* crc32 of the compressed bytes: identity of the dictionary */
};

const char *
klipper_transport(const struct klipper_facts *facts); /* "UART", "CAN", "USB-CAN bridge", "USB" */

/* The facts of a compressed dictionary that is all of `stream`, as a running firmware hands it
 * over. False if it is none; memory and address stay 0. */
bool klipper_dictionary(const uint8_t *stream, size_t length, struct klipper_facts *facts);

/* First words of what looks like a Cortex-M image at its lowest flash address. */
struct vector_facts {
    bool plausible; /* SP word aligned and in 0x1ffe0000..0x3fffffff or so, reset vector odd */
    uint32_t sp, reset;
    uint32_t low, high; /* lowest and highest of vectors 1..15 that are not 0, Thumb bit cleared */
};

struct image_source {
    char *name; /* as the user gave it; "-" is standard input */
    enum image_format format;
    size_t bytes; /* file size */
};

struct image {
    struct segment
        *segments; /* sorted by memory, then address; never overlapping, never touching */
    size_t count;
    struct image_source *sources;
    size_t source_count;

    enum image_format format; /* of the first file */
    bool placed;              /* false: a raw binary still waiting for an address; segment at 0 */
    enum machine machine;     /* from an ELF header, or MACHINE_UNKNOWN */
    bool has_entry;
    uint64_t entry;
    struct vector_facts vectors;
    struct klipper_facts klipper;
    bool katapult;             /* it is the Katapult bootloader itself (or its deployer) */
    uint32_t uf2_family;       /* 0 if none */
    uint16_t usb_vid, usb_pid; /* of a DFU suffix; 0xffff = any; 0 = no suffix */
};

/*
 * Reads `path` ("-": standard input) into a fresh image. `address`: NULL, or where a raw binary
 * goes (ERR_USAGE if the format carries its own addresses). Errors: ERR_IMAGE with file, line or
 * offset and what is wrong (also: missing file, empty file, a web page, text); ERR_MEMORY.
 */
int image_load(struct image *image, const char *path, const uint64_t *address, struct error *err);

/* The same from memory; `name` is for messages. The bytes are not kept. */
int image_parse(struct image *image, const char *name, const uint8_t *bytes, size_t length,
                const uint64_t *address, struct error *err);

/* Moves what `from` holds into `into` (which may be empty); `from` is left empty. Overlaps are
 * ERR_IMAGE and name both files and the address. Facts are found anew. */
int image_merge(struct image *into, struct image *from, struct error *err);

/* A copy that shares nothing. ERR_MEMORY. */
int image_copy(struct image *copy, const struct image *image, struct error *err);

/* Gives a raw image its address and finds its facts anew. */
void image_place(struct image *image, uint64_t address);

/*
 * Link address of a raw image, if it can be read from it: the absolute address of the Klipper
 * dictionary that the program stores (first choice), else the vector table fitting just one of the
 * candidates. `bases`: candidate start addresses. Returns the number of candidates that fit:
 * 1 = known, stored in *found; 0 = none fits or nothing can be read; >1 = cannot tell.
 */
size_t image_link_address(const struct image *image, const uint64_t *bases, size_t count,
                          uint64_t *found);

/* Total bytes, and extent of one memory. image_extent: false if the image has nothing there. */
size_t image_bytes(const struct image *image, enum memory memory);
bool image_extent(const struct image *image, enum memory memory, uint64_t *start, uint64_t *end);

/* Copies bytes [address, address+length) into out; bytes the image does not have become `fill`.
 * Returns how many bytes came from the image. */
size_t image_read(const struct image *image, enum memory memory, uint64_t address, uint8_t *out,
                  size_t length, uint8_t fill);

/* Adds bytes. Touching segments are joined; an overlap is ERR_IMAGE. For parsers and for `read`. */
int image_add(struct image *image, enum memory memory, uint64_t address, const uint8_t *data,
              size_t length, struct error *err);

/*
 * Writes the flash (and, in hex, other memories as avr-ld places them) to `path`, through a
 * temporary file that is fsynced and renamed. Format by the suffix: .hex/.ihex = Intel HEX, else
 * raw, with gaps filled by `fill`, from the lowest to the highest address. "-" = standard output,
 * raw.
 */
int image_save(const struct image *image, const char *path, uint8_t fill, struct error *err);

void image_free(struct image *image);

#endif
