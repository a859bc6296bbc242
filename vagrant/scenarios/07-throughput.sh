#!/bin/bash
# This scenario will measure throughput against tcmu-runner and LIO's own fileio, as ratios.
#
# Three disks through the kernel's loopback fabric, each over a file in memory: ours (raid0 over one
# member), tcmu-runner's (its qcow handler, which serves a plain file as what it is), and fileio, which
# never leaves the kernel. Short rounds of fio take turns, A B C A B C, so that what else the machine does
# hits all alike; a figure is the median of the rounds' ratios. docs/benchmarks.md has the table. Where
# instructions are counted one round is all: others would find the same, to some hundredths. There the
# scenario fails where a ratio is a tenth below the table's; otherwise it tells what it found.
# Time limit: 1200 s
# Clock: counts instructions
. "$(dirname "$0")/../lab.sh"

SIZE=$((128 << 20))
rounds=5 seconds=3
[ -z "${LAB_QUICK:-}" ] || rounds=3
[ -z "${LAB_COUNTED:-}" ] || rounds=1 seconds=1
memory=/run/throughput
core=/sys/kernel/config/target/core

# loopback NAME OBJECT: the storage object as a disk of this machine; its device in `disk_of[NAME]`.
declare -A disk_of=()
loopback() {
    local number=${#disk_of[@]} port address
    port=/sys/kernel/config/target/loopback/naa.500140500000000$number/tpgt_1
    mkdir -p "$port/lun/lun_0"
    echo "naa.500140500000001$number" >"$port/nexus"
    ln -s "$core/$2" "$port/lun/lun_0/object"
    address=$(<"$port/address")
    until_true 60 "no disk for $1" appeared "$address:0"
    disk_of[$1]=/dev/$(ls "/sys/bus/scsi/devices/$address:0/block")
}
appeared() { [ -d "/sys/bus/scsi/devices/$1/block" ]; }

step "three disks over files in memory"
machine
mkdir -p $memory
mount -t tmpfs -o size=700m memory $memory
daemon_start
snap pool create tank --level raid0 --strip 64KiB "$memory/member:192MiB"
snap volume create tank/vol $SIZE
snap target create $IQN:scenario7 --via lio
snap lun map $IQN:scenario7 0 tank/vol

truncate -s $SIZE $memory/fileio $memory/runner
mkdir -p $core/fileio_7/file
echo "fd_dev_name=$memory/fileio,fd_dev_size=$SIZE,fd_buffered_io=1" >$core/fileio_7/file/control
echo 1 >$core/fileio_7/file/enable

mkdir -p /run/dbus
rm -f /usr/share/dbus-1/system-services/org.kernel.TCMUService1.service
dbus-daemon --system --fork
tcmu-runner >"$LOGS/tcmu-runner.log" 2>&1 &
runner=$!
runner_is_ready() { dbus-send --system --print-reply --dest=org.kernel.TCMUService1 /org/kernel/TCMUService1 org.freedesktop.DBus.Peer.Ping >/dev/null 2>&1; }
until_true 60 "tcmu-runner is not ready" runner_is_ready
mkdir -p $core/user_7/runner
echo -n "dev_config=qcow/$memory/runner" >$core/user_7/runner/control
echo -n "dev_size=$SIZE" >$core/user_7/runner/control
echo 1 >$core/user_7/runner/enable

ours=$(ls -d $core/user_*/*tank*)
loopback scsi_snap "${ours#"$core/"}"
loopback tcmu-runner user_7/runner
loopback fileio fileio_7/file

step "each is written once, and reads back"
for name in scsi_snap tcmu-runner fileio; do
    dd if=/dev/urandom of=/tmp/some bs=1M count=8 status=none
    dd if=/dev/zero of="${disk_of[$name]}" bs=1M count=$((SIZE >> 20)) oflag=direct status=none
    dd if=/tmp/some of="${disk_of[$name]}" bs=1M oflag=direct status=none
    dd if="${disk_of[$name]}" bs=1M count=8 iflag=direct status=none | cmp - /tmp/some
    echo none >"/sys/block/$(basename "${disk_of[$name]}")/queue/scheduler"
done

# measured NAME RW BS DEPTH: KiB a second.
measured() {
    fio --name=m --filename="${disk_of[$1]}" --direct=1 --ioengine=libaio --rw="$2" --bs="$3" --iodepth="$4" \
        --time_based --ramp_time=200ms --runtime="$seconds" --size=$SIZE --output-format=terse --eta=never |
        awk -F';' '{ print $7 + $48 }'
}

: >"$LOGS/measured"
for load in "4 KiB random read:randread:4k:16" "4 KiB random write:randwrite:4k:16" \
    "256 KiB read:read:256k:4" "256 KiB write:write:256k:4"; do
    IFS=: read -r what rw size depth <<<"$load"
    step "$what, depth $depth"
    for round in $(seq "$rounds"); do
        for name in scsi_snap tcmu-runner fileio; do
            echo "$what;$round;$name;$(measured $name "$rw" "$size" "$depth")" >>"$LOGS/measured"
        done
    done
done

step "ratios: the median of the rounds'"
awk -F';' '
    function median(values, count,    i, j, swap) {
        for (i = 1; i <= count; i++)
            for (j = i + 1; j <= count; j++)
                if (values[j] < values[i]) { swap = values[i]; values[i] = values[j]; values[j] = swap }
        return count % 2 ? values[(count + 1) / 2] : (values[count / 2] + values[count / 2 + 1]) / 2
    }
    { speed[$1, $2, $3] = $4; if (!($1 in last)) order[++loads] = $1; last[$1] = $2 }
    END {
        for (l = 1; l <= loads; l++) {
            what = order[l]
            for (round = 1; round <= last[what]; round++) {
                ours[round] = speed[what, round, "scsi_snap"]
                against_runner[round] = ours[round] / speed[what, round, "tcmu-runner"]
                against_fileio[round] = ours[round] / speed[what, round, "fileio"]
            }
            runner = median(against_runner, last[what])
            fileio = median(against_fileio, last[what])
            printf "%s: %.0f KiB/s, %.2f x tcmu-runner, %.2f x fileio\n", what, median(ours, last[what]), runner, fileio
            is_long = what ~ /^256/
            if (runner < (is_long ? 1.35 : 1.1) || fileio < (is_long ? 0.6 : 0.55)) low = 1
        }
        exit low
    }' "$LOGS/measured" >"$LOGS/ratios" || low=1
while read -r line; do fact "$line"; done <"$LOGS/ratios"
[ -z "${LAB_COUNTED:-}" ] || [ -z "${low:-}" ] || fail "slower than it was: see docs/benchmarks.md"
nothing_stuck
kill $runner
daemon_stop
