#!/bin/bash
# What goes wrong on USB, and what mflash says then: unplugged while it writes, no permission, claimed by
# another program, two alike. The boards are STM32 in their DFU ROM.
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"
board=generic-stm32f072xb start=0x08000000
flash=("$mflash" -b "$board" -m dfu --no-run)
firmware "$work/a.bin" "$start" 60000
usb_board one "$board" -m dfu --pace --flash "$work/one" || exit 1

run "$mflash" detect
expect detect_shows_it 0 "0483:df11"
run "$mflash" detect --json
expect detect_json_has_its_path 0 "${bus_path[one]}"

# ---- a user without rights ----
usb=$(printf '/dev/bus/usb/%03d/%03d' "$(cat "/sys/bus/usb/devices/${bus_path[one]}/busnum")" \
    "$(cat "/sys/bus/usb/devices/${bus_path[one]}/devnum")")
chmod 600 "$usb"
chmod 755 "$work"
run as_user "${flash[@]}" "$work/a.bin@$start"
expect without_rights_the_rule_is_printed 5 '0483.*(TAG|MODE)'
# The rule is a command between back quotes: it is taken at its word.
# shellcheck disable=SC2016 # back quotes, not a command
rule=$(sed -nE 's/^[^`]*`([^`]*)`.*/\1/p' "$work/err" | head -n 1)
sudo() { "$@"; }
groupadd -f plugdev 2>/dev/null
eval "$rule" >"$work/out" 2>&1
udevadm settle --timeout=20
with_plugdev() { setpriv --reuid=65534 --regid=65534 --groups="$(getent group plugdev | cut -d: -f3)" -- "$@"; }
run with_plugdev "$mflash" info -b "$board" -m dfu --no-run
expect the_printed_rule_lets_plugdev_in 0

# ---- claimed by another program ----
python3 - "$usb" >"$work/claimed" <<'PY' &
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.ioctl(fd, 0x8004550F, (0).to_bytes(4, "little"))  # USBDEVFS_CLAIMINTERFACE
print("claimed", flush=True)
time.sleep(600)
PY
claimer=$!
boards+=("$claimer")
await 60 grep -qs claimed "$work/claimed"
run "${flash[@]}" "$work/a.bin@$start"
expect claimed_by_another_program 5 "python3|pid $claimer|in use|busy"
kill "$claimer"
wait "$claimer" 2>/dev/null

# ---- unplugged while it writes ----
wrote_some() { cmp -s -n 2048 "$work/one" "$work/a.bin" 8192 8192; } # the first page comes last
timeout "$patience" "${flash[@]}" "$work/a.bin@$start" >"$work/out" 2>"$work/err" &
writer=$!
await 60 wrote_some
usb_unplug one
wait "$writer"
status=$?
expect unplugged_while_writing 7 'again|state|bootloader'
if cmp -s -n 60000 "$work/one" "$work/a.bin"; then not_ok unplugged_too_late "everything was written"; fi
usb_plug one
run "${flash[@]}" "$work/a.bin@$start"
expect the_same_command_repairs_it 0
holds it_is_all_there "$work/one" "$work/a.bin" 0

# ---- two alike ----
usb_board two "$board" -m dfu --flash "$work/two" || exit 1
run "${flash[@]}" "$work/a.bin@$start"
expect two_alike_are_a_list 4 "${bus_path[one]}"
expect the_list_has_both 4 "${bus_path[two]}"
run "${flash[@]}" -d "${bus_path[two]}" "$work/a.bin@$start"
expect the_path_tells_which 0
holds the_second_has_it "$work/two" "$work/a.bin" 0
finish usb
