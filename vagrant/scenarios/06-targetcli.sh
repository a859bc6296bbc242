#!/bin/bash
# This scenario will type a session into the stock targetcli, restart the machine, and restore it.
#
# Debian's targetcli, unchanged, finds our handler over D-Bus. What it says is printed as it comes. The
# machine's /etc/target and what saveconfig writes are on the disk that a restart leaves, and so
# is the daemon's state.
# Time limit: 900 s
. "$(dirname "$0")/../lab.sh"

target=$IQN:scenario6
policy=$("$LAB_PYTHON" -c 'import scsi_snap, pathlib; print(pathlib.Path(scsi_snap.__file__).parent)')/lio/org.kernel.TCMUService1.conf

system_bus() {
    cp "$policy" /etc/dbus-1/system.d/
    mkdir -p /run/dbus
    # Else the bus would start tcmu-runner where it is installed.
    rm -f /usr/share/dbus-1/system-services/org.kernel.TCMUService1.service
    dbus-daemon --system --fork
}
handler_is_announced() {
    dbus-send --system --print-reply --dest=org.kernel.TCMUService1 /org/kernel/TCMUService1 \
        org.freedesktop.DBus.ObjectManager.GetManagedObjects 2>/dev/null | grep -q scsi_snap
}
start() {
    machine
    kept_state
    # Debian's rtslib has a directory of its own for what saveconfig writes; other versions the first.
    mkdir -p "$STATE/target/pr" "$STATE/saved" /etc/rtslib-fb-target
    mount --bind "$STATE/target" /etc/target
    mount --bind "$STATE/saved" /etc/rtslib-fb-target
    system_bus
    daemon_start
    until_true 60 "the bus does not know our handler" handler_is_announced
}

# typed: commands from standard input into the stock shell; what it says, without colours.
typed() {
    timeout 240 targetcli >"$LOGS/said" 2>&1 || { cat "$LOGS/said" && fail "targetcli ended with $?"; }
    sed -E 's/\x1b\[[0-9;]*[A-Za-z]//g' "$LOGS/said"
}

first_boot() {
    step "a pool, a volume, a snapshot of what it holds"
    start
    members
    snap pool create tank --level raid5 --strip 64KiB "${MEMBERS[@]}"
    snap volume create tank/vol 64MiB

    step "the session: create, export, ls, saveconfig"
    typed <<TYPED
cd /backstores/user:scsi_snap
help create
create name=disk0 size=64M cfgstring=tank/vol
disk0/ info
cd /iscsi
create $target
cd $target/tpg1
set attribute authentication=0 generate_node_acls=1 demo_mode_write_protect=0 cache_dynamic_acls=1
luns/ create /backstores/user:scsi_snap/disk0
cd /
ls
saveconfig
exit
TYPED
    grep -q 'Created user-backed storage object disk0' "$LOGS/said" || fail "no storage object was created"
    grep -q 'user/disk0' "$LOGS/said" || fail "the LUN is not in the tree"

    step "a second one, which names no volume, is refused"
    typed <<TYPED
/backstores/user:scsi_snap create name=none size=64M cfgstring=tank/none
exit
TYPED
    if grep -q 'Created user-backed' "$LOGS/said"; then fail "a volume that does not exist was taken"; fi

    step "log in, write"
    log_in "$target"
    head -c 1M /dev/urandom >"$STATE/written"
    dd if="$STATE/written" of="$(unit "$target" 0)" bs=64k oflag=direct conv=fsync status=none

    step "what others export is not deleted"
    if snap volume delete tank/vol 2>"$LOGS/refused"; then fail "a volume that targetcli exports was deleted"; fi
    cat "$LOGS/refused"
    snap snapshot create tank/vol@written
    typed <<TYPED
/backstores/user:scsi_snap create name=disk1 size=64M cfgstring=tank/vol@written
/iscsi/$target/tpg1/luns create /backstores/user:scsi_snap/disk1
cd /
saveconfig
exit
TYPED
    rescan
    snapshot=$(unit "$target" 1)
    expect "a snapshot's write protection" "$(cat "/sys/block/${snapshot##*/}/ro")" 1
    log_out "$target"
    sync -f "$STATE"
    echo "::restart"
    sleep infinity
}

second_boot() {
    step "after the restart: restoreconfig"
    start
    # What `systemctl start target` does, by hand.
    typed <<TYPED
restoreconfig
ls /
exit
TYPED
    log_in "$target"
    dd if="$(unit "$target" 0)" of="$LOGS/read" bs=64k count=16 iflag=direct status=none
    cmp "$LOGS/read" "$STATE/written"
    dd if="$(unit "$target" 1)" of="$LOGS/read" bs=64k count=16 iflag=direct status=none
    cmp "$LOGS/read" "$STATE/written"

    step "clearconfig: nothing is left of it"
    log_out "$target"
    typed <<TYPED
clearconfig confirm=True
exit
TYPED
    snap snapshot delete tank/vol@written
    snap volume delete tank/vol
    nothing_stuck
    daemon_stop
    fact "$(targetcli --version 2>&1 | tail -n 1): create, export, saveconfig, restoreconfig after a restart"
}

case $LAB_BOOT in
1) first_boot ;;
2) second_boot ;;
esac
