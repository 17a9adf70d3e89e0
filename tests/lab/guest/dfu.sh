#!/bin/bash
# DFU devices: dfu-util 0.11 lists, writes and reads each, then mflash does, over libusb; each reads what the
# other wrote.
# weight: 4
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"

upload() { # OPTIONS...: into $work/read.bin, which dfu-util will not overwrite
    rm -f "$work/read.bin"
    run dfu-util "$@" -U "$work/read.bin"
}

dfuse_board() { # NAME BOARD BASE START BYTES
    local name=$1 board=$2 base=$3 start=$4 size=$5
    local offset=$((start - base))
    rm -f "$work/read.bin" # dfu-util does not overwrite
    firmware "$work/a.bin" "$start" "$size"
    firmware "$work/b.bin" "$start" "$size"
    usb_board "$name" "$board" -m dfu --flash "$work/$name" || return
    run dfu-util -l
    expect "${name}_dfu_util_lists" 0 "Found DFU: \[0483:df11\].*alt=0.*Internal Flash"
    run dfu-util -d 0483:df11 -a 0 -s "$start" -D "$work/a.bin"
    expect "${name}_dfu_util_writes" 0 'File downloaded successfully'
    holds "${name}_has_it" "$work/$name" "$work/a.bin" "$offset"
    upload -d 0483:df11 -a 0 -s "$start:$size"
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
    upload -d 0483:df11 -a 0 -s "$start:$size"
    same "${name}_dfu_util_reads_what_mflash_wrote" "$work/b.bin" "$work/read.bin"
    usb_stop "$name"
}

dfuse_board f072 generic-stm32f072xb 0x08000000 0x08000000 20000
dfuse_board f407 generic-stm32f407xx 0x08000000 0x08008000 20000

# ---- a second memory: QSPI flash beside the H743's own ----
qspi=0x90000000
firmware "$work/a.bin" $qspi 20000
firmware "$work/b.bin" $qspi 20000
usb_board h743 generic-stm32h743xx -m dfu --flash "$work/h743" --mem "qspi=$work/qspi"
run dfu-util -l
expect h743_dfu_util_lists_the_qspi 0 'alt=1.*External Flash'
run dfu-util -d 0483:df11 -a 1 -s $qspi -D "$work/a.bin"
expect h743_dfu_util_writes_the_qspi 0 'File downloaded successfully'
holds h743_qspi_has_it "$work/qspi" "$work/a.bin" 0
ours=(-b generic-stm32h743xx -m dfu --no-run)
run "$mflash" "${ours[@]}" --force size --force start "$work/b.bin@$qspi"
expect h743_mflash_writes_the_qspi 0
holds h743_qspi_has_what_mflash_wrote "$work/qspi" "$work/b.bin" 0
upload -d 0483:df11 -a 1 -s $qspi:20000
same h743_dfu_util_reads_what_mflash_wrote "$work/b.bin" "$work/read.bin"
# and one image for both memories, split by address
firmware "$work/c.bin" 0x08000000 30000
printf '[h743-qspi]\nlike = like/stm32h743xx\nmethods = dfu\n[h743-qspi/dfu]\nregion.qspi = %s 16M 4K\n' \
    $qspi >"$work/boards.ini"
run "$mflash" --boards "$work/boards.ini" -b h743-qspi --no-run "$work/c.bin@0x08000000" "$work/a.bin@$qspi"
expect h743_mflash_writes_both 0
holds h743_has_its_part "$work/h743" "$work/c.bin" 0
holds h743_qspi_has_its_part "$work/qspi" "$work/a.bin" 0
usb_stop h743

# ---- loaders that leave when they are done: stm32duino, and a plain one; a restart brings them back ----
plain_board() { # NAME BOARD VID:PID ALT START OFFSET STACK
    local name=$1 board=$2 id=$3 alt=$4 start=$5 offset=$6 stack=$7
    firmware "$work/a.bin" "$start" 20000 "$stack"
    firmware "$work/b.bin" "$start" 20000 "$stack"
    usb_board "$name" "$board" -m dfu --flash "$work/$name" || return
    run dfu-util -d "$id" -a "$alt" -D "$work/a.bin"
    if grep -qE 'Download done|downloaded successfully' "$work/out"; then # its exit status is no help here
        ok "${name}_dfu_util_writes"
    else
        not_ok "${name}_dfu_util_writes"
    fi
    holds "${name}_has_it" "$work/$name" "$work/a.bin" "$offset"
    usb_stop "$name"
    usb_board "$name" "$board" -m dfu --flash "$work/$name" || return
    upload -d "$id" -a "$alt"
    same "${name}_dfu_util_reads_it" "$work/a.bin" "$work/read.bin" 20000
    usb_stop "$name"
    usb_board "$name" "$board" -m dfu --flash "$work/$name" || return
    run "$mflash" -b "$board" -m dfu -d "${bus_path[$name]}" "$work/b.bin@$start"
    expect "${name}_mflash_writes" 0
    holds "${name}_has_what_mflash_wrote" "$work/$name" "$work/b.bin" "$offset"
    usb_stop "$name"
}
plain_board maple bluepill-stm32duino 1eaf:0003 2 0x08002000 8192 0x20002000
plain_board smoothie smoothieboard-v1 1d50:6015 0 0x4000 16384 0x10007fe0
finish dfu
