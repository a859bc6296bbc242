#!/bin/bash
# This scenario will ask one volume over LIO and over the embedded portal with sg3_utils, and compare.
#
# Two targets show the same volumes, one by each way. Every command goes to both, and what they print
# must be the same, exit status included. `same` takes out the differences that have to be, each
# explained; what is LIO's own affair altogether is looked at apart, at the end.
# Time limit: 900 s
. "$(dirname "$0")/../lab.sh"

by_lio=$IQN:scenario2-lio
by_portal=$IQN:scenario2-portal
lun_bytes=$((64 << 20))
compared=0
differing=0

# same: what is printed, without what belongs to the way and not to the unit:
#   - the device's name
#   - names of target and target port (VPD pages 83h, 88h): the kernel does not tell a handler which of
#     its targets a command came to, so over LIO the unit names one for all of them, of its own
#   - the relative target port (the same pages, REPORT TARGET PORT GROUPS), for the same reason
same() {
    sed -E -e 's#/dev/sg[0-9]+#DEVICE#g' -e "s/$by_lio|$by_portal|naa\.[0-9a-f]{16}/TARGET/g" \
        -e 's/(Relative (target )?port[:=] ?)[0-9a-fx]+/\1PORT/' -e 's/^( +)0x[0-9a-f]{2,4}$/\1PORT/'
}

# both COMMAND...: by both ways, with UNIT and OTHER for the devices of the two volumes.
both() {
    local way status word
    local -a words
    for way in lio portal; do
        words=()
        for word in "$@"; do
            word=${word/UNIT/${unit[$way]}}
            words+=("${word/OTHER/${other[$way]}}")
        done
        status=0
        timeout 120 "${words[@]}" </dev/null >"$LOGS/printed" 2>&1 || status=$?
        { same <"$LOGS/printed" && echo "exit status $status"; } >"$LOGS/$way.printed"
    done
    compared=$((compared + 1))
    if ! diff -U 2 "$LOGS/portal.printed" "$LOGS/lio.printed" >"$LOGS/difference"; then
        differing=$((differing + 1))
        echo "differs: $*"
        head -n 20 "$LOGS/difference"
    fi
}

# given STATUS COMMAND...: `both`, where the command must end with that exit status.
given() {
    local wanted=$1
    shift
    both "$@"
    [ "$(tail -n 1 "$LOGS/lio.printed")" = "exit status $wanted" ] ||
        { cat "$LOGS/lio.printed" && fail "$*: not exit status $wanted"; }
}

step "two volumes, a target by each way, logged in to both"
machine
daemon_start
members
snap pool create tank --level raid5 --strip 64KiB "${MEMBERS[@]}"
for way in lio portal; do
    snap target create "$IQN:scenario2-$way" --via $way
done
for lun in 0 1; do
    snap volume create "tank/vol$lun" $lun_bytes
    for way in lio portal; do snap lun map "$IQN:scenario2-$way" $lun "tank/vol$lun"; done
done
log_in $by_lio $LIO
log_in $by_portal $EMBEDDED
declare -A unit other
unit[lio]=$(generic "$(unit $by_lio 0 $LIO)")
other[lio]=$(generic "$(unit $by_lio 1 $LIO)")
unit[portal]=$(generic "$(unit $by_portal 0 $EMBEDDED)")
other[portal]=$(generic "$(unit $by_portal 1 $EMBEDDED)")

step "what the unit says of itself"
given 0 sg_turs UNIT
given 0 sg_inq UNIT
for page in 00 80 83 86 87 88 8f b0 b1 b2; do given 0 sg_vpd --page=0x$page UNIT; done
given 0 sg_vpd --all UNIT
given 0 sg_readcap UNIT
given 0 sg_readcap --16 UNIT
given 0 sg_modes --all UNIT
given 0 sg_modes --all --six UNIT
given 0 sg_opcodes UNIT
given 0 sg_opcodes --mask --rctd UNIT
given 0 sg_opcodes --tmf UNIT
given 0 sg_logs --all UNIT
given 0 sg_rtpg UNIT
given 0 sg_ident UNIT
given 0 sg_requests UNIT
both sg_inq --page=0xc0 UNIT

step "what changes the medium"
head -c 65536 /dev/urandom >"$LOGS/some"
head -c 65536 /dev/urandom >"$LOGS/others"
for way in lio portal; do sg_dd if="$LOGS/some" of="${unit[$way]}" bs=512 seek=0 count=128 2>/dev/null; done
given 0 sg_verify --lba=0 --count=128 UNIT
given 0 sg_verify --16 --lba=0 --count=128 UNIT
given 0 sg_verify --ndo=65536 --in="$LOGS/some" --lba=0 --count=128 UNIT
given 14 sg_verify --ndo=65536 --in="$LOGS/others" --lba=0 --count=128 UNIT
given 22 sg_verify --lba=0x7fffff00 --count=1 UNIT
given 0 sg_write_same --10 --lba=16 --num=16 -ff UNIT
given 0 sg_write_same --16 --lba=32 --num=16 --in="$LOGS/some" --xferlen=512 UNIT
given 0 sg_get_lba_status --lba=0 --maxlen=512 UNIT
given 0 sg_unmap --force --lba=1024 --num=2048 UNIT
given 0 sg_write_same --16 --unmap --lba=4096 --num=1024 UNIT
given 0 sg_get_lba_status --lba=1024 --maxlen=512 UNIT
given 0 sg_sync UNIT
given 0 sg_dd if=UNIT of=- bs=512 count=64 verbose=0
for way in lio portal; do
    # The block is other data afterwards, so each way has one of its own that begins the same.
    sg_dd if="$LOGS/some" of="${unit[$way]}" bs=512 seek=0 count=2 2>/dev/null
    head -c 1024 "$LOGS/some" >"$LOGS/compare"
    dd if="$LOGS/others" bs=512 count=2 status=none >>"$LOGS/compare"
    sg_compare_and_write --in="$LOGS/compare" --lba=0 --num=2 --xferlen=2048 "${unit[$way]}"
    sg_dd if="${unit[$way]}" of="$LOGS/read" bs=512 count=2 2>/dev/null
    cmp -n 1024 "$LOGS/read" "$LOGS/others" || fail "COMPARE AND WRITE has not written"
done
given 14 sg_compare_and_write --in="$LOGS/compare" --lba=0 --num=2 --xferlen=2048 UNIT

step "EXTENDED COPY from one volume to the other"
for way in lio portal; do
    sg_write_same --16 --lba=0 --num=2048 "${other[$way]}"
    sg_dd if="$LOGS/others" of="${unit[$way]}" bs=512 seek=128 count=128 2>/dev/null
    sg_xcopy if="${unit[$way]}" of="${other[$way]}" skip=128 seek=512 count=128 >"$LOGS/xcopy" 2>&1 ||
        { cat "$LOGS/xcopy" && fail "sg_xcopy over $way"; }
    sg_dd if="${other[$way]}" of="$LOGS/read" bs=512 skip=512 count=128 2>/dev/null
    cmp "$LOGS/read" "$LOGS/others" || fail "EXTENDED COPY over $way has not copied"
done
given 0 sg_copy_results --params UNIT

step "what no unit has"
given 9 sg_raw --request=64 UNIT c1 e0 02 03 04 05 06 07 08 09
given 9 sg_raw --send=32 --infile="$LOGS/some" UNIT c2 00 00 00 00 00 00 00 00 00
given 9 sg_raw --request=64 UNIT 7f 00 00 00 00 00 00 18 00 09 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01
both sg_raw --request=64 UNIT 12 01 c5 00 40 00
both sg_raw --request=64 UNIT 9e 1f 00 00 00 00 00 00 00 00 00 00 00 40 00 00

step "a reset by one way, and the unit attention after it by both"
for way in lio portal; do
    sg_reset --device --no-escalate "${unit[$way]}"
    for told in lio portal; do
        sg_raw "${unit[$told]}" 00 00 00 00 00 00 >"$LOGS/reset" 2>&1 || true
        grep -qi 'sense: .*reset' "$LOGS/reset" || { cat "$LOGS/reset" && fail "reset over $way: none over $told"; }
        sg_turs "${unit[$told]}"
    done
done

step "LIO's own: REPORT LUNS and PERSISTENT RESERVE, which never reach the unit"
for way in lio portal; do sg_luns --select=0 "${unit[$way]}" | grep -o '[0-9a-f]\{16\}' | sort >"$LOGS/luns.$way"; done
expect "the LUNs" "$(<"$LOGS/luns.lio")" "$(<"$LOGS/luns.portal")"
for way in lio portal; do
    {
        sg_persist --out --register --param-sark=0xabc "${unit[$way]}"
        sg_persist --out --reserve --param-rk=0xabc --prout-type=5 "${unit[$way]}"
        sg_persist --in --read-keys "${unit[$way]}"
        sg_persist --in --read-reservation "${unit[$way]}"
        sg_persist --out --release --param-rk=0xabc --prout-type=5 "${unit[$way]}"
        sg_persist --out --clear --param-rk=0xabc "${unit[$way]}"
        sg_persist --in --read-keys "${unit[$way]}"
    } >"$LOGS/persist.$way" 2>&1 || { cat "$LOGS/persist.$way" && fail "PERSISTENT RESERVE over $way"; }
    # Each counts generations for itself.
    grep -oE 'Key=0x[0-9a-f]+|key=0x[0-9a-f]+|type: .*|NO registered.*|no registered.*' "$LOGS/persist.$way" >"$LOGS/persist.$way.facts"
done
expect "what PERSISTENT RESERVE tells" "$(<"$LOGS/persist.lio.facts")" "$(<"$LOGS/persist.portal.facts")"

log_out $by_lio $LIO
log_out $by_portal $EMBEDDED
expect "the number of commands that differ" $differing 0
fact "$compared commands by both ways, none differs"
nothing_stuck
daemon_stop
