#!/bin/bash
# This scenario will let a member hang for 20 s and another fail, and look at what initiators are told.
#
# Members lie below device mapper: suspending one holds its I/O, an `error` table fails it. fio with
# verify goes on over a raid5 pool through both. A raid0 pool cannot go on: a command that meets the
# failed member must end in sense data that say so, and others must not suffer.
# Time limit: 900 s
. "$(dirname "$0")/../lab.sh"

export DM_DISABLE_UDEV=1
target=$IQN:scenario4
HANG_SECONDS=20

# mapped NAME DEVICE START BYTES: a part of a disk, through device mapper.
mapped() { dmsetup create "$1" --table "0 $(($4 / 512)) linear $2 $(($3 / 512))"; }

# fails NAME: from now on each command on it does.
fails() {
    dmsetup suspend --noflush --nolockfs "$1"
    dmsetup reload "$1" --table "0 $(blockdev --getsz "/dev/mapper/$1") error"
    dmsetup resume "$1"
}

# Members are written through the kernel's cache, so a member is asked for errors by a flush.
load() {
    fio --name=load --filename="$1" --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bs=16k --size=16m --fsync=32 \
        --verify=crc32c --verify_fatal=1 --verify_state_save=0 --randseed="$2" --eta=never --output="$LOGS/fio-$2.log"
}

step "members below device mapper, a raid5 and a raid0 pool"
machine
modprobe dm_mod
members
for number in 0 1 2 3; do
    mapped "five$number" "${MEMBERS[number]}" 0 $((256 << 20))
    mapped "zero$number" "${MEMBERS[number]}" $((256 << 20)) $((256 << 20))
done
daemon_start
snap pool create five --level raid5 --strip 64KiB /dev/mapper/five{0,1,2,3}
snap pool create zero --level raid0 --strip 64KiB /dev/mapper/zero{0,1}
snap volume create five/vol 16MiB
snap volume create zero/vol 16MiB
snap target create "$target"
snap lun map "$target" 0 five/vol
snap lun map "$target" 1 zero/vol
log_in "$target"
five=$(unit "$target" 0)
zero=$(unit "$target" 1)
dd if=/dev/urandom of="$zero" bs=1M count=16 oflag=direct status=none
load "$five" 1

step "a member hangs for $HANG_SECONDS s"
from=$SECONDS
load "$five" 2 &
fio=$!
dmsetup suspend --noflush --nolockfs /dev/mapper/five1
# The hang itself, which is shorter than the initiator's patience.
sleep $HANG_SECONDS
dmsetup resume /dev/mapper/five1
wait $fio || fail "fio over the hang ended with $?"
[ $((SECONDS - from)) -ge $HANG_SECONDS ] || fail "fio did not meet the hang"
nothing_stuck
snap pool show five

step "a member of the raid5 pool fails"
load "$five" 3 &
fio=$!
fails five2
wait $fio || fail "fio over the failure ended with $?"
load "$five" 4
snap pool show five | tee "$LOGS/five"
grep -q '^state *degraded' "$LOGS/five" || fail "the pool has not noticed"
snap events

step "a member of the raid0 pool fails"
fails zero1
# Strips of 64 KiB alternate: one of two neighbours is on the failed member. Past the cache.
sync
echo 3 >/proc/sys/vm/drop_caches
results=
for strip in 0 1; do
    status=0
    sg_dd if="$(generic "$zero")" of="$LOGS/read" bs=512 skip=$((strip * 128)) count=1 verbose=2 >"$LOGS/sense" 2>&1 || status=$?
    results+="$status "
    [ $status -eq 0 ] || grep -iE 'sense|error' "$LOGS/sense" | head -n 5
done
echo "exit status by strip: $results"
snap pool show zero
snap events
case $results in
"0 3 " | "3 0 ") ;;
*) fail "a good strip and one with a medium error were expected" ;;
esac

step "the raid5 volume goes on"
load "$five" 5
log_out "$target"
snap target delete "$target"
nothing_stuck 'dm-|zero|sd[a-z]'
daemon_stop
