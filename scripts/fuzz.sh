#!/usr/bin/env bash
# Coverage-guided searches, one after another, each for some seconds: cargo-fuzz and atheris.
#
#   fuzz.sh PYTHON SECONDS [TARGET...]
#
# What a search finds new stays in rust/fuzz/found and tests/fuzz/found; the corpora beside them
# are read only. A crash ends with 1, and its input is kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=$1 seconds=$2
shift 2
# Longer inputs only repeat what shorter ones do.
options=(-max_total_time="$seconds" -max_len=8192 -timeout=20 -print_final_stats=1)

# The sanitizers and coverage that libFuzzer needs are unstable options of the stable compiler.
export RUSTC_BOOTSTRAP=1

rust_target() {
    mkdir -p "rust/fuzz/found/$1"
    (cd rust/fuzz && cargo fuzz run -O "$1" "found/$1" "corpus/$1" -- "${options[@]}")
}

python_target() {
    mkdir -p "tests/fuzz/found/$1"
    "$python" -m "tests.fuzz.$1" "tests/fuzz/found/$1" "tests/fuzz/corpus/$1" \
        -artifact_prefix="tests/fuzz/found/" "${options[@]}"
}

[ $# -gt 0 ] || set -- pdu cdb ring login_text commands
for target in "$@"; do
    echo "== $target, $seconds s"
    if [ -f "rust/fuzz/fuzz_targets/$target.rs" ]; then
        search=rust_target
    elif [ -f "tests/fuzz/$target.py" ]; then
        search=python_target
    else
        echo "error: there is no fuzz target $target" >&2
        exit 1
    fi
    log=$(mktemp)
    if ! $search "$target" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        echo "error: $target found something; its input is kept" >&2
        exit 1
    fi
    grep -E '^(Done|stat::)' "$log" || { cat "$log" >&2; exit 1; }
    rm -f "$log"
done
