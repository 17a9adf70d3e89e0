# Shared by the shell rings: sourced, not run. Counts cases, starts virtual boards, cleans up.
# shellcheck shell=bash disable=SC2034 # what is set here is used by the rings
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
work=$(mktemp -d)
passed=0 failed=0 skipped=0
mflash=${MFLASH:-$PWD/build/mflash}
vboard=${VBOARD:-$PWD/build/vboard}
boards=() # processes of virtual boards
serve="" device=""
export NO_COLOR=1
PATH=/usr/bin:$PATH # the packages' own programs, not somebody's wrapper (pyenv's takes a second for each python3)
unset FLASH_DEVICE MFLASH_BOARDS

cleanup() {
    local pid
    for pid in "${boards[@]}"; do kill "$pid" 2>/dev/null; done
    wait 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ok() {
    passed=$((passed + 1))
    echo "ok $*"
}

# not_ok NAME REASON: and what the last command printed.
not_ok() {
    failed=$((failed + 1))
    echo "not ok $1: ${2:-}"
    [ -s "$work/out" ] && sed 's/^/    out| /' "$work/out" | head -n 30
    [ -s "$work/err" ] && sed 's/^/    err| /' "$work/err" | head -n 30
    return 0
}

# run COMMAND...: keeps its output in $work/out and $work/err, its status in $status.
run() {
    "$@" >"$work/out" 2>"$work/err"
    status=$?
}

# expect NAME STATUS [PATTERN]: judges the last run; PATTERN (extended) must be in out or err.
expect() {
    if [ "$status" -ne "$2" ]; then
        not_ok "$1" "exit $status, not $2"
    elif [ -n "${3:-}" ] && ! cat "$work/out" "$work/err" | grep -qE -- "$3"; then
        not_ok "$1" "no line like: $3"
    else
        ok "$1"
    fi
}

# same NAME FILE FILE [BYTES]
same() {
    if cmp -s ${4:+-n "$4"} "$2" "$3"; then ok "$1"; else not_ok "$1" "$2 and $3 differ"; fi
}

# start LINK BOARD OPTIONS...: a virtual board on the pty LINK, or where $serve says (usbip:0,
# can:unix:PATH); waits until it is ready. $device: what mflash is given.
start() {
    local link=$1 n=0
    shift
    rm -f "$link.ready"
    "$vboard" "$@" --serve "${serve:-pty:$link}" >"$link.ready" 2>"$link.err" &
    board=$!
    boards+=("$board")
    while ! grep -qs "^ready" "$link.ready"; do
        n=$((n + 1))
        if [ $n -gt 200 ] || ! kill -0 "$board" 2>/dev/null; then
            echo "the virtual board does not start: $*"
            cat "$link.err"
            return 1
        fi
        sleep 0.02
    done
    device=$(sed -n 's/^ready //p' "$link.ready")
}

# stop: the last board started.
stop() {
    kill "$board" 2>/dev/null
    wait "$board" 2>/dev/null
    return 0
}

# An image of N bytes that is neither blank nor text, and the same each time.
image() {
    python3 - "$1" "$2" <<'PY'
import random, sys
random.seed(int(sys.argv[2]))
open(sys.argv[1], "wb").write(bytes(random.randrange(256) for _ in range(int(sys.argv[2]))))
PY
}

finish() {
    echo "$1: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
