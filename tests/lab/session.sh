#!/bin/bash
# In the guest, in the host's root: what a machine's start-up does, one command, and the guest's end.
#
#   session.sh MODULES COMMAND...
#
# What the command says goes to /dev/hvc0, which the runner reads; "::up" before it, "::end STATUS"
# after it. The environment is the runner's (guest.py).
modules=$1
shift
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec </dev/null >/dev/hvc0 2>&1
stty -F /dev/hvc0 raw -echo
cd /

hostname lab
ip link set lo up
mkdir -p /lib/modules
ln -sfn "$modules" "/lib/modules/$(uname -r)"
dmesg --console-level 4

echo "::up"
if [ -n "${LAB_SHELL:-}" ]; then
    stty -F /dev/hvc0 sane
    setsid --ctty bash -i </dev/hvc0
    status=$?
else
    "$@"
    status=$?
fi
dmesg >/run/lab/dmesg
sync -f /run/lab
echo "::end $status"
# Not an orderly shutdown: that would write to disks whose target may be gone, and wait for ever.
echo 1 >/proc/sys/kernel/sysrq
echo b >/proc/sysrq-trigger
sleep infinity
