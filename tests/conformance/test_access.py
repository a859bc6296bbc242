"""Portals, portal groups, own LUNs, secrets and redirection, by libiscsi's tools."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.conftest import TARGET, make_pool
from tests.conformance.initiator import ToolFailedError, run
from tests.daemon import Daemon

pytestmark = pytest.mark.conformance

ALICE, BOB = "iqn.2026-11.org.example:alice", "iqn.2026-11.org.example:bob"
SECRET, OTHER_SECRET = "a-secret-of-many-bytes", "another-one-of-many-bytes"
NOT_FOUND, NOT_ALLOWED = "Target not found", "Authorization|authorization"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with a pool of three volumes."""
    directory = tmp_path_factory.mktemp("access")
    with Daemon(directory) as daemon:
        make_pool(daemon, directory)
        for name, size in (("shared", "8MiB"), ("alice", "16MiB"), ("bob", "32MiB")):
            daemon("volume", "create", f"tank/{name}", size)
        yield daemon


@pytest.fixture
def daemon(served: Daemon) -> Iterator[Daemon]:
    """With a target, and nothing left of it afterwards."""
    served("target", "create", TARGET)
    yield served
    served("discovery", "chap", "--off")
    for target in served.json("target", "list"):
        served("target", "delete", "--close-sessions", target["name"])
    for portal in served.json("portal", "list"):
        if portal["on_record"]:
            served("portal", "delete", portal["address"])


def free_address(host: str = "127.0.0.1") -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        port = listener.getsockname()[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def portal(daemon: Daemon, group: int = 1, host: str = "127.0.0.1") -> str:
    address = free_address(host)
    daemon("portal", "create", address, "--group", group)
    return address


def inquire(address: str, initiator: str, lun: int = 0, login: str = "", page: int = 0x80) -> str:
    url = f"iscsi://{login}{address}/{TARGET}/{lun}"
    return run("iscsi-inq", "-i", initiator, "-e", 1, "-c", page, url)


def serial(address: str, initiator: str, lun: int = 0, login: str = "") -> str:
    said = inquire(address, initiator, lun, login)
    found = re.search(r"^Unit Serial Number:\[(\S+)\]$", said, re.MULTILINE)
    assert found, said
    return found[1]


def test_an_initiator_that_names_itself_by_no_rule(daemon: Daemon) -> None:
    """As QEMU does from the name of a machine. It is one initiator in any spelling."""
    name, again = "iqn.2008-11.org.linux-kvm:Windows_11", "IQN.2008-11.org.linux-kvm:windows_11"
    daemon("target", "allow", TARGET, name)
    daemon("lun", "map", TARGET, 0, "tank/alice", "--initiator", again)
    for spelling in (name, again):
        assert serial(daemon.addresses[0], spelling)
    shown = daemon.json("target", "show", TARGET)
    assert [one["name"] for one in shown["initiators"]] == [name.lower()]


def test_a_refused_login_is_an_event(daemon: Daemon) -> None:
    before = max((one["number"] for one in daemon.json("events")), default=0)
    daemon("target", "allow", TARGET, BOB)
    with pytest.raises(ToolFailedError, match=NOT_ALLOWED):
        serial(daemon.addresses[0], ALICE)
    with pytest.raises(ToolFailedError, match=NOT_FOUND):
        run("iscsi-inq", "-i", ALICE, f"iscsi://{daemon.addresses[0]}/{TARGET}x/0")
    told = daemon.json("events", "--after", before)
    refused = [one for one in told if one["kind"] == "login-refused"]
    assert [one["subject"] for one in refused] == [TARGET, ""]
    reasons = [f"{ALICE} may not log in to {TARGET}", f"no target {TARGET}x at this portal"]
    for one, target, reason in zip(refused, (TARGET, f"{TARGET}x"), reasons, strict=True):
        assert f"{ALICE} at 127.0.0.1 was refused {target}: {reason}" in one["message"]


def listing(address: str, initiator: str = ALICE, login: str = "", luns: bool = False) -> str:
    options = ["--show-luns"] if luns else []
    return run("iscsi-ls", "-i", initiator, *options, f"iscsi://{login}{address}/")


def luns(address: str, initiator: str) -> list[tuple[str, str]]:
    """Numbers and sizes."""
    said = listing(address, initiator, luns=True)
    return re.findall(r"^Lun:(\d+).*\(Size:(\w+)\)", said, re.MULTILINE)


def test_one_unit_through_two_portals_and_two_groups(daemon: Daemon) -> None:
    daemon("lun", "map", TARGET, 0, "tank/shared")
    same_group, other_group = portal(daemon), portal(daemon, 2)
    with pytest.raises(ToolFailedError, match=NOT_FOUND):
        inquire(other_group, ALICE)
    daemon("target", "add-group", TARGET, 2)
    paths = (daemon.address, same_group, other_group)
    assert len({serial(address, ALICE) for address in paths}) == 1
    found = re.findall(rf"Target:{TARGET} Portal:(\S+)", listing(daemon.address))
    assert sorted(found) == sorted([f"{daemon.address},1", f"{same_group},1", f"{other_group},2"])
    ports = [inquire(address, ALICE, page=0x83) for address in paths]
    names = [re.findall(rf"{TARGET},t,0x\d+", said) for said in ports]
    assert names == [[f"{TARGET},t,0x0001"]] * 2 + [[f"{TARGET},t,0x0002"]]
    # The last session may just be ending.
    daemon("target", "remove-group", TARGET, 2, "--close-sessions")
    with pytest.raises(ToolFailedError, match=NOT_FOUND):
        inquire(other_group, ALICE)


def test_ipv6(daemon: Daemon) -> None:
    try:
        address = portal(daemon, host="::1")
    except OSError:
        pytest.skip("no IPv6 here")
    daemon("lun", "map", TARGET, 0, "tank/shared")
    assert serial(address, ALICE) == serial(daemon.address, ALICE)
    assert f"Portal:{address},1" in listing(address)


def test_portals_come_back_after_a_kill(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon("target", "create", TARGET, "--group", 1, "--group", 2)
        address = portal(daemon, 2)
        before = daemon.json("portal", "list"), daemon.json("target", "show", TARGET)
        daemon.kill()
        daemon.start()
        assert (daemon.json("portal", "list"), daemon.json("target", "show", TARGET)) == before
        assert f"Portal:{address},2" in listing(daemon.address)


def test_each_initiator_has_luns_of_its_own(daemon: Daemon) -> None:
    daemon("lun", "map", TARGET, 0, "tank/alice", "--initiator", ALICE)
    daemon("lun", "map", TARGET, 0, "tank/bob", "--initiator", BOB)
    daemon("lun", "map", TARGET, 1, "tank/shared")
    address = daemon.address
    assert [lun for lun, _ in luns(address, ALICE)] == ["0", "1"]
    sizes = [dict(luns(address, one)) for one in (ALICE, BOB)]
    assert sizes[0]["0"] != sizes[1]["0"] and sizes[0]["1"] == sizes[1]["1"]
    assert [lun for lun, _ in luns(address, f"{BOB}2")] == ["1"]
    daemon("lun", "unmap", TARGET, 0, "--initiator", ALICE)
    assert [lun for lun, _ in luns(address, ALICE)] == ["1"]
    assert [lun for lun, _ in luns(address, BOB)] == ["0", "1"]


def test_each_initiator_has_a_secret_of_its_own(daemon: Daemon) -> None:
    daemon("lun", "map", TARGET, 0, "tank/shared")
    daemon("target", "chap", TARGET, "--user", "all", "--secret", SECRET)
    options = ["--chap-user", "alice", "--chap-secret", OTHER_SECRET]
    daemon("target", "allow", TARGET, ALICE, *options)
    daemon("target", "allow", TARGET, BOB)
    own, everybodys = f"alice%{OTHER_SECRET}@", f"all%{SECRET}@"
    inquire(daemon.address, ALICE, login=own)
    inquire(daemon.address, BOB, login=everybodys)
    for initiator, login in ((ALICE, everybodys), (BOB, own), (BOB, ""), (f"{BOB}2", everybodys)):
        with pytest.raises(ToolFailedError):
            inquire(daemon.address, initiator, login=login)
    daemon("target", "chap", TARGET, "--initiator", ALICE, "--off")
    inquire(daemon.address, ALICE, login=everybodys)


def test_mutual_chap(daemon: Daemon) -> None:
    daemon("lun", "map", TARGET, 0, "tank/shared")
    target = ["--mutual-user", "the-disk", "--mutual-secret", OTHER_SECRET]
    daemon("target", "chap", TARGET, "--user", "alice", "--secret", SECRET, *target)
    unit = f"iscsi://alice%{SECRET}@{daemon.address}/{TARGET}/0"
    run("iscsi-inq", f"{unit}?target_user=the-disk&target_password={OTHER_SECRET}")
    with pytest.raises(ToolFailedError):
        run("iscsi-inq", f"{unit}?target_user=the-disk&target_password=not-{OTHER_SECRET}")


def test_discovery_asks_for_a_secret_of_its_own(daemon: Daemon) -> None:
    daemon("lun", "map", TARGET, 0, "tank/shared")
    daemon("discovery", "chap", "--user", "scout", "--secret", SECRET)
    assert daemon.json("discovery", "show")["chap_user"] == "scout"
    assert TARGET in listing(daemon.address, login=f"scout%{SECRET}@")
    for login in ("", f"scout%{OTHER_SECRET}@"):
        with pytest.raises(ToolFailedError):
            listing(daemon.address, login=login)
    # Logins to the target go by the target's own rules.
    inquire(daemon.address, ALICE)


def test_a_redirection_is_followed(daemon: Daemon, tmp_path: Path) -> None:
    daemon("lun", "map", TARGET, 0, "tank/shared")
    with Daemon(tmp_path) as other:
        members = [f"{tmp_path / name}:64MiB" for name in ("m0", "m1")]
        other("pool", "create", "lake", "--level", "raid1", *members)
        other("volume", "create", "lake/vol", "8MiB")
        other("target", "create", TARGET)
        other("lun", "map", TARGET, 0, "lake/vol")
        here, there = serial(daemon.address, ALICE), serial(other.address, ALICE)
        daemon("target", "redirect", TARGET, other.address)
        assert serial(daemon.address, ALICE) == there != here
        daemon("target", "redirect", TARGET, other.address, "--permanent")
        # libiscsi leaves it to its user to remember.
        with pytest.raises(ToolFailedError, match="moved permanently"):
            serial(daemon.address, ALICE)
        daemon("target", "redirect", TARGET, "--off")
        assert serial(daemon.address, ALICE) == here


def test_a_redirection_to_a_portal_of_ones_own(daemon: Daemon) -> None:
    daemon("lun", "map", TARGET, 0, "tank/shared")
    address = portal(daemon)
    daemon("target", "redirect", TARGET, address)
    assert serial(daemon.address, ALICE) == serial(address, ALICE)


def test_a_unit_that_is_read_only_for_one(daemon: Daemon) -> None:
    daemon("lun", "map", TARGET, 0, "tank/shared", "--initiator", ALICE)
    daemon("lun", "map", TARGET, 0, "tank/shared", "--initiator", BOB, "--read-only")
    for initiator, write, lands in (
        (ALICE, "write -P 1 0 4k", True),
        (BOB, "write -P 2 0 4k", False),
    ):
        options = f"driver=iscsi,transport=tcp,portal={daemon.address},target={TARGET},lun=0"
        command = ["qemu-io", "--image-opts", "-c", write, f"{options},initiator-name={initiator}"]
        if lands:
            run(*command)
        else:
            with pytest.raises(ToolFailedError):
                run(*command)
