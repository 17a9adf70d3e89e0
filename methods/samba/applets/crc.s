@ crc: CRC-32 (reflected, 0xedb88320; as zlib's) of blocks that follow each other, four bits at a
@ step.
@
@ Header: +00 stack, +04 entry, +08 address, +0c bytes in a block, +10 blocks left, +14 where the
@ next CRC goes, a word for each block. Neither count is 0. On an ARM7 +04 is 0.

        .syntax unified
        .arch   armv6-m
        .thumb

        push    {r4-r7, lr}
        mov     r7, pc                  @ block + 0x2a
        subs    r7, #0x2a
        ldr     r0, [r7, #0x08]
        adr     r4, table
        movs    r6, #15
block:  ldr     r1, [r7, #0x0c]
        movs    r2, #0
        mvns    r2, r2
byte:   ldrb    r3, [r0]
        adds    r0, #1
        eors    r2, r3
        movs    r5, #2
nibble: movs    r3, r2
        ands    r3, r6
        lsls    r3, r3, #2
        ldr     r3, [r4, r3]
        lsrs    r2, r2, #4
        eors    r2, r3
        subs    r5, #1
        bne     nibble
        subs    r1, #1
        bne     byte
        mvns    r2, r2
        ldr     r3, [r7, #0x14]
        stmia   r3!, {r2}
        str     r3, [r7, #0x14]
        ldr     r3, [r7, #0x10]
        subs    r3, #1
        str     r3, [r7, #0x10]
        bne     block
        movs    r2, r7
        pop     {r4-r7}
        pop     {r3}                    @ an ARM7's pop into pc does not leave Thumb
        ldr     r1, [r2, #0x04]
        cmp     r1, #0
        bne     back
        ldr     r1, [r2]                @ and its monitor wants its stack anew after each G
        mov     sp, r1
back:   bx      r3
        .balign 4
table:  .word   0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac
        .word   0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c
        .word   0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c
        .word   0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c
