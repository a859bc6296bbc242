"""What is told of a device's configuration before the device is made."""

from scsi_snap.control.backing_check import backing_check
from scsi_snap.control.snapshots import SnapshotToMake
from tests.controllers import MONDAY, Controller


def test_a_configuration_is_right_or_told_what_is_wrong(controller: Controller) -> None:
    controller.with_volume()
    controller.service.snapshots.create([SnapshotToMake(MONDAY, None)])
    check = backing_check(controller.service)
    for good in ("tank/vol0", "tank/vol0@monday", "tank/vol0?ro"):
        assert check(good) is None
    assert "no volume in pool 'tank' named 'a:b'" in str(check("tank/a%3Ab"))
    assert "named 'none'" in str(check("tank/vol0@none"))
    assert "write POOL/VOLUME" in str(check("tank"))
    assert check("") and check("tank/vol0\n")
