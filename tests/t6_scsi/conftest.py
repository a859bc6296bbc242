"""What most tests begin with."""

import pytest

from tests.t6_scsi.bus import Bus, make_bus
from tests.t6_scsi.fakes import MemoryDevice


@pytest.fixture
def bus() -> Bus:
    return make_bus(MemoryDevice())


@pytest.fixture(params=[512, 4096])
def bus_of(request: pytest.FixtureRequest) -> Bus:
    """The same, with each block length."""
    return make_bus(MemoryDevice(block_bytes=request.param))


@pytest.fixture
def read_only_bus() -> Bus:
    return make_bus(MemoryDevice(read_only=True))
