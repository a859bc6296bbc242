"""Any CDBs and parameter lists to a target: completions that are whole, no exception, no write
outside the medium; and the target goes on.

Input, command by command: a byte of nexus and LUN, a byte of the CDB's length and how the Data-Out
is as long as the CDB says, the CDB, a byte that is a quarter of the length of the Data-Out that
is given, the Data-Out.
"""

import atheris

with atheris.instrument_imports(include=["scsi_snap"]):
    from tests.t6_scsi.bus import make_bus
    from tests.t6_scsi.fakes import MemoryDevice
    from tests.t6_scsi.test_hostile import check_completion

BLOCKS = 64
TEST_UNIT_READY = bytes(6)
LENGTHS = (6, 10, 12, 16, 32, 0, 5, 15)
REPEATED = 0x80
COMMANDS_MAX = 16


def test_one_input(data: bytes) -> None:
    bus = make_bus(MemoryDevice(blocks=BLOCKS))
    for _ in range(COMMANDS_MAX):
        if len(data) < 3:
            break
        place, shape = data[0], data[1]
        length = LENGTHS[shape & 7]
        cdb, data = data[2 : 2 + length], data[2 + length :]
        given = 4 * data[0] if data else 0
        data_out, data = data[1 : 1 + given], data[1 + given :]
        if shape & REPEATED:
            data_out = data_out.ljust(1, b"\0") * (4096 // max(1, len(data_out)))
        done = bus.command(list(cdb), data_out, lun=(place >> 4) << 48, nexus=1 + place % 3)
        check_completion(*done)
    # What runs in the background has nothing to hide from the end.
    bus.unit.close()
    assert len(bus.device.data) == BLOCKS * bus.device.block_bytes
    status, sense, _, _ = bus.command(list(TEST_UNIT_READY), nexus=4)
    # A nexus that comes now is told of the power on, or that another one has reserved the unit.
    assert status != 0x00
    assert not sense or sense[2] & 0x0F == 6 or sense[1] & 0x0F == 6


if __name__ == "__main__":
    import sys

    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
