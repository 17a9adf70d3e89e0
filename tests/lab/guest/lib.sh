# For the guest tests: sourced, not run. What the shell rings share (tests/lib.sh), and what a real
# kernel is needed for: vboards behind USB/IP that are plugged in, CAN interfaces, a user without rights.
# shellcheck shell=bash disable=SC2034 # what is set here is used by the tests
mflash=$PWD/${B:-build}/mflash
vboard=$PWD/${B:-build}/vboard
MFLASH=$mflash VBOARD=$vboard
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../lib.sh"
patience=60 # seconds for one command, far more than the slowest needs
command -v modprobe >/dev/null || PATH=$PATH:/usr/sbin:/sbin

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
        sleep 0.02
    done
}

# module NAME...: loads them, each one a test of its own: what the lab has is what it was built for.
module() {
    local name
    for name in "$@"; do
        run modprobe "$name"
        expect "module_${name//-/_}_loads" 0
    done
}

# can_up INTERFACE
can_up() {
    modprobe vcan && ip link add dev "$1" type vcan && ip link set "$1" up
}

# as_user COMMAND...: one who owns nothing and is in no group.
as_user() {
    setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
}
