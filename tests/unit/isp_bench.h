/*
 * A programmer on a virtual port with a chip behind it, and a session of the method isp with it.
 * The models are strict; the chip counts violations of its data sheet.
 */
#ifndef ISP_BENCH_H
#define ISP_BENCH_H

#include "avr/fuses.h"
#include "avr/isp_sck.h"
#include "method.h"
#include "virtual_serial.h"

enum { LFUSE, HFUSE, EFUSE, LOCK };

enum { FLASH_MAX = 256 * 1024, EEPROM_MAX = 4096, NOTES_MAX = 1024 };

struct isp_bench {
    const struct chip *chip;
    uint8_t flash[FLASH_MAX], eeprom[EEPROM_MAX], fuses[4];
    struct vconfig config;
    struct vserial *device;
    const struct isp_port *port; /* of the programmer; NULL: a board, no programmer */
    const char *probe;
    struct session session;
    struct error err;
    char notes[NOTES_MAX];
    size_t advanced; /* bytes, by session_advance */
};

extern const struct method method_isp;
extern const struct vmodel vmodel_stk500_programmer, vmodel_arduino_isp, vmodel_stk500boot;

/* The kinds of programmer that every test of them all goes through. */
extern const size_t isp_bench_kinds;
enum { ISP_BENCH_STK500, ISP_BENCH_AVRISP, ISP_BENCH_ARDUINO };

/* Every chip that has serial programming; ends with NULL. */
extern const char *const *const isp_bench_chips;

/* A chip from the factory. `faults` may be NULL; `stuck`: flash byte that will not program, or
 * UINT64_MAX. */
struct isp_bench *isp_bench_new(size_t kind, const char *chip, const struct vfaults *faults,
                                uint64_t stuck);

/* A Mega 2560 on its own port, in its bootloader: no programmer at all. */
struct isp_bench *isp_bench_mega(void);
void isp_bench_free(struct isp_bench *bench);

/* Sets a fuse byte and switches the chip off and on; _unlatched: not, so that it is not in force.
 */
void isp_bench_fuse(struct isp_bench *bench, unsigned fuse, uint8_t value);
void isp_bench_fuse_unlatched(struct isp_bench *bench, unsigned fuse, uint8_t value);

/* Opens the port and makes the session; `faults` may be NULL. isp_bench_connect() also connects,
 * which must succeed. */
void isp_bench_open(struct isp_bench *bench, const struct line_faults *faults);
void isp_bench_connect(struct isp_bench *bench);
void isp_bench_close(struct isp_bench *bench);

/* Asserts that `rc` is OK, and says what was wrong if not. */
void isp_bench_ok(const struct isp_bench *bench, int rc);

unsigned isp_bench_violations(const struct isp_bench *bench);
bool isp_bench_reset_is_low(const struct isp_bench *bench);
uint32_t isp_bench_sck(const struct isp_bench *bench); /* Hz, as the programmer really clocks */
unsigned isp_bench_messages(const struct isp_bench *bench);
uint64_t isp_bench_now(const struct isp_bench *bench);

/* Bytes that tell their place, none of them a page of FF. */
void isp_bench_fill(uint8_t *bytes, size_t length);
void isp_bench_image(struct image *image, enum memory memory, uint64_t address, uint8_t *bytes,
                     size_t length);

/* The steps of `recipe.stk500` of the Mega 2560 with this bootloader, in a connected session. */
enum { ISP_BENCH_BOOT = 0x3e000 };
int isp_bench_recipe(struct isp_bench *bench, const struct image *image);

/* Flash holds the bootloader and nothing else; fuses and lock bits are the recipe's. */
void isp_bench_assert_installed(const struct isp_bench *bench, const uint8_t *boot, size_t length);

#endif
