#!/bin/bash
# mflash beside the established tool, or beside a client that works as it does, against the same paced
# virtual board on true USB and CAN, in one run. The guest's clock runs under emulation: only the ratio
# counts. A client in Python tells its own time, without Python's start.
# shellcheck disable=SC2317 # after() and client() are called by name
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/guest/lib.sh"
rounds=${LAB_ROUNDS:-3} pattern=${LAB_PATTERN:-.}

row() {
    printf '%-40s %9s %9s %8s %8s\n' "$@"
}

# median COMMAND...: sets $took to its wall time in seconds, or to what it says itself; "failed" if it ever fails.
median() {
    local times=() begun told i
    for ((i = 0; i < rounds; i++)); do
        begun=$EPOCHREALTIME
        run "$@"
        told=$(echo "$EPOCHREALTIME - $begun" | bc)
        [ "$status" -eq 0 ] || { took=failed; cat "$work/out" "$work/err" >&2; after; return; }
        told=$(sed -nE 's/^in ([0-9.]+) s$/\1/p' "$work/out" | grep . || echo "$told")
        times+=("$told")
        after
    done
    took=$(printf '%s\n' "${times[@]}" | sort -n | sed -n "$((rounds / 2 + 1))p")
}
after() { :; }

wanted() {
    [[ $1 =~ $pattern ]]
}

# compare NAME TARGET: with arrays peer and ours.
compare() {
    local theirs ratio=-
    median "${peer[@]}"
    theirs=$took
    median "${ours[@]}"
    [[ $theirs$took == *failed* ]] || ratio=$(echo "scale=2; $theirs / $took" | bc)
    row "$1" "$took" "$theirs" "$ratio" "$2"
}

# Two images in turn would be fair to tools that compare first; dfu-util never does: --diff no.
dfu() { # NAME TARGET BOARD START BYTES
    wanted "$1, DFU" || return
    after() { :; }
    firmware "$work/image.bin" "$4" "$5"
    usb_board "$1" "$3" -m dfu --pace --flash "$work/$1" || return
    peer=(dfu-util -d 0483:df11 -a 0 -s "$4" -D "$work/image.bin")
    ours=("$mflash" -q -b "$3" -m dfu --diff no --no-verify --no-run "$work/image.bin@$4")
    compare "$1, DFU, $(($5 / 1024)) KiB, write" "$2"
    usb_stop "$1"
}

row 'seconds (median)' mflash peer ratio target
dfu f407 2.0 generic-stm32f407xx 0x08000000 131072
dfu f072 - generic-stm32f072xb 0x08000000 61440

# Out of the Klipper that runs: each round begins with the same board. What is written is no Klipper, so
# that neither waits for an answer of it.
hid() { # NAME TARGET BOARD MCU START BYTES
    local name=$1 board=$3
    wanted "$1, HID" || return
    tests/firmware/klipper-image "$work/klipper.bin" "$4" bench "$5"
    firmware "$work/image.bin" "$5" "$6"
    usb_board "$name" "$board" -m hid --flash "$work/$name" || return
    run "$mflash" -q -b "$board" -m hid -d "${bus_path[$name]}" "$work/klipper.bin@$5"
    [ "$status" -eq 0 ] || { cat "$work/err"; return; }
    usb_stop "$name"
    cp "$work/$name" "$work/$name.klipper"
    begin() {
        cp "$work/$name.klipper" "$work/$name"
        usb_board "$name" "$board" -m hid --pace --app --flash "$work/$name" && usb_node "$name" 'ttyACM*'
    }
    after() { usb_stop "$name" && begin; }
    client() { HID_SLEEPS=1 python3 tests/lab/clients/hid.py "$node" update "$work/image.bin"; }
    begin || return
    peer=(client)
    ours=("$mflash" -q -b "$board" -m hid -d "${bus_path[$name]}" "$work/image.bin@$5")
    compare "$name, HID out of Klipper, $(($6 / 1024)) KiB" "$2"
    usb_stop "$name"
}
hid f103 1.5 btt-skr-mini-e3-v1.2 stm32f103xe 0x08000800 40960
hid f407 1.5 generic-stm32f407xx stm32f407xx 0x08004000 40960

katapult_can() { # NAME TARGET BOARD START BYTES
    local board=$3 node uuid
    wanted "$1, Katapult on CAN" || return
    firmware "$work/image.bin" "$4" "$5"
    node_up() {
        "$vboard" "$board" -m katapult-can --pace --serve can:can0 >"$work/ready" 2>"$work/err" &
        node=$! && boards+=($!)
        await 60 grep -qs '^ready' "$work/ready"
    }
    after() { :; }
    node_up || { cat "$work/err"; return; }
    uuid=$(sed -nE 's/^ready can0:([0-9a-f]{12})$/\1/p' "$work/ready")
    after() {
        kill "$node"
        wait "$node" 2>/dev/null
        node_up
    }
    peer=(env KATAPULT_SLEEPS=1 python3 tests/peers/clients/katapult_can.py can0 "$uuid" update "$work/image.bin")
    ours=("$mflash" -q -b "$board" -m katapult-can -i can0 -u "$uuid" "$work/image.bin@$4")
    compare "$1, Katapult on CAN, $(($5 / 1024)) KiB" "$2"
    kill "$node"
}
can_up can0
katapult_can g0b1 3.0 btt-ebb36-v1.2 0x08002000 40960
katapult_can f103 3.0 generic-stm32f103xe 0x08002000 40960
