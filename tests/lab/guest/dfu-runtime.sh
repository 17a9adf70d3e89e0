#!/bin/bash
# DFU from run-time mode (USB DFU 1.1 §5.1): dfu-util 0.11 detaches the application and flashes through it, then mflash does.
# weight: 2
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"

run_time_board() { # NAME VARIANT
    local name=$1 board=generic-stm32f072xb at=0x08000000 app=1209:0001
    firmware "$work/a.bin" $at 20000
    firmware "$work/b.bin" $at 20000
    cp "$work/b.bin" "$work/$name"
    usb_board "$name" $board -m dfu --app --variant "$2" --flash "$work/$name" || return
    run dfu-util -l
    expect "${name}_dfu_util_lists" 0 "Found Runtime: \\[$app\\]"
    run dfu-util -d $app -e
    expect "${name}_dfu_util_detaches" 0
    run await 60 usb_is "$name" 0483:df11
    expect "${name}_is_in_dfu_mode" 0
    udevadm settle --timeout=20
    run dfu-util -d 0483:df11 -a 0 -s $at:leave -D "$work/a.bin"
    expect "${name}_dfu_util_writes" 0 'File downloaded successfully'
    holds "${name}_has_it" "$work/$name" "$work/a.bin" 0
    run await 60 usb_is "$name" $app
    expect "${name}_is_its_application_again" 0
    udevadm settle --timeout=20
    run dfu-util -d $app,0483:df11 -a 0 -s $at:leave -D "$work/b.bin"
    expect "${name}_dfu_util_writes_from_run_time" 0 'File downloaded successfully'
    holds "${name}_has_that_too" "$work/$name" "$work/b.bin" 0
    run await 60 usb_is "$name" $app
    udevadm settle --timeout=20
    run "$mflash" -b $board -m dfu -d "${bus_path[$name]}" "$work/a.bin@$at"
    expect "${name}_mflash_writes_from_run_time" 0
    holds "${name}_has_what_mflash_wrote" "$work/$name" "$work/a.bin" 0
    run await 60 usb_is "$name" $app
    expect "${name}_mflash_starts_it" 0
    usb_stop "$name"
}
run_time_board runtime runtime
run_time_board detaching runtime,will-detach
finish dfu-runtime
