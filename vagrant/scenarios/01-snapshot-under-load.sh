#!/bin/bash
# This scenario will take a snapshot of a mounted ext4 under load, overwrite, and compare the snapshot.
#
# The point in time: the file system is frozen for the moment of the snapshot while fio goes on
# writing into it, and what the disk holds then is what the snapshot must show.
# Time limit: 600 s
. "$(dirname "$0")/../lab.sh"

target=$IQN:scenario1

step "a pool of four disks, a volume, a target"
machine
modprobe ext4
daemon_start
members
snap pool create tank --level raid5 --strip 64KiB "${MEMBERS[@]}"
snap volume create tank/vol 128MiB
snap target create "$target"
snap lun map "$target" 0 tank/vol

step "log in with open-iscsi"
log_in "$target"
origin=$(unit "$target" 0)

step "mkfs.ext4 on $origin, mount, write"
mkfs.ext4 -q -F "$origin"
mkdir -p /mnt/origin /mnt/snapshot
mount "$origin" /mnt/origin
files_in /mnt/origin
sync -f /mnt/origin
before=$(cd /mnt/origin && find . -type f | sort | xargs md5sum | md5sum)

step "snapshot under load"
fio --name=load --eta=never --directory=/mnt/origin --size=24m --rw=randwrite --bs=16k --ioengine=psync --time_based \
    --runtime=600 --fsync=32 --output="$LOGS/fio.log" &
load=$!
until_true 60 "fio does not write" test -s /mnt/origin/load.0.0
fsfreeze --freeze /mnt/origin
image "$origin" /tmp/point
snap snapshot create tank/vol@point
fsfreeze --unfreeze /mnt/origin

step "overwrite"
rm -r /mnt/origin/[a-b]*
dd if=/dev/urandom of=/mnt/origin/c1 bs=1M count=16 oflag=direct status=none
kill -INT $load
wait $load || true
sync -f /mnt/origin

step "the snapshot as a second LUN"
snap lun map "$target" 1 tank/vol@point
rescan
snapshot=$(unit "$target" 1)
expect "read-only" "$(cat "/sys/block/${snapshot##*/}/ro")" 1
same_as_image "$snapshot" /tmp/point
if same_as_image "$origin" /tmp/point 2>/dev/null; then fail "the volume did not change"; fi
mount -t ext4 -o ro,noload "$snapshot" /mnt/snapshot
after=$(cd /mnt/snapshot && find . -type f -not -name 'load*' | sort | xargs md5sum | md5sum)
expect "the files of the point in time" "$after" "$before"
umount /mnt/snapshot

step "fsck"
umount /mnt/origin
e2fsck -fn "$origin"
e2fsck -fn "$snapshot"
same_as_image "$snapshot" /tmp/point

step "check, log out, delete"
snap check
log_out "$target"
snap target delete "$target"
nothing_stuck
daemon_stop
