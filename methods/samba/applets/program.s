@ program: pages from RAM into the flash of an EEFC or EFC, as many as fit into the buffer, in one call.
@
@ Header (words, from the block's start): +00 stack, +04 entry, +08 source, +0c destination,
@ +10 pages left, +14 words in a page, +18 address of FCR, +1c FCR word of the first page,
@ +20 status: all FSR values seen, ored. Done when +10 is 0; an error bit in +20 ends it early, and
@ a controller that never gets ready ends it too, with pages left and no error bit.
@ The latch takes whole words in rising order (SAM3X data sheet, "Write Commands"); FSR is FCR + 4.
@ On an ARM7, whose monitor needs no entry there, +04 is 0: it has no dsb either.

        .syntax unified
        .arch   armv6-m
        .thumb

        push    {r4-r7, lr}
        mov     r7, pc                  @ block + 0x2a
        subs    r7, #0x2a
        ldr     r4, [r7, #0x18]
        ldr     r5, [r7, #0x1c]
        movs    r6, #0
page:   ldr     r0, [r7, #0x08]
        ldr     r1, [r7, #0x0c]
        ldr     r2, [r7, #0x14]
word:   ldmia   r0!, {r3}
        stmia   r1!, {r3}
        subs    r2, #1
        bne     word
        str     r0, [r7, #0x08]
        str     r1, [r7, #0x0c]
        ldr     r0, [r7, #0x04]
        cmp     r0, #0
        beq     start
        dsb                             @ the Cortex-M7 buffers stores
start:  str     r5, [r4]
        movs    r2, #1
        lsls    r2, r2, #20             @ looks at FSR: a tenth of a second and more
poll:   ldr     r3, [r4, #4]
        orrs    r6, r3
        lsrs    r3, r3, #1              @ FRDY
        bcs     ready
        subs    r2, #1
        bne     poll
        b       done
ready:  movs    r3, #0x0e               @ FCMDE, FLOCKE, FLERR
        tst     r6, r3
        bne     done
        movs    r3, #1
        lsls    r3, r3, #8
        adds    r5, r3                  @ FARG: the next page
        ldr     r3, [r7, #0x10]
        subs    r3, #1
        str     r3, [r7, #0x10]
        bne     page
done:   str     r6, [r7, #0x20]
        movs    r2, r7
        pop     {r4-r7}
        pop     {r3}                    @ an ARM7's pop into pc does not leave Thumb
        ldr     r1, [r2, #0x04]
        cmp     r1, #0
        bne     back
        ldr     r1, [r2]                @ and its monitor wants its stack anew after each G
        mov     sp, r1
back:   bx      r3
