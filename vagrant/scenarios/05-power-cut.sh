#!/bin/bash
# This scenario will cut the power during writes and snapshots, and look for all that was flushed.
#
# Two boots. In the first, a writer puts numbered records on the volume, each flushed before the next,
# and notes outside of the machine what was flushed; snapshots are taken meanwhile, with what was
# flushed before and after each. The power fails while one is being taken. In the second boot the pool
# is found by the state directory, then by its members alone with an empty state directory.
# Time limit: 900 s
. "$(dirname "$0")/../lab.sh"

target=$IQN:scenario5
records() { "$LAB_PYTHON" "$LAB/records.py" "$@"; }
# Files outside of the machine, so they know more than what comes through the cut.
flushed=$LOGS/flushed
points=$LOGS/points
now() { echo $(($(<"$flushed"))); }
written() { [ -s "$flushed" ] && [ "$(now)" -ge "$1" ]; }

first_boot() {
    step "a pool of four disks, a volume, a target, a writer"
    machine
    kept_state
    daemon_start
    members
    snap pool create tank --level raid5 --strip 64KiB "${MEMBERS[@]}"
    snap volume create tank/vol 64MiB
    snap target create "$target"
    snap lun map "$target" 0 tank/vol
    log_in "$target"
    records write "$(unit "$target" 0)" "$flushed" &

    local wanted=${LAB_QUICK:+30} number before
    wanted=${wanted:-300}
    for number in 1 2 3; do
        until_true 300 "the writer stands still" written $((wanted * number))
        step "snapshot $number at $(now) records"
        before=$(now)
        snap snapshot create "tank/vol@point$number"
        echo "point$number $before $(($(now) + 1))" >>"$points"
    done
    until_true 300 "the writer stands still" written $((wanted * 4))
    step "one more snapshot, and the cut at $(now) records"
    before=$(now)
    snap snapshot create tank/vol@last &
    echo "last $before" >>"$points"
    sync -f "$LOGS"
    until_true 60 "the writer stands still" written $((before + 2))
    echo "::power-cut"
    # More is written until the machine is gone.
    sleep infinity
}

# verify_all: the volume and every snapshot, each as a LUN of the target.
verify_all() {
    local point name least most lun=0 names
    log_in "$target"
    point=$(records verify --torn "$(unit "$target" 0)" "$(now)" $(($(now) + 1)))
    echo "the volume holds record $point; record $(now) was the last flushed one"
    names=$(snap snapshot list)
    while read -r name least most; do
        # The one under way at the cut is there as a whole, or not at all.
        if [ "$name" = last ] && [[ $names != *@last* ]]; then continue; fi
        lun=$((lun + 1))
        snap lun map "$target" $lun "tank/vol@$name"
        rescan
        point=$(records verify "$(unit "$target" $lun)" "$least" "${most:-$(($(now) + 1))}")
        echo "$name holds record $point, from $least to ${most:-the end}"
    done <"$points"
    expect "the number of snapshots" "$(grep -c '@' <<<"$names")" "$lun"
    snap check
    log_out "$target"
}

second_boot() {
    step "after the cut: the state directory's pool"
    machine
    kept_state
    daemon_start
    verify_all
    fact "$(now) records flushed before the cut, each there; $(wc -l <"$points") snapshots"

    step "the members alone, with an empty state directory"
    # The kernel would keep it, and the new state directory knows of none.
    snap target delete "$target"
    daemon_stop
    STATE=/var/lib/scsi-snap-empty
    mkdir "$STATE"
    daemon_start
    members
    snap pool import "${MEMBERS[@]}"
    snap target create "$target"
    snap lun map "$target" 0 tank/vol
    verify_all
    snap target delete "$target"
    nothing_stuck
    daemon_stop
}

case $LAB_BOOT in
1) first_boot ;;
2) second_boot ;;
esac
