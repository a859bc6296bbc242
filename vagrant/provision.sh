#!/bin/bash
# What a machine of Vagrant's needs for the scenarios: Debian packages, a kernel with the target's
# modules, and scsi_snap from the wheel that `make wheel` has made on the host.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
tree=/scsi_snap

apt-get update -q
# shellcheck disable=SC2046  # one word a package
apt-get install -y -q --no-install-recommends linux-image-amd64 python3-venv $(cat $tree/vagrant/packages)

# The scenarios start what they need themselves, and stand alone on their ports.
systemctl disable --quiet --now iscsid.service iscsid.socket open-iscsi.service targetclid.socket \
    targetclid.service rtslib-fb-targetctl.service tcmu-runner.service 2>/dev/null || true

python3 -m venv /opt/scsi-snap
wheel=$(ls -t $tree/dist/scsi_snap-*.whl | head -n 1)
/opt/scsi-snap/bin/pip install --quiet --force-reinstall "${wheel}[lio]"
