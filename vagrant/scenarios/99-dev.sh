#!/bin/bash
# This scenario will run jobs.
# Time limit: 7200 s
. "$(dirname "$0")/../lab.sh"
machine
trap - EXIT
set +eu
echo $warm_pid > $WARM/pid
modprobe -a dm_mod ext4
(echo 3.2 > /dev/null)
n=0
while :; do
  n=$((n+1))
  until [ -e /run/lab/job.$n ]; do pause; done
  job=$(cat /run/lab/job.$n)
  echo "### job $n: $job"
  (cd /; exec /bin/bash -c "$job") 2>&1 </dev/null
  echo "### job $n ended $?"
done
