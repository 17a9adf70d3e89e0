#!/bin/bash
# Katapult nodes on SocketCAN, asked and written by a client that was made from the protocol alone, then by
# mflash; each reads what the other wrote. candump keeps what was on the bus.
# weight: 2
# shellcheck source=tests/lab/guest/lib.sh
. "$(dirname "$0")/lib.sh"
client=tests/peers/clients/katapult_can.py
board=btt-ebb36-v1.2 start=0x08002000 # STM32G0B1

can_up can0
candump -L can0 >"$work/dump" 2>&1 &
boards+=($!)
"$vboard" "$board" -m katapult-can --nodes 3 --serve can:can0 --flash "$work/flash" >"$work/ready" 2>"$work/err" &
boards+=($!)
await 60 grep -qs '^ready' "$work/ready" || { cat "$work/err"; exit 1; }

run python3 $client can0 query
expect three_nodes_tell_their_uuid 0
uuids=$(awk '$2 == "Katapult" { print $1 }' "$work/out" | sort)
# shellcheck disable=SC2086 # a list
set -- $uuids
if [ $# -eq 3 ]; then ok three_nodes_of_katapult; else not_ok three_nodes_of_katapult "$uuids"; fi

run "$mflash" query -i can0
expect query_lists_them_too 0 "$1.*Katapult"
for uuid; do grep -q "$uuid" "$work/out" || not_ok query_lists_each "no $uuid"; done
run "$mflash" query -i can0 --json
expect query_json_has_uuid_and_name 0 "\"uuid\": ?\"$1\""
if grep -qE ' can0 3F0#00$' "$work/dump"; then ok candump_saw_the_query; else not_ok candump_saw_the_query; fi

tests/firmware/klipper-image "$work/a.bin" stm32g0b1xx lab-a "$start" can:1000000
tests/firmware/klipper-image "$work/b.bin" stm32g0b1xx lab-b "$start" can:1000000
run python3 $client can0 "$1" flash "$work/a.bin"
expect client_flashes_a_node 0 'pages'
run "$mflash" read -b "$board" -i can0 -u "$1" -o "$work/read.bin" --range "$start:12000" --no-run
expect mflash_reads_it 0
same mflash_reads_what_the_client_wrote "$work/a.bin" "$work/read.bin"

run "$mflash" -b "$board" -i can0 -u "$2" --no-run "$work/b.bin"
expect mflash_flashes_another_node 0
run python3 $client can0 "$2" verify "$work/b.bin"
expect client_verifies_what_mflash_wrote 0
run python3 $client can0 "$1" verify "$work/a.bin"
expect the_first_node_was_left_alone 0

cansend can0 3F0#12 # the client has left its node with an id; only those without answer the question
run "$mflash" -b "$board" -i can0 --all "$work/b.bin"
expect all_nodes_at_once 0
for uuid; do
    grep -q "proven .*$uuid" "$work/out" "$work/err" && continue
    not_ok all_nodes_are_proven "not $uuid"
done
run python3 $client can0 "$1" request
katapult_is_back() { python3 $client can0 query | grep -q "^$1 Katapult"; }
if await 60 katapult_is_back "$1"; then ok klipper_obeys_the_client; else not_ok klipper_obeys_the_client; fi

# A running Klipper is asked for its bootloader.
run "$mflash" -b "$board" -i can0 -u "$3" "$work/a.bin"
expect mflash_brings_klipper_into_katapult 0 'proven'

run "$mflash" -b "$board" -i can0 -u 0123456789ab --no-run "$work/a.bin"
expect nobody_of_that_uuid 7 '0123456789ab'
run "$mflash" -b "$board" -i can7 -u "$1" --no-run "$work/a.bin"
expect missing_interface_names_those_there 4 'can0'
# Who picks the ids of nodes speaks with them, and is not to be disturbed; candump, which hears everything
# all the while, looks on, and mflash's own sockets are no company.
run "$mflash" query -i can0 --ask
expect nobody_is_in_the_way_of_asking 0
python3 -c '
import socket, struct, time
klippy = socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW)
klippy.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FILTER, struct.pack("=II", 0x109, 0x7FF))
klippy.bind(("can0",))
print("listens", flush=True)
time.sleep(120)' >"$work/klippy" &
klippy=$!
boards+=("$klippy")
await 60 grep -qs listens "$work/klippy"
run "$mflash" query -i can0 --ask
expect asking_is_refused_while_another_speaks_there 5 'can0 is in use by .*pid'
kill "$klippy"

# What a controller says of itself, on a virtual interface too.
can_up can1
"$vboard" "$board" -m katapult-can --serve can:can1 --fault bus-off:4 >"$work/ready1" 2>"$work/err1" &
boards+=($!)
await 60 grep -qs '^ready can1:' "$work/ready1" || cat "$work/err1"
run "$mflash" -b "$board" -i can1 -u "$(sed 's/.*://' "$work/ready1")" --no-run "$work/a.bin"
expect bus_off_is_told 1 'can1: the bus is off'
sleep 0.2 # the interface restarts after 100 ms
run "$mflash" -b "$board" -i can1 -u "$(sed 's/.*://' "$work/ready1")" --no-run "$work/a.bin"
expect and_the_same_command_again_succeeds 0

ip link set can0 down
run "$mflash" -b "$board" -i can0 -u "$1" --no-run "$work/a.bin"
expect interface_down_says_how_to_take_it_up 1 'ip link set can0 up'
[ "$failed" -eq 0 ] || { echo "the last frames:" && tail -n 80 "$work/dump"; }
finish can
