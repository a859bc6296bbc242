"""Portals, portal groups, own LUNs, secrets and redirection, as they are typed and shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scsi_snap.cli.exit_codes import EXIT_CODES
from scsi_snap.inventory.records import ChapRecord
from tests.controllers import IQN, NO_LIO, Controller, served
from tests.fakes import Disks
from tests.t11_cli.test_cli import Shell, toured

ALICE, BOB = "iqn.2026-11.org.example:alice", "iqn.2026-11.org.example:bob"
ADDRESS = "[2001:db8::1]:3260"


@pytest.fixture
def tour(controller: Controller) -> Iterator[Shell]:
    with served(controller.service) as client:
        yield toured(Shell(client._socket_path))


def rows(text: str) -> list[list[str]]:
    """Cells of a table, without its headings."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()[1:]]


def test_portals(tour: Shell) -> None:
    create = f"portal create {ADDRESS} --group 2"
    assert tour(create) == f"created portal {ADDRESS}\n"
    assert tour(create) == f"unchanged: portal {ADDRESS}\n"
    assert rows(tour("portal list")) == [
        ["127.0.0.1:3260", "1", "portal", "--listen", "listening"],
        [ADDRESS, "2", "portal", "kept", "listening"],
    ]
    assert [one["address"] for one in json.loads(tour("portal list --json"))][1] == ADDRESS
    assert tour.complete("scsi-snap portal delete ") == ["127.0.0.1:3260", ADDRESS]
    assert tour(f"portal delete {ADDRESS}") == f"deleted portal {ADDRESS}\n"


def test_a_portal_that_is_open_to_every_host(tour: Shell) -> None:
    assert tour("portal create 192.0.2.1") == "created portal 192.0.2.1:3260\n"
    said = tour.run("portal create [::]:3262")
    assert said.stdout == "created portal [::]:3262\n"
    assert said.stderr.startswith("warning: ") and f"target chap {IQN} --user" in said.stderr
    assert [row[4] for row in rows(tour("portal list"))] == [
        "listening",
        "listening",
        "listening, open to every host",
    ]
    assert json.loads(tour("portal list --json"))[2]["warning"] in said.stderr


def test_portal_groups(tour: Shell) -> None:
    tour(f"portal create {ADDRESS} --group 2")
    tour(f"target create {IQN}2 --group 2 --group 1")
    assert tour(f"target add-group {IQN} 2") == f"changed portal groups of {IQN}\n"
    assert [row[2] for row in rows(tour("target list"))] == ["1,2", "1,2"]
    shown = tour(f"target show {IQN}")
    assert re.search(r"^portal group 1 +127\.0\.0\.1:3260 \(port 1\)$", shown, re.MULTILINE)
    assert f"{ADDRESS} (port 4)" in shown
    assert tour(f"target remove-group {IQN} 2") == f"changed portal groups of {IQN}\n"
    assert ADDRESS not in tour(f"target show {IQN}")


def test_luns_of_ones_own(tour: Shell, controller: Controller) -> None:
    theirs = f"--initiator {ALICE} --initiator {BOB}"
    said = tour(f"lun map {IQN} 5 tank/vol0 {theirs} --read-only --again")
    assert said == f"created LUN 5 of {IQN}: tank/vol0\n"
    row = rows(tour("lun list"))[-1]
    assert row[1:] == ["5", "tank/vol0", "read-only", "mapped", f"{ALICE}, {BOB}"]
    assert f"{ALICE}, {BOB}" in tour(f"target show {IQN}")
    tour(f"lun unmap {IQN} 5 --initiator {ALICE}")
    assert rows(tour("lun list"))[-1][-1] == BOB
    assert set(controller.exporter.own) == {(IQN, 5, BOB)}
    tour(f"lun unmap {IQN} 5")
    assert controller.exporter.own == {} and len(controller.exporter.units) == 2


def test_secrets_of_ones_own(tour: Shell, controller: Controller, tmp_path: Path) -> None:
    text = tour(
        f"target allow {IQN} {ALICE} --chap-user a --chap-mutual-user d",
        f"{'1' * 12}\n{'2' * 12}\n",
    )
    text += tour(f"target show {IQN}") + tour(f"target show {IQN} --json") + tour("target list")
    assert "1" * 12 not in text and "CHAP as a, mutual as d" in text and "some by CHAP" in text
    secret = tmp_path / "secret"
    secret.write_text("from a file!\nnot this\n")
    tour(f"target chap {IQN} --initiator {ALICE} --user b --secret-file {secret}")
    assert controller.exporter.targets[IQN].chap_of(ALICE) == ChapRecord("b", "from a file!")
    tour(f"target chap {IQN} --initiator {ALICE} --off")
    assert controller.exporter.targets[IQN].chap_of(ALICE) is None


def test_discovery(tour: Shell, controller: Controller) -> None:
    assert tour("discovery chap --user scout", "twelve bytes\n") == "changed CHAP of discovery\n"
    assert controller.exporter.discovery_chap == ChapRecord("scout", "twelve bytes")
    assert re.search("^CHAP user +scout$", tour("discovery show"), re.MULTILINE)
    assert "twelve" not in tour("discovery show --json")
    tour("discovery chap --off")
    assert json.loads(tour("discovery show --json"))["chap_user"] is None


def test_redirection(tour: Shell) -> None:
    tour(f"target redirect {IQN} {ADDRESS} --permanent")
    shown = tour(f"target show {IQN}")
    assert re.search(rf"^logins go to +{re.escape(ADDRESS)}, permanently$", shown, re.MULTILINE)
    assert "redirected" in tour("target list")
    tour(f"target redirect {IQN} --off")
    assert "redirected" not in tour("target list")


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Shell]:
    """The tour where the kernel has a target."""
    controller = Controller.start(tmp_path / "state", Disks(), lio=True)
    with served(controller.service) as client:
        yield toured(Shell(client._socket_path))
    controller.stop()


def test_what_a_target_is_via(both: Shell) -> None:
    create = f"target create {IQN}2 --via portal"
    assert both(create) == f"created target {IQN}2\n"
    assert both(create) == f"unchanged: target {IQN}2\n"
    assert both(f"target create {IQN} --via lio") == f"unchanged: target {IQN}\n"
    assert [row[:2] for row in rows(both("target list"))] == [[IQN, "lio"], [f"{IQN}2", "portal"]]
    assert re.search("^via +lio$", both(f"target show {IQN}"), re.MULTILINE)
    assert both(f"lun map {IQN}2 0 tank/vol0 --via portal").startswith("created LUN 0")
    both(f"portal create {ADDRESS} --via lio")
    assert rows(both("portal list")) == [
        ["127.0.0.1:3260", "1", "portal", "--listen", "listening"],
        ["127.0.0.1:3261", "1", "lio", "--lio-listen", "listening"],
        [ADDRESS, "1", "lio", "kept", "listening"],
    ]
    listening = f"listens on 127.0.0.1:3261, {ADDRESS}"
    assert re.search(rf"^kernel's target +{re.escape(listening)}$", both("status"), re.MULTILINE)
    assert both.complete("scsi-snap target create --via ") == ["portal", "lio"]
    assert both.complete(f"scsi-snap lun map {IQN} 3 tank/vol0 --via l") == ["lio"]


def test_where_the_kernel_has_no_target(tour: Shell) -> None:
    assert re.search(rf"^kernel's target +not used: {NO_LIO}$", tour("status"), re.MULTILINE)
    assert [row[1] for row in rows(tour("target list"))] == ["portal"]
    assert "lio" not in tour("portal list")


def test_targets_on_record_say_that_they_wait_for_the_kernel(both: Shell, tmp_path: Path) -> None:
    both(f"target create {IQN}2 --via portal")
    (tmp_path / "later").mkdir()
    catalog = (tmp_path / "state/catalog.json").read_bytes()
    (tmp_path / "later/catalog.json").write_bytes(catalog)
    controller = Controller.start(tmp_path / "later", Disks())
    with served(controller.service) as client:
        later = Shell(client._socket_path)
        assert [row[-1] for row in rows(later("target list"))] == [
            f"any initiator; unavailable: {NO_LIO}",
            "any initiator",
        ]
        assert re.search(f"^unavailable +{NO_LIO}$", later(f"target show {IQN}"), re.MULTILINE)
    controller.stop()


@pytest.mark.parametrize(
    ("command", "code", "message", "hint"),
    [
        (f"target create {IQN} --via portal", "exists", "via lio", "another name"),
        (f"lun map {IQN} 7 tank/vol0 --via portal", "invalid-argument", "is via lio", "--via out"),
        ("lun map iqn.2026-11.org.example:x 7 tank/vol0 --via lio", "not-found", ":x", "--via lio"),
        ("target create iqn.2003-01.test:lab", "invalid-argument", "iqn.2003-01.test", "dot"),
        (f"target redirect {IQN} {ADDRESS}", "unsupported", "redirect", "--via portal"),
        ("portal create 127.0.0.1:3260 --via lio", "exists", "via portal", "portal list"),
        ("portal create a.example:3261 --via lio", "invalid-argument", "a.example", "IP address"),
        ("target create x --via fc", "invalid-argument", "'--via'", "target create --help"),
    ],
)
def test_errors_about_the_way_say_what_to_do_next(
    both: Shell, command: str, code: str, message: str, hint: str
) -> None:
    result = both.run(command)
    assert result.exit_code == EXIT_CODES[code], result.output
    first, second = result.stderr.splitlines()
    assert first.startswith("error: ") and message in first
    assert second.startswith("  ") and hint in second


@pytest.mark.parametrize(
    ("command", "code", "message", "hint"),
    [
        ("portal create 192.0.2", "invalid-argument", "192.0.2", "ADDRESS:PORT"),
        ("portal create 192.0.2.1:0", "invalid-argument", "no port", "--listen"),
        ("portal create ::1:3260", "invalid-argument", "::1:3260", "[::1]:3260"),
        ("portal create :1 --group 0", "invalid-argument", "0", "65535"),
        ("portal create 192.0.2.9:3260", "io-error", "192.0.2.9:3260", "choose another"),
        ("portal delete 127.0.0.1:3260", "busy", "--listen", "--no-listen"),
        ("portal delete 127.0.0.1:3261", "not-found", "127.0.0.1:3261", "127.0.0.1:3260"),
        (f"target redirect {IQN}", "invalid-argument", "--off", "--help"),
        (f"target redirect {IQN} :1 --off", "invalid-argument", "--off", "--help"),
        (f"target remove-group {IQN} 1", "busy", "no other", "add-group"),
        (f"target remove-group {IQN} 7", "not-found", "group 7", "target show"),
        (f"target chap {IQN} --initiator {BOB} --off", "not-found", "bob", "target show"),
        (f"target allow {IQN} {BOB} --chap-secret x", "invalid-argument", "--chap-user", "--help"),
        (f"target allow {IQN} --any --chap-user x", "invalid-argument", "--any", "--help"),
        (f"lun map {IQN} 0 tank/vol0 --initiator {BOB}", "exists", "LUN 0", "lun unmap"),
        (f"lun map {IQN} 7 tank/vol0 --initiator a/b", "invalid-argument", "a/b", "iqn."),
        (f"lun unmap {IQN} 0 --initiator {BOB}", "not-found", "bob alone", "lun list"),
        (f"target create {IQN}3 --via lio", "unsupported", NO_LIO, "start the daemon again"),
        (f"lun map {IQN} 7 tank/vol0 --via lio", "unsupported", NO_LIO, "--via portal"),
        ("portal create 127.0.0.1:3261 --via lio", "unsupported", NO_LIO, "--via portal"),
        ("discovery chap", "invalid-argument", "--user", "--help"),
        ("discovery chap --user a --secret short", "invalid-argument", "at least 12", "--help"),
        ("discovery chap --user a --secret-file /nowhere", "not-found", "No such file", ""),
    ],
)
def test_errors_say_what_to_do_next(
    tour: Shell, controller: Controller, command: str, code: str, message: str, hint: str
) -> None:
    controller.exporter.taken.add("192.0.2.9:3260")
    result = tour.run(command)
    assert result.exit_code == EXIT_CODES[code], result.output
    first, second = result.stderr.splitlines()
    assert first.startswith("error: ") and message in first
    assert second.startswith("  ") and hint in second


@pytest.mark.parametrize(
    ("options", "listen", "lio"),
    [
        ("", ["127.0.0.1:3260"], (True, ())),
        ("--listen :1 --listen [::1]:2", [":1", "[::1]:2"], (True, ())),
        ("--no-listen --lio-listen :1 --lio-listen :2", [], (True, (":1", ":2"))),
        ("--no-lio", ["127.0.0.1:3260"], (False, ())),
    ],
)
def test_where_the_daemon_listens(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: str,
    listen: list[str],
    lio: tuple[bool, tuple[str, ...]],
) -> None:
    found: dict[str, object] = {}
    monkeypatch.setattr("scsi_snap.api.daemon.run", lambda **given: found.update(given))
    result = Shell(tmp_path / "socket").run(f"daemon --state {tmp_path} {options}")
    assert result.exit_code == 0, result.output
    assert list(found["listen"]) == listen  # type: ignore[call-overload]
    assert (found["lio"], found["lio_listen"]) == lio


def test_to_use_the_kernels_target_and_not_to_is_no_option(tmp_path: Path) -> None:
    result = Shell(tmp_path / "socket").run(f"daemon --state {tmp_path} --no-lio --lio-listen :1")
    assert result.exit_code == 2 and "either --lio-listen or --no-lio" in result.stderr
