# What the scenarios share; sourced by each. In the environment:
#
#   LAB_PYTHON   a Python that has scsi_snap
#   LAB_BOOT     1, and counted up where the scenario had its machine ended and booted again
#   LAB_LOGS     a directory that outlives the machine's restart
#   LAB_QUICK    not empty: what takes long, shortened
#
# A scenario ends at the first command that fails. It waits for conditions (`until_true`), and for
# nothing else. The daemon: LIO's portal on 127.0.0.1:3260, the embedded one on 127.0.0.1:3270.
# shellcheck shell=bash
set -euo pipefail

export LAB_PYTHON=${LAB_PYTHON:-/opt/scsi-snap/bin/python} LAB_BOOT=${LAB_BOOT:-1}
export SCSI_SNAP_SOCKET=/run/scsi-snap/control.sock
LIO=127.0.0.1:3260
EMBEDDED=127.0.0.1:3270
IQN=iqn.2026-11.org.example
INITIATOR=$IQN:lab
# Logs, and what a scenario notes outside of what it tests; kept over a restart.
LOGS=${LAB_LOGS:-/run/lab}
STATE=/var/lib/scsi-snap
LAB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WARM=/run/scsi-snap-warm
daemon_pid=

# --- saying --------------------------------------------------------------------------------------

step() { echo "::step $*"; }
fact() { echo "::fact $*"; }
fail() {
    echo "failed: $*"
    exit 1
}

# expect WHAT GOT WANTED: both the same.
expect() { [ "$2" = "$3" ] || fail "$1: got '$2', expected '$3'"; }

# until_true SECONDS WHAT COMMAND...: as soon as the command succeeds; fails after that time.
until_true() {
    local seconds=$1 what=$2 from=$SECONDS
    shift 2
    until "$@"; do
        [ $((SECONDS - from)) -lt "$seconds" ] || fail "after $seconds s: $what"
        pause
    done
}

# pause: between two looks. No process of its own: those are dear under emulation.
exec {never}<> <(:)
pause() { read -r -t 0.4 -u "$never" _ || true; }

at_exit() {
    local status=$?
    trap - EXIT
    if [ $status -ne 0 ]; then
        echo "the daemon's last lines:"
        tail -n 25 "$LOGS/daemon.log" 2>/dev/null || true
        echo "the kernel's last lines:"
        dmesg | tail -n 15
        ps -eo pid,stat,wchan:32,args | awk '$2 ~ /^D/ || /scsi_snap|iscsid|fio/'
    fi
    exit $status
}
trap at_exit EXIT

# --- the machine ---------------------------------------------------------------------------------

# machine: kernel modules, the kernel's target, and an initiator's name, as start-up would.
machine() {
    mkdir -p "$LOGS" "$STATE" "$(dirname "$SCSI_SNAP_SOCKET")" /run/lock/iscsi /etc/iscsi /mnt
    warm_start
    # Before target_core_mod is there: rtslib wants the first, the kernel's reservations the second.
    rm -rf /etc/target
    mkdir -p /etc/target/pr
    modprobe -a target_core_user tcm_loop iscsi_target_mod iscsi_tcp sg sd_mod virtio_blk
    mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
    echo "InitiatorName=$INITIATOR" >/etc/iscsi/initiatorname.iscsi
    rm -rf /etc/iscsi/nodes /etc/iscsi/send_targets /var/lib/iscsi/nodes
    # A task that hangs is said in the kernel's log, where `nothing_stuck` finds it.
    echo 60 >/proc/sys/kernel/hung_task_timeout_secs 2>/dev/null || true
}

# disk SERIAL: the device of the machine's disk with that serial number.
disk() {
    local found
    found=$(grep -lx "$1" /sys/block/*/serial) || fail "there is no disk $1"
    found=${found%/serial}
    echo "/dev/${found##*/}"
}

# An array: a command that fails inside of "$(...)" would not end the scenario.
members() {
    local number
    MEMBERS=()
    for number in 0 1 2 3; do MEMBERS+=("$(disk "member$number")") || return; done
}

# kept_state: the state directory on a disk of the machine's, which a restart leaves.
kept_state() {
    local device
    device=$(disk state)
    modprobe ext4
    [ "$LAB_BOOT" -gt 1 ] || mkfs.ext4 -q -F "$device"
    mkdir -p "$STATE"
    mount "$device" "$STATE"
}

# --- the daemon ----------------------------------------------------------------------------------

# snap VERB...: the command line. In a process that warm.py has ready, as soon as that runs.
snap() {
    local request status
    request=$(mktemp -d "$WARM/XXXXXX")
    mkfifo "$request/done"
    warm_request "$request" "$@"
    # The pipe only wakes; open for both, so that this does not wait for a process that is gone.
    until [ -e "$request/status" ]; do
        warm_alive
        read -r -t 5 _ || true
    done <>"$request/done"
    status=$(<"$request/status")
    cat "$request/out"
    cat "$request/err" >&2
    rm -r "$request"
    return "$status"
}

# One write, so that requests from several processes do not mix.
warm_request() {
    local line
    line=$(printf '%q ' "$@")
    printf '%s\n' "$line" >&"$warm_requests"
}

warm_alive() { [ -d "/proc/$warm_pid" ] || fail "warm.py ended: $(tail -n 3 "$LOGS/warm.log")"; }

warm_start() {
    mkdir -p "$WARM"
    mkfifo "$WARM/requests"
    exec {warm_requests}<>"$WARM/requests"
    "$LAB_PYTHON" "$LAB/warm.py" "$WARM/requests" </dev/null >>"$LOGS/warm.log" 2>&1 &
    warm_pid=$!
}

# api METHOD PATH [JSON]: the same over the control socket, without Python's start.
api() {
    local body=()
    [ $# -lt 3 ] || body=(--json "$3")
    curl --silent --show-error --fail-with-body --max-time 120 --unix-socket "$SCSI_SNAP_SOCKET" \
        -X "$1" "${body[@]}" "http://scsi-snap/v1/$2" && echo
}

# daemon_start [OPTION...]: returns when it is ready.
daemon_start() {
    DAEMON=$(mktemp -d "$WARM/daemon.XXXXXX")
    ln -s "$LOGS/daemon.log" "$DAEMON/err"
    warm_request "$DAEMON" daemon --state "$STATE" --listen $EMBEDDED --lio-listen $LIO "$@"
    until_true 180 "the daemon is not ready" daemon_is_ready
    daemon_pid=$(<"$DAEMON/pid")
}
daemon_is_ready() {
    warm_alive
    [ ! -e "$DAEMON/status" ] || fail "the daemon ended: $(tail -n 5 "$LOGS/daemon.log")"
    local said
    [ -e "$DAEMON/out" ] && read -r said <"$DAEMON/out" && [[ $said == *ready* ]]
}
daemon_has_ended() { [ -e "$DAEMON/status" ]; }

# daemon_kill: as a crash.
daemon_kill() {
    kill -9 "$daemon_pid"
    until_true 60 "the daemon does not end" daemon_has_ended
}

# daemon_stop: as `systemctl stop`.
daemon_stop() {
    kill "$daemon_pid"
    until_true 60 "the daemon does not end" daemon_has_ended
    expect "the daemon's exit status" "$(<"$DAEMON/status")" 0
}

# --- initiators ----------------------------------------------------------------------------------

# log_in TARGET [PORTAL]: open-iscsi, by discovery.
log_in() {
    local portal=${2:-$LIO}
    pidof iscsid >/dev/null || iscsid
    iscsiadm -m discovery -t sendtargets -p "$portal" >/dev/null
    iscsiadm -m node -T "$1" -p "$portal" --login >/dev/null
}

log_out() { iscsiadm -m node -T "$1" -p "${2:-$LIO}" --logout >/dev/null; }

# unit TARGET LUN [PORTAL]: the device of a logical unit, as soon as it is there.
unit() {
    until_true 60 "no disk for LUN $2 of $1" _find_unit "$@"
    echo "$_unit"
}
_find_unit() {
    local session block port=${3:-$LIO}
    for session in /sys/class/iscsi_session/session*; do
        [ "$(cat "$session/targetname" 2>/dev/null)" = "$1" ] || continue
        [ "$(cat "$session"/device/connection*/iscsi_connection/*/persistent_port)" = "${port##*:}" ] || continue
        for block in "$session"/device/target*/*:"$2"/block/*; do
            [ -b "/dev/${block##*/}" ] && [ "$(cat "$block/size")" != 0 ] || continue
            _unit=/dev/${block##*/}
            return 0
        done
    done
    return 1
}

# rescan: each session looks for logical units that are new or gone.
rescan() { iscsiadm -m session --rescan >/dev/null; }

# generic DEVICE: the sg device of a disk.
generic() { echo "/dev/$(ls "/sys/block/${1##*/}/device/scsi_generic")"; }

# files_in DIRECTORY: 8 MiB of files of many sizes, a1 to d16, that repeat nothing. No scenario takes its
# data from what is installed.
files_in() {
    local letter number
    for letter in a b c d; do
        for number in $(seq 16); do
            head -c $((number * 15383)) /dev/urandom >"$1/$letter$number"
        done
    done
}

# --- judging -------------------------------------------------------------------------------------

# image DEVICE FILE: what the medium holds, past the page cache. same_as_image: compares with that.
image() { dd if="$1" of="$2" bs=1M iflag=direct status=none; }
same_as_image() { dd if="$1" bs=1M iflag=direct status=none | cmp - "$2"; }

# nothing_stuck: no task waits for ever, the kernel complains of nothing and aborted nothing.
nothing_stuck() {
    local complaints
    until_true 60 "a task waits without an end: $(_waiting)" _nobody_waits
    complaints=$(dmesg | grep -iE \
        'abort|blocked for more than|I/O error|call trace|kernel bug|timed out|rejecting I/O' | grep -vE "${1:-^$}" || true)
    [ -z "$complaints" ] || fail "the kernel says: $complaints"
}
_waiting() { ps -eo pid,stat,wchan:32,args --no-headers | awk '$2 ~ /^D/'; }
_nobody_waits() { [ -z "$(_waiting)" ]; }
