#ifndef FAULT_TURNS_H
#define FAULT_TURNS_H

/* The five kinds of fault take turns, so that each message meets some of them: all would be
 * minutes. */
#ifdef __SANITIZE_ADDRESS__
enum { FAULT_TURNS = 4 };
#else
enum { FAULT_TURNS = 2 };
#endif

#endif
