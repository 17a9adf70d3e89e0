#!/bin/bash
# The libusb backend of the USB link, behaviour by behaviour, and the udev rules as udev takes them. The device
# is clients/echo.py, which cdc_acm binds.
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"

vhci_port[echo]=0 tcp_port[echo]=3290
python3 "$PWD/tests/lab/clients/echo.py" 3290 >"$work/echo.ready" &
boards+=($!)
await 60 grep -qs ready "$work/echo.ready"
usb_plug echo || exit 1
usb_node echo 'ttyACM*'
tty=$node

# ---- the rules ----
run scripts/gen-udev boards.ini
mkdir -p /run/udev/rules.d
cp "$work/out" /run/udev/rules.d/60-mflash.rules
udevadm control --reload
udevadm trigger --settle --action=add "/sys/bus/usb/devices/${bus_path[echo]}" "/sys/class/tty/$(basename "$tty")"
usb=$(printf '/dev/bus/usb/%03d/%03d' "$(cat "/sys/bus/usb/devices/${bus_path[echo]}/busnum")" \
    "$(cat "/sys/bus/usb/devices/${bus_path[echo]}/devnum")")
run stat -c '%a' "$usb" # the lab's udev resolves no names, so the group stays as it is
expect rules_give_it_to_the_group 0 '^660$'
run udevadm info -q property "$tty"
expect rules_keep_modem_manager_away 0 '^ID_MM_DEVICE_IGNORE=1$'
run udevadm info -q property "$tty"
expect rules_give_it_to_the_seat 0 '^TAGS=.*:uaccess:'

# ---- the backend ----
run timeout -k 2 "$patience" "$PWD/${B:-build}/lab/usb_link" "${bus_path[echo]}"
expect usb_link_comes_to_its_end 0
while read -r line; do
    case $line in
    ok\ *) ok "${line#ok }" ;;
    *) not_ok "${line#not ok }" ;;
    esac
done <"$work/out"
finish link
