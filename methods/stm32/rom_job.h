/*
 * The phases of a run on an STM32's flash through its ROM loader: what is checked before the first
 * destructive byte, erasing, writing, reading back. Functions of the method, see method.h.
 */
#ifndef MFLASH_STM32_ROM_JOB_H
#define MFLASH_STM32_ROM_JOB_H

#include "method.h"

/* Whole pages of the part that is really there, whole banks at once where that is faster;
 * ERR_FAILED if one reaches out of its range. */
int st_rom_job_erase(struct session *session, const struct span *ranges, size_t count,
                     struct error *err);

/* Mass erase; page by page where the loader has none. */
int st_rom_job_erase_chip(struct session *session, struct error *err);

/* Adds "DOING flash at ADDRESS" to an error, and what to do where there is no hint. */
int st_rom_failed_at(struct error *err, const char *doing, uint64_t address);

/* Blocks in rising order, the one with the vectors last. */
int st_rom_job_write(struct session *session, const struct job *job, struct error *err);

/* ---- rom_compare.c ---- */

int st_rom_job_read(struct session *session, enum memory memory, uint64_t address, uint8_t *bytes,
                    size_t length, struct error *err);

/* Function `equal` of the method: by Get Checksum, where the loader lists it. */
int st_rom_job_equal(struct session *session, const struct job *job, const struct span *sectors,
                     size_t count, bool *equal, struct error *err);

/* By Get Checksum, else by reading, which also finds the place of a difference. */
int st_rom_job_verify(struct session *session, const struct job *job, struct error *err);

#endif
