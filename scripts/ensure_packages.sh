#!/usr/bin/env bash
# Debian packages that are needed, by name: installs the missing ones where it may, else says which.
#
#   ensure_packages.sh PACKAGE...
#
# As root on Debian or a relative: apt-get, without questions; package lists are fetched only where
# the ones at hand do not do. As another user, or without dpkg: a message, and 1.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

# QEMU loads its iSCSI driver (qemu-block-extra) only where both are of one build. Prints what to
# install for that; where no repository has the driver for the installed qemu-utils, both at the
# version that it has.
qemu_of_one_build() {
    local have newest
    have=$(dpkg-query -W -f '${Version}' qemu-utils)
    if apt-cache madison qemu-block-extra | awk '{print $3}' | grep -qxF -- "$have"; then
        echo "qemu-block-extra=$have"
    else
        newest=$(apt-cache policy qemu-block-extra | awk '/Candidate:/ {print $2}')
        echo "qemu-utils=$newest qemu-block-extra=$newest"
    fi
}

wanted() {
    for package in "${missing[@]}"; do
        if [ "$package" = qemu-block-extra ] && is_installed qemu-utils; then
            qemu_of_one_build
        else
            echo "$package"
        fi
    done
}

install() {
    # shellcheck disable=SC2046  # one word a package is what is meant
    apt-get install -y -q --no-install-recommends --allow-downgrades $(wanted) </dev/null
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    if [ "${SCSI_SNAP_PACKAGES:-}" != present ]; then
        echo "error: this is no Debian; install what these Debian packages hold: $*" >&2
        echo "    then run the same command again with SCSI_SNAP_PACKAGES=present" >&2
        exit 1
    fi
    exit 0
fi

missing=()
for package in "$@"; do
    is_installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "error: Debian packages are missing. Install them, then run the same command again:" >&2
    echo "    sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi

echo "installing Debian packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! install >"$log" 2>&1 && ! { apt-get update -q </dev/null && install; } >"$log" 2>&1; then
    cat "$log" >&2
    echo "error: apt-get could not install: ${missing[*]}" >&2
    exit 1
fi
