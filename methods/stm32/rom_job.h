/*
 * The phases of a run on an STM32's flash through its ROM loader: what is checked before the first
 * destructive byte, erasing, writing, reading back. Functions of the method, see method.h.
 */
#ifndef MFLASH_STM32_ROM_JOB_H
#define MFLASH_STM32_ROM_JOB_H

#include "method.h"

/* ERR_REFUSED "unproven-chip" for a family that no virtual board was ever made of. */
int st_rom_check_proven(const struct session *session, struct error *err);

/* Whole pages of the part that is really there; ERR_FAILED if one reaches out of its range. */
int st_rom_job_erase(struct session *session, const struct span *ranges, size_t count,
                     struct error *err);

/* Mass erase; page by page where the loader has none. */
int st_rom_job_erase_chip(struct session *session, struct error *err);

/* Blocks in rising order, the one with the vectors last. */
int st_rom_job_write(struct session *session, const struct job *job, struct error *err);

int st_rom_job_read(struct session *session, enum memory memory, uint64_t address, uint8_t *bytes,
                    size_t length, struct error *err);

int st_rom_job_verify(struct session *session, const struct job *job, struct error *err);

#endif
