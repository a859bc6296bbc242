#!/bin/bash
# Runs scenarios in Vagrant's machine, each after a restart of it; the scripts are those of `make lab`.
#
#   vagrant/run.sh [NN...]
#
# A scenario that prints `::power-cut` has the machine ended as a power cut does, and is started again
# with LAB_BOOT counted up; `::restart` likewise.
set -euo pipefail
cd "$(dirname "$0")"

# boot SCENARIO COUNT: 0 passed, 3 wants another boot, else failed.
boot() {
    local line
    while read -r line; do
        echo "$line"
        case $line in
        ::power-cut | ::restart) return 3 ;;
        ::passed) return 0 ;;
        esac
    done < <(vagrant ssh -c "sudo LAB_BOOT=$2 LAB_LOGS=/var/log/lab /scsi_snap/vagrant/scenarios/$1 && echo ::passed")
    return 1
}

scenario() {
    local count=1 status
    while :; do
        status=0
        boot "$1" $count || status=$?
        [ $status -eq 3 ] || return $status
        count=$((count + 1))
        vagrant halt --force
        vagrant up --no-provision
    done
}

failed=0
for script in scenarios/[0-9][0-9]-*.sh; do
    name=${script##*/}
    if [ $# -gt 0 ] && [[ " $* " != *" ${name%%-*} "* ]]; then continue; fi
    vagrant halt --force
    vagrant up
    if scenario "$name"; then echo "passed: $name"; else
        echo "FAILED: $name"
        failed=1
    fi
done
exit $failed
