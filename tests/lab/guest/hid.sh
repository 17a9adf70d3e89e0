#!/bin/bash
# The HID bootloader of STM32: a client over the kernel's hidraw, made from the protocol alone, then mflash.
# weight: 3
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"
client=tests/lab/clients/hid.py

hid_board() { # NAME BOARD MCU BUILD START OFFSET
    local name=$1 board=$2 mcu=$3 build=$4 start=$5 offset=$6
    tests/firmware/klipper-image "$work/a.bin" "$mcu" lab-a "$start"
    tests/firmware/klipper-image "$work/b.bin" "$mcu" lab-b "$start"
    usb_board "$name" "$board" -m hid --flash "$work/$name" || return
    usb_node "$name" 'hidraw*'
    run python3 $client "$node" flash "$work/a.bin"
    expect "${name}_client_writes" 0 "^$build"
    holds "${name}_has_it" "$work/$name" "$work/a.bin" "$offset"
    if await 60 usb_is "$name" 1d50:614e; then ok "${name}_starts_klipper"; else not_ok "${name}_starts_klipper"; fi
    usb_stop "$name"

    usb_board "$name" "$board" -m hid --flash "$work/$name" || return # in its bootloader again
    run "$mflash" -b "$board" -m hid -d "${bus_path[$name]}" "$work/b.bin"
    expect "${name}_mflash_writes_and_proves" 0 proven
    holds "${name}_has_what_mflash_wrote" "$work/$name" "$work/b.bin" "$offset"
    run "$mflash" -b "$board" -m hid -d "${bus_path[$name]}" "$work/a.bin"
    expect "${name}_mflash_touches_klipper_and_writes" 0 proven
    holds "${name}_has_the_other_again" "$work/$name" "$work/a.bin" "$offset"
    run "$mflash" read -b "$board" -m hid -d "${bus_path[$name]}" -o "$work/read.bin"
    expect "${name}_cannot_be_read" 2 'not possible over hid'
    usb_stop "$name"
}
hid_board f103 btt-skr-mini-e3-v1.2 stm32f103xe f1-2k 0x08000800 2048
hid_board f407 generic-stm32f407xx stm32f407xx f4 0x08004000 16384
finish hid
