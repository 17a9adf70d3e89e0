#!/bin/bash
# An adapter whose driver has a bit rate and a state, as real ones do: slcan, on a pty that swallows what
# it is sent. mflash takes it up, with administrator's rights, and says how without.
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"

module slcan
python3 -c '
import os, tty
master, slave = os.openpty()
tty.setraw(slave)
print(os.ttyname(slave), flush=True)
while True:
    text = os.read(master, 4096)
    with open("'"$work/sent"'", "ab") as sent:
        sent.write(text)' >"$work/tty" &
boards+=($!)
await 60 grep -qs pts "$work/tty"
slcand -F "$(cat "$work/tty")" slcan0 2>"$work/slcand" &
boards+=($!)
await 60 test -e /sys/class/net/slcan0

run as_user "$mflash" query -i slcan0 --bring-up 500000
expect without_rights_the_commands_are_told 5 'ip link set slcan0 type can bitrate 500000$'
run "$mflash" query -i slcan0
expect interface_down_says_so 1 'slcan0 is down'
run "$mflash" query -i slcan0 --bring-up 500000
expect it_is_taken_up 0
run ip -details link show slcan0
expect at_that_rate 0 'bitrate 500000'
expect with_a_queue_for_several_nodes 0 'qlen 128'
expect it_is_up 0 'UP'
if grep -q S6 "$work/sent"; then ok the_adapter_was_told; else not_ok the_adapter_was_told; fi
run "$mflash" query -i slcan0 --bring-up 250000
expect another_rate_takes_it_down_first 0
run ip -details link show slcan0
expect and_up_again_at_that 0 'bitrate 250000'
finish slcan
