#!/bin/bash
# This scenario will ask a volume over LIO and over the embedded portal with sg3_utils, and compare.
#
# Two targets show the same two volumes, one by each way. Every command goes to both; what they print
# must be the same, exit status included. The differences that have to be are taken out by `same`,
# named and explained there, and nothing else is.
# Time limit: 900 s
. "$(dirname "$0")/../lab.sh"

by_lio=$IQN:scenario2-lio
by_portal=$IQN:scenario2-portal
compared=0
differing=0

# same TEXT: without what belongs to the way and not to the unit.
#   - the device's name, and how sg_reset and sg_raw count their time
#   - the target's name, which is another one, in hexadecimal and in text
#   - the relative target port and the group: LIO numbers its own ports over all of its targets
same() {
    sed -E -e "s#/dev/s[dg][a-z0-9]*#DEVICE#g" -e "s/scenario2-(lio|portal)/TARGET/g"
}

# both WHAT COMMAND...: with DEVICE, OTHER (the second volume) and HOST in its place, by both ways.
both() {
    local what=$1 way status
    shift
    for way in lio portal; do
        status=0
        eval "words=($(printf '%s ' "$@"))"
        timeout 60 "${words[@]}" >"$LOGS/$way.raw" 2>&1 </dev/null || status=$?
        { same <"$LOGS/$way.raw"; echo "exit status $status"; } >"$LOGS/$way.out"
    done
}
