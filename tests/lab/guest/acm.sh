#!/bin/bash
# Serial boards as the kernel's cdc-acm shows them: avrdude, bossac and a Katapult client on a true
# tty with modem lines and line coding, then mflash; each reads what the other wrote.
# weight: 4
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"

touch_1200() { # what every IDE does: 1200 baud, then DTR drops at close
    stty -F "$1" 1200 hupcl && : <>"$1"
}

# ---- Caterina: 2341:8036 is the sketch, 2341:0036 the loader ----
image "$work/a.bin" 9000
image "$work/b.bin" 9001
usb_board leo arduino-leonardo -m avr109 --app --flash "$work/leo" || exit 1
usb_node leo 'ttyACM*'
run touch_1200 "$node"
if await 60 usb_is leo 2341:0036; then ok touch_of_1200_baud_brings_the_loader; else not_ok touch_of_1200_baud_brings_the_loader; fi
usb_node leo 'ttyACM*'
run avrdude -q -c avr109 -p m32u4 -P "$node" -b 57600 -D -U "flash:w:$work/a.bin:r"
expect avrdude_writes_over_cdc_acm 0 '9000 bytes of flash verified'
holds caterina_has_it "$work/leo" "$work/a.bin" 0
await 60 usb_is leo 2341:8036
run "$mflash" -b arduino-leonardo -d "${bus_path[leo]}" "$work/b.bin"
expect mflash_touches_and_writes 0
holds caterina_has_what_mflash_wrote "$work/leo" "$work/b.bin" 0
usb_stop leo

# ---- SAM-BA: bossac and mflash ----

# cdc-acm holds sixteen writes for the device and takes no more; bossac, which does not wait for it, gives up
# there. Under emulation a device may be that slow: bossac is started again.
patient_bossac() {
    local tries
    for tries in 1 2 3 4 5; do
        run bossac -p "$(basename "$node")" "$@"
        grep -q 'SAM-BA operation failed' "$work/err" || return
        echo "bossac, try $tries: SAM-BA operation failed"
    done
}
sam() { # NAME BOARD BASE OFFSET
    local name=$1 board=$2 base=$3 offset=$4
    firmware "$work/$name.a" "$base" 20000
    firmware "$work/$name.b" "$base" 20000
    usb_board "$name" "$board" -m samba --flash "$work/$name" || return
    usb_node "$name" 'ttyACM*'
    patient_bossac -e -w -v -o "$offset" "$work/$name.a"
    expect "bossac_writes_$name" 0 'Verify successful'
    holds "${name}_has_it" "$work/$name" "$work/$name.a" "$offset"
    run "$mflash" -b "$board" -m samba -d "$node" --no-run "$work/$name.b@$base"
    expect "mflash_writes_$name" 0
    patient_bossac -r"20000" -o "$offset" "$work/$name.read"
    expect "bossac_reads_$name" 0
    same "bossac_reads_what_mflash_wrote_$name" "$work/$name.b" "$work/$name.read"
    usb_stop "$name"
}
sam due arduino-due 0x80000 0
sam zero arduino-zero 0x2000 8192

# ---- Katapult on USB ----
client=tests/peers/clients/katapult.py
tests/firmware/klipper-image "$work/k.a" stm32f446xx lab-a 0x08008000
tests/firmware/klipper-image "$work/k.b" stm32f446xx lab-b 0x08008000
usb_board kat generic-stm32f446xx -m katapult-usb --flash "$work/kat" || exit 1
usb_node kat 'ttyACM*'
run python3 $client "$node" 115200 flash "$work/k.a"
expect katapult_client_writes 0 pages
holds katapult_has_it "$work/kat" "$work/k.a" 32768
run python3 $client "$node" 115200 complete
if await 60 usb_is kat 1d50:614e; then ok klipper_enumerates; else not_ok klipper_enumerates; fi
run "$mflash" -b generic-stm32f446xx -m katapult-usb -d "${bus_path[kat]}" "$work/k.b"
expect mflash_touches_klipper_and_proves 0 proven
holds katapult_has_what_mflash_wrote "$work/kat" "$work/k.b" 32768
finish acm
