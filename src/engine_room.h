/* What the files of the engine share beside engine.h: phases as they are told, and stopping. */
#ifndef MFLASH_ENGINE_ROOM_H
#define MFLASH_ENGINE_ROOM_H

#include "engine.h"

void engine_begin_phase(struct engine *engine, enum step_kind kind, enum memory memory,
                        size_t total);
void engine_end_phase(struct engine *engine, enum step_kind kind, size_t bytes, uint64_t begun,
                      const char *remark);

/* What a session calls: session.advance and session.note; `engine` is its user. */
void engine_advance(void *engine, size_t bytes);
void engine_note(void *engine, const char *text);

bool engine_stopped(const struct engine *engine);

#endif
