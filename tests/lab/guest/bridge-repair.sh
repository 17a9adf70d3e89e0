#!/bin/bash
# The cable of a USB-to-CAN bridge is pulled while it is flashed: it waits in its bootloader then, is no CAN
# interface, and there is none whose bit rate could be read; the same command repairs it all the same.
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"
uuid=87e84657e676 # of the virtual chip's serial number

bridge_image a 1000000
bridge_image b 500000
modprobe gs_usb
bridge_board --app --fault cut:120 || exit 1 # and the cable is back a second later
flash=("$mflash" -b btt-octopus-f446 -i "$can" -u "$uuid" --bring-up 1000000 "$work/b.bin")
run "${flash[@]}"
expect a_pulled_cable_is_told 7 'same command again'
expect another_bit_rate_is_told 7 '500000 bit/s, and .* is set to 1000000'
if cmp -s -n 12000 "$work/flash" "$work/b.bin" 32768 0; then
    not_ok it_was_pulled_in_the_middle
else
    ok it_was_pulled_in_the_middle
fi
soon the_board_waits_in_katapult usb_is octopus 1d50:6177
run usb_has_no_can octopus
expect and_is_no_interface 0
run "${flash[@]}"
expect the_same_command_repairs_it 0 "proven .*lab-b.* $can:$uuid"
holds it_has_all_of_it "$work/flash" "$work/b.bin" 32768
run usb_can_at octopus 500000
expect its_interface_is_up_at_the_rate_of_the_image 0
usb_stop octopus
finish bridge-repair
