"""TCMU devices as /sys shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from scsi_snap.lio.uio import UioTree
from tests.simulated_kernel import SimulatedKernel


@pytest.fixture
def kernel(tmp_path: Path) -> SimulatedKernel:
    return SimulatedKernel(tmp_path)


def test_our_devices_are_found_by_their_subtype(kernel: SimulatedKernel) -> None:
    kernel.add_device("a", "scsi-snap/tank/vol0", 1 << 20)
    kernel.add_device("theirs", "rbd/pool/image", 1 << 20)
    kernel.add_device("b", "scsi_snap/tank/vol0@monday?ro", 1 << 20)
    first, second = kernel.tree.devices()
    assert (first.uio, first.hba, first.name, first.config) == ("uio0", 0, "a", "tank/vol0")
    assert (second.uio, second.config) == ("uio2", "tank/vol0@monday?ro")
    assert first.region_bytes == 0x10800000
    assert first.node == kernel.dev / "uio0"
    assert kernel.tree.named("b") == second and kernel.tree.named("theirs") is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "other",
        "tcm-user/0/a",
        "tcm-user/0/a/scsi-snap",
        "tcm-user/0/a/rbd/x",
        "/////",
        "tcm-user/x/a/scsi-snap/t/v",
        "\udcff",
    ],
)
def test_what_is_no_device_of_ours(kernel: SimulatedKernel, name: str) -> None:
    uio = kernel.add_device("a", "scsi-snap/tank/vol0", 1 << 20)
    (kernel.sys / "class/uio" / uio / "name").write_bytes(name.encode(errors="surrogateescape"))
    assert kernel.tree.devices() == []


def test_where_there_is_no_uio_at_all(tmp_path: Path) -> None:
    assert UioTree(tmp_path, tmp_path).devices() == []
    UioTree(tmp_path, tmp_path).free_netlink()


def test_ten_devices_come_in_their_order(kernel: SimulatedKernel) -> None:
    for number in range(12):
        kernel.add_device(f"d{number}", "scsi-snap/tank/vol0", 1 << 20)
    assert [one.name for one in kernel.tree.devices()] == [f"d{n}" for n in range(12)]


def test_what_a_device_is_told(kernel: SimulatedKernel) -> None:
    kernel.add_device("a", "scsi-snap/tank/vol0", 1 << 20, cmd_time_out=30, reply=1)
    (device,) = kernel.tree.devices()
    assert device.gives_up_after_s() == 30 and device.expects_answers()
    device.prepare()
    assert device.gives_up_after_s() == 0
    assert kernel.attribute("a", "attrib/tmr_notification") == "1"
    device.set_size(1 << 21)
    assert device.size_bytes() == 1 << 21
    device.block()
    device.reset_ring()
    assert kernel.attribute("a", "action/block_dev") == "1"
    assert kernel.attribute("a", "action/reset_ring") == "1"
    device.unblock()
    assert kernel.attribute("a", "action/block_dev") == "0"


def test_a_device_that_has_gone(kernel: SimulatedKernel) -> None:
    kernel.add_device("a", "scsi-snap/tank/vol0", 1 << 20)
    (device,) = kernel.tree.devices()
    kernel.remove_device("a")
    assert device.size_bytes() is None and device.gives_up_after_s() == 0
    device.prepare()
    assert not device.expects_answers()
    device.block()
    device.set_size(1)
    assert kernel.tree.device("uio0") is None
