/* See flash.h. */
#include "flash.h"

uint8_t vmemory_byte(const struct vmemory *memory, uint64_t address)
{
    return memory->size ? memory->bytes[address % memory->size] : 0xff;
}

void vmemory_erase(struct vmemory *memory, uint64_t address, size_t length)
{
    for (size_t i = 0; memory->size && i < length; i++)
        memory->bytes[(address + i) % memory->size] = 0xff;
}

void vmemory_program(struct vmemory *memory, uint64_t address, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; memory->size && i < length; i++) {
        uint64_t at = (address + i) % memory->size;
        if (at != memory->stuck)
            memory->bytes[at] &= bytes[i];
    }
}

void vmemory_store(struct vmemory *memory, uint64_t address, uint8_t byte)
{
    vmemory_erase(memory, address, 1);
    vmemory_program(memory, address, &byte, 1);
}

bool vmemory_blank(const struct vmemory *memory, uint64_t start, uint64_t end)
{
    for (uint64_t at = start; at < end; at++)
        if (vmemory_byte(memory, at) != 0xff)
            return false;
    return true;
}
