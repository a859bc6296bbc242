"""The command line, end to end: click, HTTP over a real socket, the service on fakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from scsi_snap.cli.exit_codes import EXIT_CODES
from scsi_snap.cli.main import cli
from tests.controllers import IQN, Controller, served
from tests.fakes import Disks, FakePool


class Shell:
    """Types commands at one daemon."""

    def __init__(self, socket_path: Path) -> None:
        self._environment = {"SCSI_SNAP_SOCKET": str(socket_path)}
        self._runner = CliRunner()

    def run(self, line: str, stdin: str | None = None, **environment: str) -> Result:
        result = self._runner.invoke(
            cli,
            line.split(),
            input=stdin,
            env={**self._environment, **environment},
            prog_name="scsi-snap",
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def __call__(self, line: str, stdin: str | None = None) -> str:
        """The output of a command that succeeds."""
        result = self.run(line, stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def complete(self, line: str) -> list[str]:
        """What the shell offers at the end of `line`."""
        words = line.split(" ")
        environment = {
            "_SCSI_SNAP_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        }
        result = self._runner.invoke(
            cli, [], env={**self._environment, **environment}, prog_name="scsi-snap"
        )
        return [offer.partition(",")[2] for offer in result.stdout.split()]


@pytest.fixture
def shell(controller: Controller) -> Iterator[Shell]:
    with served(controller.service) as client:
        yield Shell(client._socket_path)


@pytest.fixture
def tour(shell: Shell) -> Shell:
    return toured(shell)


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """After the tour, shared by tests that change nothing."""
    controller = Controller.start(tmp_path_factory.mktemp("reading"), Disks())
    with served(controller.service) as client:
        yield toured(Shell(client._socket_path))


def toured(shell: Shell) -> Shell:
    """Types a first tour: a pool, a volume, a snapshot, both of them mapped."""
    shell("pool create tank --level raid5 --strip 64KiB /m1:1GiB /m2:1GiB /m3:1GiB")
    shell("volume create tank/vol0 1MiB")
    shell("snapshot create tank/vol0@monday")
    shell(f"target create {IQN}")
    shell(f"lun map {IQN} 0 tank/vol0")
    shell(f"lun map {IQN} 1 tank/vol0@monday")
    return shell


def test_status_waits_for_a_daemon_that_is_starting(
    controller: Controller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "control.sock"
    with served(controller.service) as client:
        asked = []

        def sleep(seconds: float) -> None:
            asked.append(seconds)
            if len(asked) == 3:
                path.symlink_to(client._socket_path)

        monkeypatch.setattr("time.sleep", sleep)
        assert "version" in Shell(path)("status --wait 60")
        assert len(asked) == 3
    path.unlink()
    ended = Shell(path).run("status --wait 0.000001")
    assert ended.exit_code == EXIT_CODES["daemon-unreachable"]
    assert "no daemon answers" in ended.stderr


def test_each_verb_says_what_it_did(shell: Shell) -> None:
    create = "pool create tank /m1:1GiB /m2:1GiB /m3:1GiB"
    assert shell(create) == "created pool tank\n"
    assert shell(create) == "unchanged: pool tank\n"
    assert shell("volume create tank/vol0 1MiB --chunk 4KiB") == "created volume tank/vol0\n"
    assert shell("snapshot create tank/vol0@a --range 8+16") == "created snapshot tank/vol0@a\n"
    assert shell(f"target create {IQN}") == f"created target {IQN}\n"
    assert shell(f"lun map {IQN} 0 tank/vol0@a") == f"created LUN 0 of {IQN}: tank/vol0@a\n"
    assert shell(f"lun unmap {IQN} 0") == f"unmapped LUN 0 of {IQN}\n"
    assert shell("snapshot delete tank/vol0@a") == "deleted snapshot tank/vol0@a\n"
    assert shell(f"target delete {IQN}") == f"deleted target {IQN}\n"
    assert shell("volume resize tank/vol0 2MiB") == "changed volume tank/vol0\n"
    assert shell("volume resize tank/vol0 +512KiB") == "changed volume tank/vol0\n"
    assert shell("volume resize tank/vol0 2.5MiB") == "unchanged: volume tank/vol0\n"
    assert shell("volume delete tank/vol0") == "deleted volume tank/vol0\n"
    assert shell("pool export tank") == "exported pool tank\n"
    assert shell("pool import /m1 /m2 /m3") == "imported pool tank\n"
    assert shell("pool import /m1 /m2 /m3") == "unchanged: pool tank\n"
    assert shell("pool fail-member tank /m3 --yes") == "changed pool tank: /m3 is failed\n"
    assert shell("pool destroy tank --yes") == (
        "destroyed pool tank\n  free to be used again: /m1 /m2 /m3\n"
    )


def test_a_personality_is_chosen_shown_and_changed(shell: Shell) -> None:
    shell("pool create tank /m1:1GiB /m2:1GiB /m3:1GiB")
    options = "--provisioning full --removable --vendor ACME --serial A1 --naa 5000c50000000001"
    shell(f"volume create tank/vol0 1MiB --block 4096 {options}")
    shown = dict(line.split(maxsplit=1) for line in shell("volume show tank/vol0").splitlines())
    assert (shown["provisioning"], shown["access"], shown["removable"]) == (
        "full",
        "read-write",
        "yes",
    )
    assert (shown["vendor"], shown["serial"], shown["naa"]) == ("ACME", "A1", "5000c50000000001")
    assert shell("volume set tank/vol0 --read-only --fixed") == "changed volume tank/vol0\n"
    assert shell("volume set tank/vol0 --read-only") == "unchanged: volume tank/vol0\n"
    found = json.loads(shell("volume show tank/vol0 --json"))
    assert (found["read_only"], found["removable"], found["product"]) == (
        True,
        False,
        "VIRTUAL DISK",
    )
    refused = shell.run("volume set tank/vol0 --provisioning thin")
    assert refused.exit_code == EXIT_CODES["invalid-argument"] and "stays so" in refused.output
    assert shell.complete("scsi-snap volume set ta") == ["tank/vol0"]
    assert shell.complete("scsi-snap volume create --provisioning f") == ["full"]


def test_lists_are_tables(reading: Shell) -> None:
    assert reading("pool list").splitlines()[1].split() == [
        "tank",
        "optimal",
        "raid5",
        "1TiB",
        "1TiB",
    ]
    (row,) = reading("volume list tank").splitlines()[1:]
    assert row.split()[:4] == ["tank/vol0", "1MiB", "1", "0B"] and row.endswith(f"{IQN} LUN 0")
    (row,) = reading("snapshot list tank/vol0").splitlines()[1:]
    assert "live" in row and "whole volume" in row
    assert [line.split()[1:4:2] for line in reading(f"lun list {IQN}").splitlines()[1:]] == [
        ["0", "read-write"],
        ["1", "read-only"],
    ]
    assert "any initiator" in reading("target list")
    assert reading("status").startswith("version")
    assert reading("check") == "tank: clean\ntank/vol0: clean\n"


@pytest.mark.parametrize(
    "command",
    [
        "pool list",
        "pool show tank",
        "volume list",
        "volume show tank/vol0",
        "snapshot list",
        "snapshot show tank/vol0@monday",
        "snapshot diff tank/vol0@monday",
        "snapshot extents tank/vol0@monday",
        "snapshot map tank/vol0@monday",
        "target list",
        f"target show {IQN}",
        "lun list",
        "session list",
        "status",
        "events",
        "check tank",
        "check tank/vol0",
        "volume create tank/vol0 1MiB",
    ],
)
def test_json_parses_and_text_is_not_json(reading: Shell, command: str) -> None:
    assert json.loads(reading(f"{command} --json")) is not None
    with pytest.raises(ValueError):
        json.loads(reading(command))


def test_diff_lists_extents_and_sums_them(tour: Shell, controller: Controller) -> None:
    controller.write(128, 1)
    lines = tour("snapshot diff tank/vol0@monday").splitlines()
    assert lines[1].split() == ["128", "128", "65536"]
    assert lines[-1] == "1 extent, 64KiB changed"
    tour("snapshot create tank/vol0@tuesday")
    found = json.loads(tour("snapshot diff tank/vol0@monday tank/vol0@tuesday --json"))
    assert found["extents"] == [{"first_lba": 128, "blocks": 128, "bytes": 65536}]
    assert "next_lba" not in found
    assert tour("snapshot diff tank/vol0@tuesday").splitlines()[-1] == "0 extents, 0B changed"


def test_extents_are_listed_and_summed(tour: Shell) -> None:
    lines = tour("snapshot extents tank/vol0@monday").splitlines()
    assert lines[1].split()[0] == "0" and lines[-1].endswith(" allocated")
    found = json.loads(tour("snapshot extents tank/vol0@monday --json"))
    assert sum(one["bytes"] for one in found["extents"]) == int(lines[1].split()[2])
    assert "next_lba" not in found


def test_a_long_diff_is_read_page_by_page(
    tour: Shell, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = controller.service.snapshots.diff
    monkeypatch.setattr(
        controller.service.snapshots,
        "diff",
        lambda since, until, first_lba, limit: whole(since, until, first_lba, 2),
    )
    for chunk in range(0, 16, 2):
        controller.write(chunk * 128, 1)
    assert len(json.loads(tour("snapshot diff tank/vol0@monday --json"))["extents"]) == 8
    assert len(tour("snapshot diff tank/vol0@monday").splitlines()) == 10


def test_the_map_is_drawn_with_blocks_or_in_ascii(tour: Shell, controller: Controller) -> None:
    controller.write(0, 1)
    command = "snapshot map tank/vol0@monday"
    assert "|█···············|" in tour(command).replace(" ", "")
    runner = CliRunner(charset="ascii")
    environment = tour._environment
    result = runner.invoke(cli, command.split(), env=environment, prog_name="scsi-snap")
    assert "|#...............|" in result.stdout.replace(" ", "")
    assert result.stdout.isascii()


@pytest.mark.parametrize(
    ("command", "code", "message", "hint"),
    [
        ("volume create tnk/v 1MiB", "not-found", "no pool named 'tnk'", "did you mean 'tank'?"),
        ("volume create tank/vol0 2MiB", "exists", "other parameters", "volume show tank/vol0"),
        ("volume resize tank/vol0 512KiB", "unsupported", "cannot shrink", "smaller volume"),
        ("volume delete tank/vol0", "busy", f"LUN 0 of {IQN}", f"scsi-snap lun unmap {IQN} 0"),
        ("snapshot create tank/vol0@monday", "exists", "there already", "point in time"),
        ("snapshot show tank/vol0@mond", "not-found", "'mond'", "did you mean 'monday'?"),
        ("snapshot show tank/vol0", "invalid-argument", "not a snapshot", "tank/vol0@monday"),
        ("volume show tank", "invalid-argument", "not a volume", "tank/vol0"),
        ("volume create tank/v 10GB", "invalid-argument", "10GB", "GiB"),
        ("snapshot create tank/vol0@x --range 5", "invalid-argument", "'5'", "LBA+COUNT"),
        ("pool create lake x:9Q", "invalid-argument", "9Q", "KiB"),
        ("pool import", "invalid-argument", "no members", "members"),
        ("session close 7", "not-found", "no session 7", "session list"),
        ("target create disk", "invalid-argument", "disk", "iqn."),
        ("pool create lake rbd:pool/image", "invalid-argument", "Ceph RBD", "files"),
        ("pool create lake /m1", "busy", "belongs to pool 'tank'", "pool show tank"),
        ("snapshot diff tank/vol0@monday tank/vol0", "invalid-argument", "not a snapshot", "@"),
        ("pool fail-member tank m1 --yes", "not-found", "/m1'", "pool show tank"),
        (f"lun map {IQN} one tank/vol0", "invalid-argument", "'LUN'", "scsi-snap lun map --help"),
        ("pool show", "invalid-argument", "missing argument", "scsi-snap pool show --help"),
        ("pool paint", "invalid-argument", "'paint'", "scsi-snap pool --help"),
        ("--colour", "invalid-argument", "'--colour'", "scsi-snap --help"),
        (f"target chap {IQN} --user me", "invalid-argument", "no CHAP secret", "--help"),
    ],
)
def test_errors_say_what_to_do_next(
    reading: Shell, command: str, code: str, message: str, hint: str
) -> None:
    result = reading.run(command)
    assert result.exit_code == EXIT_CODES[code]
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith("error: ") and message in first
    assert second.startswith("  ") and hint in second


def test_no_daemon(shell: Shell, tmp_path: Path) -> None:
    result = shell.run(f"pool list --socket {tmp_path}/none.sock")
    assert result.exit_code == EXIT_CODES["daemon-unreachable"]
    assert f"{tmp_path}/none.sock" in result.stderr and "scsi-snap daemon" in result.stderr


def test_the_socket_is_named_before_or_after_the_verb(reading: Shell) -> None:
    path = reading._environment["SCSI_SNAP_SOCKET"]
    elsewhere = {"SCSI_SNAP_SOCKET": "/nowhere"}
    assert reading.run(f"--socket {path} pool list", **elsewhere).exit_code == 0
    assert reading.run(f"pool list --socket {path}", **elsewhere).exit_code == 0
    assert reading.run("pool list", **elsewhere).exit_code == EXIT_CODES["daemon-unreachable"]


def test_secrets_are_asked_for_and_never_shown(tour: Shell, controller: Controller) -> None:
    text = tour(f"target chap {IQN} --user me --mutual-user disk", "twelve bytes\nother twelve\n")
    text += tour(f"target show {IQN}") + tour(f"target show {IQN} --json") + tour("target list")
    assert "twelve bytes" not in text and "other twelve" not in text and "mutual CHAP" in text
    chap = controller.exporter.targets[IQN].chap
    assert chap is not None and (chap.secret, chap.mutual_secret) == (
        "twelve bytes",
        "other twelve",
    )
    assert tour.run(f"target chap {IQN}").exit_code == 2
    tour(f"target chap {IQN} --off")
    assert controller.exporter.targets[IQN].chap is None


def test_a_target_is_told_by_the_name_that_it_got(shell: Shell) -> None:
    assert shell(f"target create {IQN.upper()}") == f"created target {IQN}\n"


def test_a_degraded_import_says_so(tour: Shell) -> None:
    tour(f"target delete {IQN}")
    tour("pool fail-member tank /m3 --yes")
    tour("pool export tank")
    told = tour("pool import /m1 /m2 /m3").splitlines()
    assert told == [
        "imported pool tank",
        "  it is degraded: `scsi-snap pool show tank` tells why",
    ]


def test_access_and_sessions(tour: Shell, controller: Controller) -> None:
    alice = "iqn.2026-11.org.example:alice"
    controller.exporter.log_in(IQN, alice)
    assert alice in tour("session list") and tour("session close 1") == "closed session 1\n"
    assert tour(f"target allow {IQN} {alice} {alice}2").count("changed") == 2
    assert "2 listed" in tour("target list")
    assert tour(f"target deny {IQN} {alice}2") == f"changed access of {alice}2\n"
    assert tour.run(f"target deny {IQN} {alice}").exit_code == EXIT_CODES["busy"]
    tour(f"target allow {IQN} --any")
    assert re.search("^initiators +any$", tour(f"target show {IQN}"), re.MULTILINE)


def test_problems_found_by_a_check_are_an_exit_code(
    tour: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakePool, "check", lambda self, volume: ["chunk 3: torn"])
    result = tour.run("check")
    assert result.exit_code == 9
    assert result.stdout == "tank: clean\ntank/vol0: chunk 3: torn\n"


def test_members_that_disagree_are_named_with_their_addresses(
    tour: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (12288, [(1052672, 8192, ["/m0", "/m1"])])
    monkeypatch.setattr(FakePool, "compare", lambda self: found)
    result = tour.run("check tank")
    assert result.exit_code == 9
    assert result.stdout.splitlines() == [
        "tank: members /m0, /m1 disagree about 8192 bytes at byte 1052672 of each",
        "tank: they disagree about 4096 more bytes",
        "tank/vol0: clean",
    ]


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("scsi-snap po", ["pool", "portal"]),
        ("scsi-snap pool show ", ["tank"]),
        ("scsi-snap pool show t", ["tank"]),
        ("scsi-snap pool show x", []),
        ("scsi-snap pool fail-member tank /m", ["/m1", "/m2", "/m3"]),
        ("scsi-snap volume show tank/", ["tank/vol0"]),
        ("scsi-snap snapshot show tank/", ["tank/vol0@monday"]),
        ("scsi-snap snapshot create ", ["tank/vol0@"]),
        ("scsi-snap target show iqn", [IQN]),
        (f"scsi-snap lun map {IQN} 2 tank/", ["tank/vol0", "tank/vol0@monday"]),
        (f"scsi-snap lun unmap {IQN} ", ["0", "1"]),
        ("scsi-snap snapshot list ", ["tank", "tank/vol0"]),
    ],
)
def test_names_complete(reading: Shell, line: str, offers: list[str]) -> None:
    assert reading.complete(line) == offers


def test_completion_without_a_daemon_offers_nothing(shell: Shell) -> None:
    shell._environment["SCSI_SNAP_SOCKET"] = "/nowhere"
    assert shell.complete("scsi-snap pool show ") == []


def test_the_command_line_starts_without_the_web_framework() -> None:
    """And with the module of its command alone."""
    program = (
        "import sys; sys.argv = ['scsi-snap', 'status', '--help']\n"
        "from scsi_snap.cli.main import main\n"
        "try: main()\n"
        "finally: print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    heavy = {"fastapi", "uvicorn", "pydantic", "starlette", "asyncio", "scsi_snap._native"}
    others = {f"scsi_snap.cli.{noun}_cmd" for noun in ("pool", "volume", "target", "shell")}
    assert "scsi_snap.cli.daemon_cmd" in loaded
    assert not loaded & (heavy | others)


def run_really(*arguments: bytes | str, stdout: int | None = None) -> tuple[int, str]:
    """In a process, as a user does: exit code and standard error."""
    command = [sys.executable, "-m", "scsi_snap", "--socket", "/nowhere/s", *arguments]
    done = subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, check=False, env={"PYTHONUTF8": "1"}
    )
    return done.returncode, done.stderr.decode()


def test_a_name_that_is_not_utf_8_is_refused() -> None:
    code, said = run_really("volume", "show", b"tank/\xff", stdout=subprocess.DEVNULL)
    assert code == EXIT_CODES["invalid-argument"]
    assert said.startswith("error: ") and "is not UTF-8" in said and "Traceback" not in said


def test_output_that_cannot_be_written_is_an_error() -> None:
    with Path("/dev/full").open("wb") as full:
        code, said = run_really("--help", stdout=full.fileno())
    assert code != 0
    assert said.startswith("error: No space left on device\n")


def commands_of(group: click.Group) -> dict[str, click.Command]:
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def test_every_verb_has_help() -> None:
    for noun, group in commands_of(cli).items():
        verbs = getattr(group, "commands", {"": group})
        for verb, command in verbs.items():
            assert command.help, f"{noun} {verb}"
            assert any("--socket" in option.opts for option in command.params), f"{noun} {verb}"
            if verb in ("list", "show"):
                assert any("--json" in option.opts for option in command.params), f"{noun} {verb}"


def leaf_commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in commands_of(group).items():
        if isinstance(command, click.Group):
            yield from leaf_commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_every_verb_takes_json() -> None:
    """But those that end with no result: the daemon, and the shell with a language of its own."""
    refusing = {
        name
        for name, command in leaf_commands(cli)
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert refusing == {"daemon", "shell"}


CHANGES = [
    ("pool fail-member tank /m3 --yes", "changed"),
    (f"target allow {IQN} {IQN}1", ["changed"]),
    (f"target allow {IQN} {IQN}1 {IQN}2", ["unchanged", "changed"]),
    (f"target deny {IQN} {IQN}1", "changed"),
    (f"target allow {IQN} --any", "changed"),
    (f"target chap {IQN} --user alice --secret twelve-bytes", "changed"),
    (f"target chap {IQN} --off", "changed"),
    ("discovery chap --user scout --secret twelve-bytes", "changed"),
    (f"target redirect {IQN} 192.0.2.1:3260", "changed"),
    (f"target add-group {IQN} 2", "changed"),
    (f"target remove-group {IQN} 2", "changed"),
    (f"lun unmap {IQN} 0 1", ["unmapped", "unmapped"]),
    (f"lun unmap {IQN} 0 --if-exists", ["absent"]),
    ("snapshot delete tank/vol0@monday", ["deleted"]),
    ("volume delete tank/vol0", ["deleted"]),
    (f"target delete {IQN} {IQN}", ["deleted"]),
    ("portal create 127.0.0.1:3299", "created"),
    ("portal delete 127.0.0.1:3299", ["deleted"]),
    ("session close 7 --if-exists", ["absent"]),
    ("pool export tank", ["exported"]),
    ("pool destroy tank --if-exists --yes", ["absent"]),
]


def test_the_outcome_of_every_change_is_data(tour: Shell) -> None:
    for command, expected in CHANGES:
        answer = json.loads(tour(f"{command} --json"))
        found = (
            [one["outcome"] for one in answer] if isinstance(answer, list) else answer["outcome"]
        )
        assert found == expected, command


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("pool show pond", "not-found"),
        ("volume create tank/vol1", "invalid-argument"),
        ("volume create tank/vol1 10GB", "invalid-argument"),
        ("volume list --no-such-option", "invalid-argument"),
        ("no-such-verb", "invalid-argument"),
        ("volume delete tank/vol0", "busy"),
        ("pool show tank --socket /nowhere", "daemon-unreachable"),
    ],
)
def test_with_json_an_error_is_one_line_of_json(reading: Shell, command: str, code: str) -> None:
    result = reading.run(f"{command} --json")
    (line,) = result.stderr.splitlines()
    told = json.loads(line)
    assert told["code"] == code and told["message"]
    assert result.exit_code == EXIT_CODES[code]
    assert result.stdout in ("", "[]\n")
    plain = reading.run(command)
    assert plain.stderr.startswith(f"error: {told['message']}\n")
    assert plain.exit_code == result.exit_code


def test_each_of_several_names_is_tried(tour: Shell) -> None:
    for name in ("a", "b"):
        tour(f"volume create tank/{name} 1MiB")
    result = tour.run("volume delete tank/vol0 tank/a tank/none tank/b --snapshots --json")
    assert json.loads(result.stdout) == [
        {"outcome": "deleted", "name": "tank/a"},
        {"outcome": "deleted", "name": "tank/b"},
    ]
    failed = [json.loads(line) for line in result.stderr.splitlines()]
    assert [(one["subject"], one["code"]) for one in failed] == [
        ("volume tank/vol0", "busy"),
        ("volume tank/none", "not-found"),
    ]
    assert result.exit_code == EXIT_CODES["busy"]
    result = tour.run("volume delete --if-exists tank/a pond/b")
    assert result.stdout == "absent: volume tank/a\nabsent: volume pond/b\n"
    assert result.exit_code == 0
    assert tour.run("volume delete tank/a").exit_code == EXIT_CODES["not-found"]


def test_where_a_volume_is_shown_is_data(tour: Shell) -> None:
    tour(f"lun map {IQN} 7 tank/vol0 --again")
    found = json.loads(tour("volume show tank/vol0 --json"))
    assert found["mapped"] == [{"target": IQN, "lun": 0}, {"target": IQN, "lun": 7}]
    (found,) = json.loads(tour("snapshot list --json"))
    assert found["mapped"] == [{"target": IQN, "lun": 1}]


def test_every_lun_that_is_in_the_way_is_named(tour: Shell) -> None:
    tour(f"lun map {IQN} 7 tank/vol0 --again")
    result = tour.run("volume delete tank/vol0 --snapshots")
    assert f"LUN 0 of {IQN}, LUN 7 of {IQN}" in result.stderr
    assert f"tank/vol0@monday is in use: it is LUN 1 of {IQN}" in result.stderr
    (hint,) = re.findall("`scsi-snap (.*)` first", result.stderr)
    tour(hint)
    tour("volume delete tank/vol0 --snapshots")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_a_word_that_goes_on_behind_its_breaks(tour: Shell, tmp_path: Path) -> None:
    """As bash calls it: the line, and where the cursor is."""
    scsi_snap = tmp_path / "scsi-snap"
    scsi_snap.write_text(f'#!/bin/sh\nexec {sys.executable} -m scsi_snap "$@"\n')
    scsi_snap.chmod(0o755)
    environment = {**os.environ, **tour._environment}
    source = subprocess.run(
        [scsi_snap],
        env={**environment, "_SCSI_SNAP_COMPLETE": "bash_source"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for line, offered in [
        ("scsi-snap target show iqn.2026-11.org.example:d", "disk"),
        ("scsi-snap target show iqn.2026-11.org.example:", "disk"),
        ("scsi-snap target show iq", IQN),
        ("scsi-snap snapshot show tank/vol0@mo", "monday"),
        ("scsi-snap pool create --level raid1", "raid1 raid10"),
        ("scsi-snap volume create --policy f", "fail-write"),
    ]:
        script = f"{source}\ncompopt() {{ :; }}\nCOMP_LINE={line!r} COMP_POINT={len(line)}\n"
        script += f'_scsi_snap_completion {scsi_snap}\necho "${{COMPREPLY[*]}}"\n'
        done = subprocess.run(
            ["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True
        )
        assert done.stdout == f"{offered}\n", f"{line}: {done.stdout} {done.stderr}"


def test_an_interrupt_while_modules_are_loaded_is_no_traceback() -> None:
    program = """
import runpy, sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == "scsi_snap.cli.main":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
runpy.run_module("scsi_snap", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "Aborted!\n")


def test_a_volume_of_too_many_chunks_names_the_option(tour: Shell) -> None:
    result = tour.run("volume create tank/large 1PiB")
    assert "chunks of 64KiB has at most 256TiB" in result.stderr
    assert "chunks of 256KiB or more allow it (--chunk)" in result.stderr


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("pool create lake /m7:0 /m8:0", "the member '/m7' cannot be made with 0 bytes"),
        ("pool create lake /m7 --strip 4095", "a strip of 4095 bytes (4KiB) cannot be used"),
        ("volume create tank/v 1MiB --chunk 4097", "chunks of 4097 bytes (4KiB) cannot be used"),
        ("volume resize tank/vol0 +1EiB", "at most 1EiB"),
    ],
)
def test_sizes_are_refused_in_words(reading: Shell, command: str, says: str) -> None:
    result = reading.run(command)
    assert says in result.stderr and "openapi" not in result.stderr
