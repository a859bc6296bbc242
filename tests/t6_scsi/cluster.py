"""What a cluster's nodes send: PERSISTENT RESERVE OUT and IN, and the answers taken apart."""

from __future__ import annotations

from dataclasses import dataclass

from tests.t6_scsi.bus import Bus

REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT = range(6)
IGNORE_EXISTING_KEY, MOVE, REPLACE_LOST = 6, 7, 8
READ_KEYS, READ_RESERVATION, REPORT_CAPABILITIES, READ_FULL_STATUS = range(4)
WE, EA, WE_RO, EA_RO, WE_AR, EA_AR = 1, 3, 5, 6, 7, 8
TYPES = (WE, EA, WE_RO, EA_RO, WE_AR, EA_AR)
APTPL, ALL_TG_PT, SPEC_I_PT = 0x01, 0x04, 0x08

READ_10 = [0x28, 0, *[0, 0, 0, 7], 0, *[0, 1], 0]
WRITE_10 = [0x2A, *READ_10[1:]]
BLOCK = bytes(512)


def out_cdb(action: int, length: int, kind: int = 0, scope: int = 0) -> list[int]:
    """PERSISTENT RESERVE OUT (SPC-4, 6.16.1)."""
    return [0x5F, action, scope << 4 | kind, 0, 0, *length.to_bytes(4, "big"), 0]


def basic(key: int, action_key: int = 0, flags: int = 0, more: bytes = b"") -> bytes:
    """The basic parameter list (SPC-4, 6.16.3)."""
    keys = key.to_bytes(8, "big") + action_key.to_bytes(8, "big")
    return keys + bytes(4) + bytes([flags, 0, 0, 0]) + more


def moving(key: int, action_key: int, transport_id: bytes, *, port: int, flags: int = 0) -> bytes:
    """The parameter list of REGISTER AND MOVE (SPC-4, 6.16.4)."""
    keys = key.to_bytes(8, "big") + action_key.to_bytes(8, "big")
    to = bytes([0, flags]) + port.to_bytes(2, "big")
    return keys + to + len(transport_id).to_bytes(4, "big") + transport_id


def counted(transport_ids: bytes) -> bytes:
    """TRANSPORTID PARAMETER DATA LENGTH and what it counts."""
    return len(transport_ids).to_bytes(4, "big") + transport_ids


def transport_id(name: str, form: int = 0x40) -> bytes:
    """An iSCSI TransportID (SPC-4, 7.6.4.6)."""
    text = name.encode() + b"\0"
    text += bytes(-len(text) % 4)
    text = text.ljust(20, b"\0")
    return bytes([form | 0x05, 0]) + len(text).to_bytes(2, "big") + text


def port_name(nexus: int) -> str:
    """The initiator port of a nexus on the bus, spelt as a SCSI name."""
    return f"iqn.2026-11.org.example:host{nexus},i,0x{nexus:012x}"


@dataclass(frozen=True)
class Cluster:
    """Nodes on one bus; a node is a nexus."""

    bus: Bus

    def out(
        self, nexus: int, action: int, key: int, action_key: int = 0, kind: int = 0, flags: int = 0
    ) -> int:
        """A PERSISTENT RESERVE OUT; its status."""
        return self.command(nexus, action, basic(key, action_key, flags), kind)[0]

    def command(
        self, nexus: int, action: int, parameters: bytes, kind: int = 0
    ) -> tuple[int, bytes]:
        """Status and sense."""
        cdb = out_cdb(action, len(parameters), kind)
        status, sense, _, _ = self.bus.command(cdb, parameters, nexus=nexus)
        return status, sense

    def join(self, *nexuses: int, flags: int = 0) -> None:
        """Registers each with its own key, and clears what it has to learn first."""
        for nexus in nexuses:
            self.bus.clear_attentions(nexus)
            assert self.out(nexus, IGNORE_EXISTING_KEY, 0, key_of(nexus), flags=flags) == 0

    def reserve(self, nexus: int, kind: int) -> None:
        assert self.out(nexus, RESERVE, key_of(nexus), kind=kind) == 0

    def read(self, action: int, nexus: int = 1, length: int = 4096) -> bytes:
        """The parameter data of a PERSISTENT RESERVE IN."""
        cdb = [0x5E, action, 0, 0, 0, 0, 0, *length.to_bytes(2, "big"), 0]
        return self.bus.good(cdb, nexus=nexus)

    def registered(self, nexus: int = 1) -> list[int]:
        data = self.read(READ_KEYS, nexus, 0xFFFF)
        assert int.from_bytes(data[4:8], "big") == len(data) - 8
        return [int.from_bytes(data[at : at + 8], "big") for at in range(8, len(data), 8)]

    def generation(self, nexus: int = 1) -> int:
        return int.from_bytes(self.read(READ_KEYS, nexus)[:4], "big")

    def reservation(self, nexus: int = 1) -> tuple[int, int] | None:
        """Holder's key and type."""
        data = self.read(READ_RESERVATION, nexus)
        assert int.from_bytes(data[4:8], "big") == len(data) - 8 and len(data) in (8, 24)
        return (int.from_bytes(data[8:16], "big"), data[21]) if len(data) == 24 else None

    def reads(self, nexus: int) -> bool:
        return not self.bus.conflicts(READ_10, nexus=nexus)

    def writes(self, nexus: int) -> bool:
        return not self.bus.conflicts(WRITE_10, BLOCK, nexus=nexus)

    def learns(self, nexus: int) -> list[tuple[int, int, int]]:
        """The unit attentions that are pending for a node."""
        found = []
        while True:
            status, sense, _, _ = self.bus.command([0] * 6, nexus=nexus)
            if status == 0:
                return found
            found.append((sense[2], sense[12], sense[13]))


def key_of(nexus: int) -> int:
    return 0xABC0 + nexus
