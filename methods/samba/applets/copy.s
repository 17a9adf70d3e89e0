@ copy: words from flash to RAM, for ROMs whose R command cannot read flash.
@
@ Header: +00 stack, +04 entry, +08 source, +0c destination, +10 words, more than 0.

        .syntax unified
        .arch   armv6-m
        .thumb

        mov     r3, pc                  @ block + 0x28
        subs    r3, #0x28
        ldr     r0, [r3, #0x08]
        ldr     r1, [r3, #0x0c]
        ldr     r2, [r3, #0x10]
word:   ldmia   r0!, {r3}
        stmia   r1!, {r3}
        subs    r2, #1
        bne     word
        bx      lr
