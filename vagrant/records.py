"""Numbered records on a block device, so that what it holds tells what had been written, and when.

    records.py write DEVICE LOG            until it is ended; needs an empty device
    records.py verify DEVICE LEAST MOST    what the device holds is one point in time

The writer puts record 1, 2, 3 ... each into its slot, one after another, each flushed before the
next; LOG has the number of the last flushed one. So a point in time is one number: the device holds
what the records up to it left, and nothing of any later one. The verifier finds the number, which
must not be below LEAST nor above MOST, and prints it.

With --torn, the one record after that may be there in part: it was under way at a power cut.
"""

import argparse
import os
import struct
import sys
from pathlib import Path

RECORD_BYTES = 64 << 10
SECTOR_BYTES = 512
SLOTS = 509
"""A prime: slots are visited with a stride, so that neighbours are not written in order."""
STRIDE = 101
NUMBER = struct.Struct("<QQ")


def slot_of(number: int) -> int:
    return number * STRIDE % SLOTS


def record(number: int) -> bytes:
    """Each sector has the record's number and its own place, so that a mix shows."""
    places = range(RECORD_BYTES // SECTOR_BYTES)
    return b"".join(NUMBER.pack(number, place).ljust(SECTOR_BYTES, b"r") for place in places)


def write(device: Path, log: Path) -> None:
    """Goes on until it is ended."""
    disk = os.open(device, os.O_WRONLY)
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_DSYNC)
    number = 0
    while True:
        number += 1
        os.pwrite(disk, record(number), slot_of(number) * RECORD_BYTES)
        os.fsync(disk)
        os.pwrite(said, b"%20d\n" % number, 0)


def verify(device: Path, least: int, most: int, *, torn: bool) -> int:
    """The point in time that the device holds; ends the program where it holds none such."""
    held = contents(device)
    whole = {slot: number for slot, number in held.items() if number is not None}
    point = max(whole.values(), default=0)
    under_way = slot_of(point + 1) if torn else None
    for slot in range(SLOTS):
        expected = latest(slot, point)
        if held.get(slot, 0) != expected and slot != under_way:
            sys.exit(f"{device}: slot {slot} holds {held[slot]}, at {point} it held {expected}")
    if not least <= point <= most:
        sys.exit(f"{device}: holds the point {point}, not one from {least} to {most}")
    return point


def contents(device: Path) -> dict[int, int | None]:
    """By slot: the number of its record, 0 where it is empty, None where it is no whole one."""
    found: dict[int, int | None] = {}
    disk = os.open(device, os.O_RDONLY)
    for slot in range(SLOTS):
        held = os.pread(disk, RECORD_BYTES, slot * RECORD_BYTES)
        number = NUMBER.unpack_from(held)[0]
        wanted = record(number) if number else bytes(RECORD_BYTES)
        found[slot] = number if held == wanted else None
    os.close(disk)
    return found


def latest(slot: int, point: int) -> int:
    """The last record up to `point` that went into the slot; 0 where none did."""
    # STRIDE has an inverse, as SLOTS is a prime.
    first = slot * pow(STRIDE, -1, SLOTS) % SLOTS
    number = first + (point - first) // SLOTS * SLOTS
    return max(number, 0)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    writer = verbs.add_parser("write")
    writer.add_argument("device", type=Path)
    writer.add_argument("log", type=Path)
    verifier = verbs.add_parser("verify")
    verifier.add_argument("device", type=Path)
    verifier.add_argument("least", type=int)
    verifier.add_argument("most", type=int)
    verifier.add_argument("--torn", action="store_true")
    given = parser.parse_args()
    if given.verb == "write":
        write(given.device, given.log)
    else:
        print(verify(given.device, given.least, given.most, torn=given.torn))


main()
