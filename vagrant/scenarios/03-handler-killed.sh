#!/bin/bash
# This scenario will kill the handler ten times with -9 under fio with verify, and lose nothing.
#
# Beside fio on a volume, a counter on another one is counted up by COMPARE AND WRITE: a command that
# was carried out before the kill and is answered after it must not be carried out twice, or the
# counter stands. One more end is a planned one, by SIGTERM. The initiator must not notice any of it:
# no error, no abort, no new session.
# Time limit: 1200 s
. "$(dirname "$0")/../lab.sh"

target=$IQN:scenario3
kills=${LAB_QUICK:+2}
kills=${kills:-10}

# Rounds of fio: each writes the whole device in random order and then reads it back.
load() {
    local round=0
    while [ ! -e "$LOGS/enough" ]; do
        round=$((round + 1))
        fio --name=load --filename="$1" --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bsrange=4k-64k \
            --size=16m --verify=crc32c --verify_fatal=1 --verify_state_save=0 --randseed=$round --eta=never \
            --output="$LOGS/fio-$round.log" || return
    done
    echo $round >"$LOGS/rounds"
}

# Counts up at block 0: from N to N+1 only where N is there.
count() {
    local number=0
    head -c 512 /dev/zero >"$LOGS/count.0"
    while [ ! -e "$LOGS/enough" ]; do
        printf '%-512d' $((number + 1)) >"$LOGS/count.1"
        cat "$LOGS/count.0" "$LOGS/count.1" >"$LOGS/count"
        sg_compare_and_write --in="$LOGS/count" --lba=0 --num=1 --timeout=300 "$1" || return
        mv "$LOGS/count.1" "$LOGS/count.0"
        number=$((number + 1))
    done
    sg_dd if="$1" of="$LOGS/counted" bs=512 count=1 2>/dev/null
    cmp "$LOGS/counted" "$LOGS/count.0" || return
    echo $number >"$LOGS/counted.number"
}

# done_by DEVICE: how many commands it has completed. more_done DEVICE COUNT: no fewer than that.
done_by() {
    local -a numbers
    read -ra numbers <"/sys/block/${1##*/}/stat"
    echo $((numbers[0] + numbers[4]))
}
more_done() { [ -e "$LOGS/load.status" ] || [ "$(done_by "$1")" -ge "$2" ]; }

step "a pool, two volumes, a target, a snapshot of known data"
machine
daemon_start
members
snap pool create tank --level raid5 --strip 64KiB "${MEMBERS[@]}"
snap volume create tank/vol 16MiB
snap volume create tank/counter 1MiB
snap target create "$target"
snap lun map "$target" 0 tank/vol
snap lun map "$target" 1 tank/counter
log_in "$target"
volume=$(unit "$target" 0)
counter=$(generic "$(unit "$target" 1)")
head -c 16M /dev/urandom >/tmp/point
dd if=/tmp/point of="$volume" bs=1M oflag=direct status=none
snap snapshot create tank/vol@point
session=$(iscsiadm -m session)

step "fio and the counter"
{ load "$volume" && echo 0 || echo $?; } >"$LOGS/load.status.new" 2>&1 && mv "$LOGS/load.status.new" "$LOGS/load.status" &
{ count "$counter" && echo 0 || echo $?; } >"$LOGS/count.status.new" 2>&1 && mv "$LOGS/count.status.new" "$LOGS/count.status" &

RANDOM=1
for kill in $(seq "$kills"); do
    wanted=$(($(done_by "$volume") + 10 + RANDOM % 100))
    until_true 300 "I/O stands still" more_done "$volume" $wanted
    [ ! -e "$LOGS/load.status" ] || break
    daemon_kill
    in_flight=$(cat "/sys/block/${volume##*/}/inflight" | xargs)
    daemon_start
    step "killed $kill times; (read, write) under way then: $in_flight"
done
step "a planned restart"
until_true 300 "I/O stands still" more_done "$volume" $(($(done_by "$volume") + 50))
daemon_stop
daemon_start
until_true 300 "I/O stands still" more_done "$volume" $(($(done_by "$volume") + 50))

step "what fio, the counter and the snapshot say"
touch "$LOGS/enough"
until_true 300 "fio does not end" test -e "$LOGS/load.status"
until_true 300 "the counter does not end" test -e "$LOGS/count.status"
expect "fio's end" "$(<"$LOGS/load.status")" 0
expect "the counter's end" "$(<"$LOGS/count.status")" 0
expect "the session" "$(iscsiadm -m session)" "$session"
snap lun map "$target" 2 tank/vol@point
rescan
same_as_image "$(unit "$target" 2)" /tmp/point
snap check
log_out "$target"
snap target delete "$target"
nothing_stuck
daemon_stop
fact "$kills kills: $(<"$LOGS/rounds") rounds of fio, $(<"$LOGS/counted.number") times COMPARE AND WRITE, no error"
