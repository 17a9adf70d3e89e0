#!/bin/bash
# A USB-to-CAN bridge behind the kernel's own gs_usb driver: can-utils see its node, mflash flashes it over
# its USB side by its UUID, and asks it over the interface that comes back.
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"
offset=32768

bridge_image a 1000000
bridge_image b 1000000
tests/firmware/klipper-image "$work/other-chip.bin" stm32g0b1xx lab-a 0x08008000 bridge:1000000

# ---- the kernel and can-utils ----
module gs_usb can-raw
bridge_board --app || exit 1
soon it_is_an_adapter_on_usb usb_is octopus 1d50:606f
run readlink "/sys/bus/usb/devices/${bus_path[octopus]}:1.0/driver"
expect the_kernels_driver_has_taken_it 0 '/gs_usb$'
run "$mflash" query -i "$can"
expect an_interface_that_is_down_is_told 1 "ip link set $can up type can bitrate BITRATE\`"
run ip link set "$can" up type can bitrate 1000000
expect and_a_command_like_that_takes_it_up 0
candump -L "$can" >"$work/dump" 2>&1 &
boards+=($!)
await 60 grep -qs "$can" /proc/net/can/rcvlist_all
run cansend "$can" 3F0#00
expect cansend_asks_who_is_there 0
soon candump_sees_the_node grep -qE '3F1#20[0-9A-F]{12}01' "$work/dump"
uuid=$(sed -nE 's/.*3F1#20([0-9A-F]{12})01.*/\L\1/p' "$work/dump" | head -n 1)
run "$mflash" query -i "$can"
expect query_names_the_node 0 "$uuid +Klipper"

# ---- one command ----
flash=("$mflash" -b btt-octopus-f446 -i "$can" -u "$uuid")
run "${flash[@]}" "$work/other-chip.bin"
expect an_image_for_another_chip_is_refused 6 'stm32g0b1xx'
soon nothing_was_touched usb_can_is_up octopus
holds it_has_what_it_had "$work/flash" "$work/a.bin" $offset
run "${flash[@]}" --bring-up 1000000 "$work/b.bin"
expect it_is_flashed_by_its_uuid 0 "proven .*lab-b.* $can:$uuid"
if grep -q RTNETLINK "$work/err"; then not_ok nothing_else_is_on_the_screen; else ok nothing_else_is_on_the_screen; fi
holds it_has_what_mflash_wrote "$work/flash" "$work/b.bin" $offset
run usb_can_at octopus 1000000
expect its_interface_is_left_up 0
run "$mflash" query -i "$can"
expect the_bus_can_be_used_at_once 0 "$uuid +Klipper"
run "${flash[@]}" --diff yes "$work/b.bin"
expect the_same_again_has_nothing_to_write 0 'were there already'
usb_stop octopus
finish bridge
