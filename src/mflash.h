/*
 * mflash as a library: the five rooms, in the order a flash run passes them.
 *
 *     image  ──►  board  ──►  plan  ──►  method  ──►  link
 *
 * Nothing here prints, exits or keeps global state. The command line in src/commands is the
 * library's first user and shows how the pieces go together.
 */
#ifndef MFLASH_H
#define MFLASH_H

#include "base/error.h"
#include "image/image.h"
#include "board/board.h"
#include "plan.h"
#include "engine.h"
#include "method.h"
#include "link/serial.h"
#include "link/trace.h"

/* "0.1.0" */
const char *mflash_version(void);

#endif
