#!/bin/bash
# DFU devices: dfu-util 0.11 lists, writes and reads each, then mflash does, over libusb; each reads what the
# other wrote.
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"

# name | board | flash base | image start | bytes
boards_tested='
f072 | generic-stm32f072xb | 0x08000000 | 0x08000000 | 20000
f407 | generic-stm32f407xx | 0x08000000 | 0x08008000 | 20000
f446 | generic-stm32f446xx | 0x08000000 | 0x08000000 | 20000
'

dfuse_board() { # NAME BOARD BASE START BYTES
    local name=$1 board=$2 base=$3 start=$4 size=$5
    local offset=$((start - base))
    rm -f "$work/read.bin" # dfu-util does not overwrite
    firmware "$work/a.bin" "$start" "$size" 1
    firmware "$work/b.bin" "$start" "$size" 2
    usb_board "$name" "$board" -m dfu --flash "$work/$name" || return
    run dfu-util -l
    expect "${name}_dfu_util_lists" 0 "Found DFU: \[0483:df11\].*alt=0.*Internal Flash"
    run dfu-util -d 0483:df11 -a 0 -s "$start" -D "$work/a.bin"
    expect "${name}_dfu_util_writes" 0 'File downloaded successfully'
    holds "${name}_has_it" "$work/$name" "$work/a.bin" "$offset"
    run dfu-util -d 0483:df11 -a 0 -s "$start:$size" -U "$work/read.bin"
    expect "${name}_dfu_util_reads" 0
    same "${name}_dfu_util_reads_what_it_wrote" "$work/a.bin" "$work/read.bin"

    rm -f "$work/read.bin"
    run "$mflash" read -b "$board" -m dfu -o "$work/read.bin" --range "$start:$size" --no-run
    expect "${name}_mflash_reads" 0
    same "${name}_mflash_reads_what_dfu_util_wrote" "$work/a.bin" "$work/read.bin"
    run "$mflash" -b "$board" -m dfu --no-run "$work/b.bin@$start"
    expect "${name}_mflash_writes" 0
    holds "${name}_has_what_mflash_wrote" "$work/$name" "$work/b.bin" "$offset"
    run "$mflash" verify -b "$board" -m dfu --no-run "$work/a.bin@$start"
    expect "${name}_mflash_sees_a_difference" 8
    rm -f "$work/read.bin"
    run dfu-util -d 0483:df11 -a 0 -s "$start:$size" -U "$work/read.bin"
    same "${name}_dfu_util_reads_what_mflash_wrote" "$work/b.bin" "$work/read.bin"
    usb_stop "$name"
}

while IFS='|' read -r name board base start size; do
    [ -n "$name" ] || continue
    # shellcheck disable=SC2086 # words
    dfuse_board $name $board $base $start $size
done <<<"$boards_tested"
finish dfu
