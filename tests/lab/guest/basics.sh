#!/bin/bash
# The lab itself: SocketCAN carries frames, and the modules that the other guest tests need are there.
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"

module vcan can-raw vhci-hcd cdc-acm usbhid hid-generic usb-storage

can_up can0
run ip -br link show can0
expect can_interface_is_up 0 '^can0 +UNKNOWN .*UP'
candump -L -n 1 -T 20000 can0 >"$work/dump" 2>&1 &
dump=$!
listens() { grep -qsE '^ *can0 ' /proc/net/can/rcvlist_all; }
if await 60 listens; then ok candump_listens; else not_ok candump_listens; fi
run cansend can0 3F0#11
expect cansend_is_accepted 0
wait "$dump"
run grep -E ' can0 3F0#11$' "$work/dump"
expect candump_sees_what_cansend_sent 0

ports() { grep -cE '^(hs|ss) ' /sys/devices/platform/vhci_hcd.0/status; }
run ports
expect controller_has_ports 0 '^(1[6-9]|[2-9][0-9])$'
bus=$(cat /sys/devices/platform/vhci_hcd.0/usb*/busnum | head -n 1)
expect_node() { [ -c "$(printf '/dev/bus/usb/%03d/001' "$bus")" ]; }
if await 10 expect_node; then ok usbfs_has_the_root_hub; else not_ok usbfs_has_the_root_hub; fi
run as_user id -u
expect user_without_rights 0 '^65534$'
finish basics
