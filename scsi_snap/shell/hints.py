"""What the daemon advises to type at the command line, as it is typed in the shell."""

from __future__ import annotations

import re

_POOLS, _TARGETS = "/scsi_snap/pools", "/scsi_snap/targets"
_NAME = r"([^ `/@]+)"
_VERBS: tuple[tuple[str, str], ...] = (
    (rf"pool show {_NAME}", rf"{_POOLS}/\1 info"),
    (rf"pool (?:destroy|delete) {_NAME}", rf"{_POOLS} delete \1"),
    (rf"pool export {_NAME}", rf"{_POOLS} export \1"),
    (rf"pool import --name {_NAME}(?: \.\.\.)?", rf"{_POOLS} import name=\1"),
    (r"pool import", f"{_POOLS} import"),
    (r"pool list", f"ls {_POOLS}"),
    (rf"volume delete --snapshots {_NAME}/{_NAME}", rf"{_POOLS}/\1 delete \2 snapshots=true"),
    (rf"volume delete {_NAME}/{_NAME}", rf"{_POOLS}/\1 delete \2"),
    (rf"volume set {_NAME}/{_NAME}(?: [^`]*)?", rf"{_POOLS}/\1/\2 set volume"),
    (rf"volume show {_NAME}/{_NAME}", rf"{_POOLS}/\1/\2 info"),
    (r"volume list(?: [^`]*)?", f"ls {_POOLS}"),
    (rf"snapshot delete {_NAME}/{_NAME}@{_NAME}", rf"{_POOLS}/\1/\2 delete \3"),
    (rf"snapshot list {_NAME}/{_NAME}", rf"ls {_POOLS}/\1/\2"),
    (rf"lun list {_NAME}", rf"ls {_TARGETS}/\1"),
    (rf"lun unmap {_NAME} ([0-9]+) --initiator {_NAME}", rf"{_TARGETS}/\1 unmap \2 initiator=\3"),
    (rf"target show {_NAME}", rf"{_TARGETS}/\1 info"),
    (r"target list", f"ls {_TARGETS}"),
    (rf"target create --via {_NAME} {_NAME}", rf"{_TARGETS} create \2 via=\1"),
    (rf"target create --via {_NAME}", rf"{_TARGETS} create IQN via=\1"),
    (rf"target delete --close-sessions {_NAME}", rf"{_TARGETS} delete \1 close_sessions=true"),
    (rf"target add-group {_NAME} {_NAME}", rf"{_TARGETS}/\1 add_group \2"),
    (
        rf"target remove-group --close-sessions {_NAME} {_NAME}",
        rf"{_TARGETS}/\1 remove_group \2 close_sessions=true",
    ),
    (rf"target allow {_NAME} --any", rf"{_TARGETS}/\1 allow_any"),
    (rf"target allow {_NAME} {_NAME}", rf"{_TARGETS}/\1 allow \2"),
    (rf"target deny {_NAME} {_NAME}", rf"{_TARGETS}/\1 deny \2"),
    (r"target chap --help", f"help set` at `{_TARGETS}/IQN"),
    (r"target chap(?: [^`]*)?", f"{_TARGETS}/IQN set auth userid=USER password=SECRET"),
    (rf"portal delete {_NAME}", r"/scsi_snap/portals delete \1"),
    (r"portal list", "ls /scsi_snap/portals"),
    (r"session list", "ls /scsi_snap/sessions"),
    (r"events", "/scsi_snap/events show"),
    (rf"check {_NAME}/{_NAME}", rf"{_POOLS}/\1/\2 check"),
    (rf"check {_NAME}", rf"{_POOLS}/\1 check"),
    (r"check", "/scsi_snap check"),
    (r"status", "/scsi_snap info"),
)
_UNMAP_ALL = re.compile(rf"lun unmap {_NAME} ((?:[0-9]+ ?)+)")
_TYPED = re.compile(r"`scsi-snap ([^`]+)`")


def in_shell(hint: str) -> str:
    """`hint` with each command of the command line as one of the shell's. What the shell has no
    word for, such as starting a daemon, stays."""
    return _TYPED.sub(lambda found: f"`{_translated(found[1])}`", hint)


def _translated(command: str) -> str:
    unmapped = _UNMAP_ALL.fullmatch(command)
    if unmapped is not None:
        target, numbers = unmapped.groups()
        return "` and `".join(f"{_TARGETS}/{target} unmap {lun}" for lun in numbers.split())
    for pattern, words in _VERBS:
        found = re.fullmatch(pattern, command)
        if found is not None:
            return found.expand(words)
    return f"scsi-snap {command}"
