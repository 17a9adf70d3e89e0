# For the guest tests: sourced, not run. What the shell rings share (tests/lib.sh), and what a real
# kernel is needed for: vboards behind USB/IP that are plugged in, CAN interfaces, a user without rights.
# shellcheck shell=bash disable=SC2034 # what is set here is used by the tests
mflash=$PWD/${B:-build}/mflash
vboard=$PWD/${B:-build}/vboard
MFLASH=$mflash VBOARD=$vboard
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../lib.sh"
patience=120 # seconds for one command, far more than the slowest needs
command -v modprobe >/dev/null || PATH=$PATH:/usr/sbin:/sbin

# The tests' own small tools, from a program that is static and in memory: it starts several times faster
# under emulation.
static=/dev/shm/static
if [ ! -d $static ]; then
    busybox sh -c 'mkdir "$0" && cp "$1" "$0/busybox" && shift && for tool; do ln -s busybox "$0/$tool"; done' \
        $static "$(command -v busybox)" basename cat cp cut grep head mkdir rm sleep sort stat tail tr
fi
PATH=$static:$PATH
exec {silence}<> <(:)

# run COMMAND...: as in tests/lib.sh; a program (not a function) within $patience.
run() {
    local bound=()
    [ "$(type -t "$1")" = file ] && bound=(timeout -k 2 "$patience")
    "${bound[@]}" "$@" >"$work/out" 2>"$work/err"
    status=$?
}

# await SECONDS COMMAND...: until it succeeds.
await() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -gt "$end" ] && return 1
        read -rt 0.05 -u "$silence" # a sleep that starts no program
    done
    return 0
}

# module NAME...: loads them, each one a test of its own: what the lab has is what it was built for.
module() {
    local name
    for name in "$@"; do
        run modprobe "$name"
        expect "module_${name//-/_}_loads" 0
    done
}

# can_up INTERFACE: virtual, and in order as a wire is: one processor takes all its frames. Otherwise each
# processor has a queue of its own, and frames of a sender that moves to another can overtake those before.
can_up() {
    modprobe vcan && ip link add dev "$1" type vcan && ip link set "$1" up &&
        echo 1 >"/sys/class/net/$1/queues/rx-0/rps_cpus"
}

# as_user COMMAND...: one who owns nothing and is in no group.
as_user() {
    setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
}

# finish NAME: as in tests/lib.sh; where something failed, also what the plugs and the kernel saw.
finish() {
    if [ "$failed" -gt 0 ]; then
        tail -n 8 "$work"/*.plug 2>/dev/null
        dmesg | tail -n 40 | grep -v 'speed not set'
    fi
    echo "$1: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}

# ---- USB: each board has a name, under which its files lie in $work ----
declare -A server plug bus_path vhci_port tcp_port
next_port=0

# usb_serve NAME BOARD OPTIONS...: a virtual board behind USB/IP on a port of its own, which it keeps.
usb_serve() {
    local name=$1
    shift
    if [ -z "${vhci_port[$name]:-}" ]; then
        vhci_port[$name]=$next_port tcp_port[$name]=$((3240 + next_port))
        next_port=$((next_port + 1))
    fi
    "$vboard" "$@" --serve "usbip:${tcp_port[$name]}" >"$work/$name.ready" 2>"$work/$name.err" &
    server[$name]=$! && boards+=($!)
    await 60 grep -qs '^ready' "$work/$name.ready" && return
    echo "the virtual board does not start: $*"
    cat "$work/$name.err"
    return 1
}

# usb_plug NAME: plugged in, and again whenever it comes back; waits until the kernel has its descriptors.
usb_plug() {
    modprobe vhci-hcd
    "$PWD/${B:-build}/lab/attach" "${tcp_port[$1]}" "${vhci_port[$1]}" >"$work/$1.plug" 2>&1 &
    plug[$1]=$! && boards+=($!)
    local bus
    bus=$(cat /sys/devices/platform/vhci_hcd.0/usb*/busnum | sort -n | head -n 1) # the slower of two
    bus_path[$1]=$bus-$((vhci_port[$1] + 1))
    await 60 usb_is "$1" && udevadm settle --timeout=20 && return
    echo "$1 does not enumerate:"
    cat "$work/$1.plug"
    dmesg | tail -n 10
    return 1
}

# usb_is NAME [VID:PID]: it is on the bus, configured, as that one.
usb_is() {
    local at=/sys/bus/usb/devices/${bus_path[$1]}
    [ -s "$at/bConfigurationValue" ] &&
        { [ -z "${2:-}" ] || [ "$(cat "$at/idVendor"):$(cat "$at/idProduct")" = "$2" ]; } 2>/dev/null
}

# usb_board NAME BOARD OPTIONS...: served and plugged in.
usb_board() {
    usb_serve "$@" && usb_plug "$1"
}

# usb_unplug NAME: the cable is pulled; the board lives on.
usb_unplug() {
    kill "${plug[$1]}" 2>/dev/null
    wait "${plug[$1]}" 2>/dev/null
    return 0
}

# usb_stop NAME: unplugged, and the board writes its files and ends.
usb_stop() {
    usb_unplug "$1"
    kill "${server[$1]}" 2>/dev/null
    wait "${server[$1]}" 2>/dev/null
    return 0
}

# usb_has NAME GLOB: sets $node to the node in /dev of one of its interfaces (ttyACM*, hidraw*, sd?).
usb_has() {
    node=/dev/$(basename "$(find "/sys/bus/usb/devices/${bus_path[$1]}/" -name "$2" ! -name hidraw 2>/dev/null | head -n 1)")
    [ "$node" != /dev/ ] && [ -e "$node" ]
}

# usb_node NAME GLOB: the same, once it is there and udev is done with it.
usb_node() {
    await 60 usb_has "$@" && udevadm settle --timeout=20
}

# usb_can NAME: sets $can to the CAN interface that the kernel has made of it.
usb_can() {
    can=$(ls "/sys/bus/usb/devices/${bus_path[$1]}:1.0/net" 2>/dev/null)
    [ -n "$can" ]
}
usb_has_no_can() {
    local can
    ! usb_can "$1"
}
usb_can_is_up() { usb_can "$1" && ip -o link show "$can" | grep -q '[<,]UP[,>]'; }

# usb_can_at NAME BITRATE: it is up at that rate.
usb_can_at() { usb_can_is_up "$1" && ip -o -d link show "$can" | grep -q "bitrate $2 "; }

# soon NAME COMMAND...: a test: the command succeeds within a minute.
soon() {
    local name=$1
    shift
    if await 60 "$@"; then ok "$name"; else not_ok "$name" "$(ip -d link show 2>&1)"; fi
}

# bridge_board OPTIONS...: a USB-to-CAN bridge named octopus, with Katapult and the image $work/a.bin in its
# flash; with --app that runs, and its interface is $can, and down.
bridge_board() {
    head -c 32768 /dev/zero >"$work/flash"
    cat "$work/a.bin" >>"$work/flash"
    usb_board octopus btt-octopus-f446 -m katapult-usb --model katapult-bridge --flash "$work/flash" "$@" &&
        await 60 usb_can octopus
}

# bridge_image NAME BITRATE: $work/NAME.bin, Klipper lab-NAME for it.
bridge_image() {
    tests/firmware/klipper-image "$work/$1.bin" stm32f446xx "lab-$1" 0x08008000 "bridge:$2"
}

# firmware FILE BASE SIZE [STACK]: a program for a Cortex-M as far as a vector table goes, then noise.
firmware() {
    local words=$((${4:-0x20002000})) bytes='' word n
    for ((n = 0; n < 15; n++)); do words+=" $(($2 + 0x201 + 16 * n))"; done
    for word in $words; do
        printf -v word '\\x%02x\\x%02x\\x%02x\\x%02x' \
            $((word & 255)) $((word >> 8 & 255)) $((word >> 16 & 255)) $((word >> 24 & 255))
        bytes+=$word
    done
    # shellcheck disable=SC2059 # escapes
    { printf "$bytes" && head -c $(($3 - 64)) /dev/urandom; } >"$1"
}

# holds NAME FILE IMAGE OFFSET: the memory that a board keeps in FILE has the image at OFFSET.
holds() {
    if cmp -s -n "$(stat -c %s "$3")" "$2" "$3" "$4" 0; then
        ok "$1"
    else
        not_ok "$1" "$(cmp -n "$(stat -c %s "$3")" "$2" "$3" "$4" 0 2>&1)"
    fi
}
