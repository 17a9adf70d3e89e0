#!/bin/bash
# A USB-to-CAN bridge that waits in its bootloader is no CAN interface; the command that flashes it when it
# runs flashes it all the same, also where a cable was pulled in the middle.
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"
uuid=87e84657e676 # of the virtual chip's serial number

bridge_image a 1000000
bridge_image b 1000000
bridge_image slow 500000
modprobe gs_usb

# ---- the cable is pulled in the middle, and is back a second later ----
bridge_board --app --fault cut:120 || exit 1
flash=("$mflash" -b btt-octopus-f446 -i "$can" -u "$uuid")
run "${flash[@]}" --bring-up 1000000 "$work/b.bin"
expect a_pulled_cable_is_told 7 'same command again'
if cmp -s -n 12000 "$work/flash" "$work/b.bin" 32768 0; then
    not_ok it_was_pulled_in_the_middle
else
    ok it_was_pulled_in_the_middle
fi
soon the_board_waits_in_katapult usb_is octopus 1d50:6177
run usb_has_no_can octopus
expect and_is_no_interface 0
run "${flash[@]}" --bring-up 1000000 "$work/b.bin"
expect the_same_command_repairs_it 0 "proven .*lab-b.* $can:$uuid"
holds it_has_all_of_it "$work/flash" "$work/b.bin" 32768
run usb_can_at octopus 1000000
expect its_interface_is_left_up 0

# ---- asked for its bootloader by somebody else: the bit rate is that of the image ----
run cansend "$can" "3F0#02$uuid"
expect cansend_asks_for_the_bootloader 0
soon it_comes_back_as_katapult usb_is octopus 1d50:6177
run "${flash[@]}" "$work/slow.bin"
expect it_is_flashed_from_its_bootloader 0 "proven .*lab-slow.* $can:$uuid"
run usb_can_at octopus 500000
expect its_interface_has_the_rate_of_the_image 0
usb_stop octopus
finish bridge-repair
