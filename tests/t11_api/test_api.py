"""The API on a real socket: each route, its statuses, its errors, its bounds."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import stat
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from scsi_snap import limits
from scsi_snap.api.app import make_app
from scsi_snap.api.client import Client, _own, _UnixConnection, default_socket
from scsi_snap.api.server import ControlSocket
from scsi_snap.api.statuses import HTTP_STATUS
from scsi_snap.errors import (
    BY_CODE,
    Busy,
    DaemonUnreachable,
    IoFailed,
    NotFound,
    NotPermitted,
    error_of,
)
from tests.controllers import IQN, MEMBERS, MIB, NO_LIO, VOL0, Controller, served
from tests.fakes import Disks

POOL = {
    "name": "tank",
    "members": [{"path": path, "size_bytes": size} for path, size in MEMBERS],
}


@pytest.fixture
def client(controller: Controller) -> Iterator[Client]:
    with served(controller.service) as client:
        yield client


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of an empty controller, shared by tests that change nothing."""
    controller = Controller.start(tmp_path_factory.mktemp("idle"), Disks())
    with served(controller.service) as client:
        yield client


def ask(client: Client, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON, without the client's reading of them."""
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection = HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(client._socket_path))
    try:
        connection.request(method, path, content, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_the_life_of_a_volume(client: Client, controller: Controller) -> None:
    assert ask(client, "POST", "/v1/pools", POOL)[0] == 201
    status, answer = ask(client, "POST", "/v1/pools", POOL)
    assert (status, answer["outcome"], answer["view"]["level"]) == (200, "unchanged", "raid5")
    volume = {"name": "tank/vol0", "size_bytes": MIB}
    assert ask(client, "POST", "/v1/volumes", volume)[0] == 201
    for size_bytes, outcome in ((2 * MIB, "changed"), (2 * MIB, "unchanged")):
        resized = ask(client, "POST", "/v1/volumes/tank/vol0/resize", {"size_bytes": size_bytes})
        assert (resized[0], resized[1]["outcome"]) == (200, outcome)
        assert resized[1]["view"]["size_bytes"] == size_bytes
    shrunk = ask(client, "POST", "/v1/volumes/tank/vol0/resize", {"size_bytes": MIB})
    assert (shrunk[0], shrunk[1]["code"]) == (409, "unsupported")
    snapshots = {
        "snapshots": [
            {"name": "tank/vol0@monday", "range": {"first_lba": 0, "blocks": 1024}},
        ]
    }
    status, answer = ask(client, "POST", "/v1/snapshots", snapshots)
    assert status == 201 and answer["view"][0]["blocks"] == 1024
    assert ask(client, "POST", "/v1/targets", {"name": IQN})[0] == 201
    lun = f"/v1/targets/{IQN}/luns/0"
    assert ask(client, "PUT", lun, {"backing": "tank/vol0@monday"})[0] == 201
    assert ask(client, "PUT", lun, {"backing": "tank/vol0@monday"})[0] == 200
    assert ask(client, "PUT", lun, {"backing": "tank/vol0"})[0] == 409
    status, answer = ask(client, "DELETE", "/v1/volumes/tank/vol0")
    assert (status, answer["code"]) == (409, "busy") and "lun unmap" in answer["hint"]
    controller.write(256, 1)
    status, answer = ask(client, "GET", "/v1/snapshots/tank/vol0/monday/diff")
    assert answer["extents"] == [{"first_lba": 256, "blocks": 128, "bytes": 65536}]
    status, answer = ask(client, "GET", "/v1/snapshots/tank/vol0/monday/map?cells=4")
    assert [cell["preserved_bytes"] for cell in answer["cells"]] == [65536, 0, 0, 0]
    deleted = {"outcome": "deleted", "name": f"{IQN} LUN 0", "goes": []}
    assert ask(client, "DELETE", lun) == (200, deleted)
    assert ask(client, "DELETE", "/v1/snapshots/tank/vol0/monday")[0] == 200
    assert ask(client, "DELETE", f"/v1/targets/{IQN}")[0] == 200
    assert ask(client, "DELETE", "/v1/volumes/tank/vol0")[0] == 200
    assert ask(client, "DELETE", "/v1/volumes/tank/vol0")[0] == 404
    assert ask(client, "DELETE", "/v1/pools/tank")[0] == 200
    assert ask(client, "GET", "/v1/pools") == (200, [])


def test_a_personality_is_chosen_and_changed(client: Client) -> None:
    assert ask(client, "POST", "/v1/pools", POOL)[0] == 201
    chosen = {"provisioning": "full", "removable": True, "serial": "A1", "vendor": "ACME"}
    volume = {"name": "tank/vol0", "size_bytes": MIB, **chosen}
    status, answer = ask(client, "POST", "/v1/volumes", volume)
    assert status == 201 and chosen.items() <= answer["view"].items()
    path = "/v1/volumes/tank/vol0"
    status, answer = ask(client, "PATCH", path, {"read_only": True, "vendor": ""})
    assert (status, answer["outcome"]) == (200, "changed")
    assert answer["view"] == ask(client, "GET", path)[1]
    assert (answer["view"]["read_only"], answer["view"]["vendor"]) == (True, "SCSISNAP")
    assert ask(client, "PATCH", path, {"removable": True})[1]["outcome"] == "unchanged"
    assert ask(client, "PATCH", path, {"provisioning": "thin"})[1]["code"] == "invalid-argument"
    assert ask(client, "PATCH", path, {"read_only": "yes"})[1]["code"] == "invalid-argument"
    assert ask(client, "PATCH", path, {"size_bytes": MIB})[1]["code"] == "invalid-argument"
    other = {"name": "tank/vol1", "size_bytes": MIB, "serial": "A1"}
    assert ask(client, "POST", "/v1/volumes", other)[1]["code"] == "exists"


def test_access_and_sessions(client: Client, controller: Controller) -> None:
    initiator = "iqn.2026-11.org.example:alice"
    client.post("targets", body={"name": IQN})
    chap = {"user": "user", "secret": "twelve bytes"}
    status, answer = ask(client, "PUT", f"/v1/targets/{IQN}/chap", chap)
    assert status == 200 and answer["view"]["chap_user"] == "user"
    assert "twelve bytes" not in json.dumps(answer) + json.dumps(client.get("targets"))
    assert ask(client, "PUT", f"/v1/targets/{IQN}/chap", {**chap, "secret": "short"})[0] == 400
    number = controller.exporter.log_in(IQN, initiator)
    assert client.get("sessions", target=IQN)[0]["id"] == number
    assert ask(client, "DELETE", f"/v1/sessions/{number}")[0] == 200
    assert ask(client, "DELETE", f"/v1/sessions/{number}")[0] == 404
    client.put("targets", IQN, "initiators", initiator)
    assert ask(client, "DELETE", f"/v1/targets/{IQN}/initiators/{initiator}")[0] == 409
    assert client.delete("targets", IQN, "initiators")["view"]["initiators"] == []
    assert client.delete("targets", IQN, "chap")["view"]["chap_user"] is None


def test_portals_groups_own_luns_and_secrets(client: Client, controller: Controller) -> None:
    alice, bob = "iqn.2026-11.org.example:alice", "iqn.2026-11.org.example:bob"
    chap = {"user": "user", "secret": "twelve bytes"}
    client.post("pools", body=POOL)
    client.post("volumes", body={"name": "tank/vol0", "size_bytes": 1 << 20})
    address = "[2001:db8::1]:3260"
    body = {"address": address, "group": 2}
    assert [ask(client, "POST", "/v1/portals", body)[0] for _ in range(2)] == [201, 200]
    assert ask(client, "POST", "/v1/targets", {"name": IQN, "groups": [2]})[0] == 201
    assert ask(client, "PUT", f"/v1/targets/{IQN}/groups/1")[0] == 200
    ports = client.get("targets", IQN)["ports"]
    assert [one["portals"] for one in ports] == [["127.0.0.1:3260"], [address]]
    assert ask(client, "DELETE", f"/v1/targets/{IQN}/groups/1")[0] == 200
    assert client.delete("portals", address)["name"] == address
    where = f"/v1/targets/{IQN}"
    assert ask(client, "PUT", f"{where}/initiators/{alice}", {"chap": chap})[0] == 200
    assert ask(client, "PUT", f"{where}/initiators/{bob}")[0] == 200
    assert ask(client, "PUT", f"{where}/initiators/{bob}/chap", chap)[0] == 200
    assert ask(client, "DELETE", f"{where}/initiators/{bob}/chap")[0] == 200
    names = [(one["name"], one["chap_user"]) for one in client.get("targets", IQN)["initiators"]]
    assert names == [(alice, "user"), (bob, None)]
    own = {"backing": "tank/vol0", "initiators": [alice, bob]}
    assert ask(client, "PUT", f"{where}/luns/0", own)[0] == 201
    assert ask(client, "DELETE", f"{where}/luns/0?initiator={alice}")[0] == 200
    assert [one["initiators"] for one in client.get("luns")] == [[bob]]
    moved = {"address": "192.0.2.1:3260", "permanent": True}
    assert ask(client, "PUT", f"{where}/redirect", moved)[1]["view"]["redirect_permanent"] is True
    assert client.delete("targets", IQN, "redirect")["view"]["redirect"] is None
    assert ask(client, "PUT", "/v1/discovery/chap", chap)[0] == 200
    assert client.get("discovery") == {"chap_user": "user", "chap_mutual_user": None}
    assert ask(client, "DELETE", "/v1/discovery/chap")[0] == 200
    assert "twelve bytes" not in json.dumps([client.get("targets"), client.get("discovery")])


def test_the_way_of_a_target_is_chosen_and_told(client: Client) -> None:
    status, answer = ask(client, "POST", "/v1/targets", {"name": IQN, "via": "lio"})
    assert (status, answer["code"]) == (409, "unsupported") and NO_LIO in answer["message"]
    status, answer = ask(client, "POST", "/v1/targets", {"name": IQN, "via": "portal"})
    assert (status, answer["view"]["via"], answer["view"]["reason"]) == (201, "portal", "")
    for body in ({"name": IQN, "via": "fc"}, {"name": IQN, "via": 1}):
        status, answer = ask(client, "POST", "/v1/targets", body)
        assert (status, answer["code"]) == (400, "invalid-argument")
        assert answer["message"] == "via is none of 'portal' or 'lio'"
    lun = {"backing": "tank/vol0", "via": "lio"}
    assert ask(client, "PUT", f"/v1/targets/{IQN}/luns/0", lun)[0] == 409
    portal = {"address": "192.0.2.1:3261", "via": "lio"}
    assert ask(client, "POST", "/v1/portals", portal)[0] == 409
    assert [one["via"] for one in client.get("portals")] == ["portal"]
    found = client.get("daemon")
    assert (found["lio_addresses"], found["lio_obstacle"]) == ([], NO_LIO)


def test_export_import_and_failed_members(client: Client) -> None:
    client.post("pools", body=POOL)
    client.post("pools", "tank", "export")
    members = [path for path, _ in MEMBERS]
    assert ask(client, "POST", "/v1/pools/import", {"members": members})[0] == 201
    status, answer = ask(client, "POST", "/v1/pools/tank/fail-member", {"member": "/m1"})
    assert (status, answer["outcome"]) == (200, "changed")
    assert client.get("pools", "tank")["state"] == "degraded"
    assert client.post("check") == [{"volume": "tank", "problems": []}]
    assert client.get("daemon")["pools"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "says"),
    [
        ("GET", "/v1/pools/tank", None, 404, "not-found", "tank"),
        ("GET", "/v1/nothing", None, 404, "not-found", "/v1/nothing"),
        ("GET", "/v1/pools/", None, 404, "not-found", "/v1/pools/"),
        ("PATCH", "/v1/pools", {}, 405, "refused", "PATCH"),
        ("POST", "/v1/pools", b"{", 400, "invalid-argument", "JSON"),
        ("POST", "/v1/pools", [], 400, "invalid-argument", "body"),
        ("POST", "/v1/pools", {}, 400, "invalid-argument", "name"),
        ("POST", "/v1/pools", {**POOL, "lvl": 1}, 400, "invalid-argument", "lvl"),
        ("POST", "/v1/pools", {**POOL, "strip_bytes": "64"}, 400, "invalid-argument", "strip"),
        ("POST", "/v1/pools", {**POOL, "level": "raid9"}, 400, "invalid-argument", "raid9"),
        ("POST", "/v1/volumes", {"name": "x", "size_bytes": 1}, 400, "invalid-argument", "'x'"),
        ("DELETE", "/v1/sessions/x", None, 400, "invalid-argument", "session"),
        (
            "PUT",
            f"/v1/targets/{IQN}/luns/0",
            {"backing": "@"},
            400,
            "invalid-argument",
            "not a volume",
        ),
        ("GET", "/v1/snapshots/a/b/c/map?cells=0", None, 400, "invalid-argument", "cells"),
        ("POST", "/v1/pools", b"[" * 100_000, 400, "refused", "body"),
        ("POST", "/v1/pools", b"\xff\xfe", 400, "invalid-argument", "JSON"),
        (
            "POST",
            "/v1/pools",
            b'{"name": "tank", "members": [{"path": "/\\ud800"}]}',
            400,
            "invalid-argument",
            "UTF-8",
        ),
        (
            "PUT",
            f"/v1/targets/{IQN}/chap",
            b'{"user": "\\ud800", "secret": "twelve bytes"}',
            400,
            "invalid-argument",
            "UTF-8",
        ),
    ],
)
def test_bad_requests_get_the_stable_body(
    idle: Client, method: str, path: str, body: Any, status: int, code: str, says: str
) -> None:
    got, answer = ask(idle, method, path, body)
    assert (got, answer["code"]) == (status, code), answer
    assert set(answer) == {"code", "message", "hint"} and says in answer["message"]


def test_each_code_becomes_its_status_and_the_same_error_again(
    client: Client, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code, kind in BY_CODE.items():

        def fail(code: str = code) -> None:
            raise error_of(code, "what", "next")

        monkeypatch.setattr(controller.service, "status", fail)
        assert ask(client, "GET", "/v1/daemon") == (
            HTTP_STATUS[code],
            {"code": code, "message": "what", "hint": "next"},
        )
        with pytest.raises(kind, match="what"):
            client.get("daemon")


def test_a_defect_is_answered_and_not_explained(
    client: Client, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("inner detail")

    monkeypatch.setattr(controller.service, "status", fail)
    status, answer = ask(client, "GET", "/v1/daemon")
    assert (status, answer["code"]) == (500, "internal-error")
    assert "inner detail" not in json.dumps(answer)
    assert client.get("pools") == []


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (errno.EACCES, 403, "not-permitted"),
        (errno.ENOENT, 404, "not-found"),
        (errno.ENAMETOOLONG, 400, "invalid-argument"),
        (errno.ENOSPC, 409, "no-space"),
        (errno.EMFILE, 409, "limit-reached"),
        (errno.EROFS, 403, "read-only"),
        (errno.EBUSY, 409, "busy"),
        (errno.EBADMSG, 500, "io-error"),
    ],
)
def test_what_the_operating_system_refuses_is_no_defect(
    controller: Controller,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    status: int,
    code: str,
) -> None:
    """By whichever verb: the routes know nothing of it."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), "/srv/m1")

    service = controller.service
    for verbs in (service.pools, service.volumes, service.targets, service.portals):
        monkeypatch.setattr(type(verbs), "all", refuse)
    monkeypatch.setattr(type(service.pools), "create", refuse)
    attempts: list[tuple[str, str, Any]] = [("POST", "/v1/pools", POOL)]
    attempts += [("GET", f"/v1/{noun}", None) for noun in ("pools", "volumes", "targets")]
    for method, path, body in attempts:
        found, answer = ask(client, method, path, body)
        assert (found, answer["code"]) == (status, code)
        assert answer["message"] == f"/srv/m1: {os.strerror(number)}"


def test_a_large_body_is_refused_unread(idle: Client) -> None:
    stated = f"Content-Length: {limits.REQUEST_BODY_BYTES_MAX + 1}"
    chunked = "Transfer-Encoding: chunked"
    for header, status in ((stated, b"413"), (chunked, b"411")):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(idle._socket_path))
            connection.sendall(f"POST /v1/pools HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
            assert connection.recv(100).split()[1] == status
    body = b" " * limits.REQUEST_BODY_BYTES_MAX
    assert ask(idle, "POST", "/v1/pools", body)[0] == 400


def test_long_verbs_do_not_hold_up_others(
    client: Client, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One verb waits for another: it can only end when both run at once."""
    met = threading.Barrier(2, timeout=30)
    monkeypatch.setattr(controller.service.volumes, "all", lambda pool: [met.wait()][:0])
    first = threading.Thread(target=client.get, args=("volumes",))
    first.start()
    assert client.get("volumes") == []
    first.join()
    assert not met.broken


def test_a_wrong_method_is_answered_with_the_right_ones(idle: Client) -> None:
    connection = _UnixConnection(idle._socket_path, 5)
    connection.request("PATCH", "/v1/pools")
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status == 405
    assert response.getheader("Allow") == "GET, POST"


def test_the_schema_has_every_route_with_its_answers(controller: Controller) -> None:
    schema = make_app(controller.service).openapi()
    assert len(schema["paths"]) >= 20
    for path, verbs in schema["paths"].items():
        for method, operation in verbs.items():
            answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
            assert answer, f"{method} {path} has no schema"
            error = operation["responses"]["default"]["content"]["application/json"]["schema"]
            assert error["$ref"].endswith("/ErrorBody")
            assert "422" not in operation["responses"], "invalid requests are answered with 400"
    assert "201" in schema["paths"]["/v1/pools"]["post"]["responses"]


def test_the_schema_shows_no_secret(controller: Controller) -> None:
    schemas = make_app(controller.service).openapi()["components"]["schemas"]
    fields = {name: json.dumps(list(one.get("properties", ()))) for name, one in schemas.items()}
    assert [name for name, one in fields.items() if "secret" in one.lower()] == ["ChapSet"]


def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "made/control.sock"
    mask = os.umask(0)
    try:
        listening = ControlSocket(path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    listening.close()
    assert list(path.parent.iterdir()) == []


def test_the_socket_has_its_own_name_in_the_kernel_s_list(tmp_path: Path) -> None:
    """Else systemd-tmpfiles takes it for one that a dead process has left."""
    path = tmp_path / "control.sock"
    listening = ControlSocket(path)
    names = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()]
    assert str(path) in names
    listening.close()


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    listening = ControlSocket(path)
    with pytest.raises(Busy, match=f"another daemon.*process {os.getpid()}"):
        ControlSocket(path)
    (tmp_path / "control.sock.lock").unlink()
    with pytest.raises(Busy, match="lost its lock"):
        ControlSocket(path)
    listening.close()


def test_what_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.write_text("notes")
    with pytest.raises(IoFailed, match="no socket"):
        ControlSocket(path)
    assert [one.name for one in tmp_path.iterdir()] == ["control.sock"]
    assert path.read_text() == "notes"


def test_the_end_of_a_daemon_leaves_its_successor_alone(tmp_path: Path) -> None:
    """Whose directory was cleaned up under the first, say."""
    path = tmp_path / "control.sock"
    first = ControlSocket(path)
    path.unlink()
    (tmp_path / "control.sock.lock").unlink()
    second = ControlSocket(path)
    first.close()
    assert path.exists() and (tmp_path / "control.sock.lock").exists()
    with pytest.raises(Busy):
        ControlSocket(path)
    second.close()
    assert list(tmp_path.iterdir()) == []


def test_no_daemon_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable) as caught:
        Client(tmp_path / "none.sock").get("pools")
    assert "none.sock" in caught.value.message and "scsi-snap daemon" in caught.value.hint


def test_the_default_socket() -> None:
    assert default_socket({"SCSI_SNAP_SOCKET": "/x"}, 0) == Path("/x")
    assert default_socket({}, 0) == Path("/run/scsi-snap/control.sock")
    runtime = {"XDG_RUNTIME_DIR": "/run/user/7"}
    assert default_socket(runtime, 7) == Path("/run/user/7/scsi-snap/control.sock")


def test_a_user_without_a_runtime_directory_has_a_socket_in_tmp(tmp_path: Path) -> None:
    """Such as by `su`, in a container, or from cron; only in a directory of that user alone."""
    user = 4_000_000_000 + os.getpid()
    directory = Path(f"/tmp/scsi-snap-{user}")
    environment: dict[str, str] = {}
    assert default_socket(environment, user) == directory / "control.sock"
    assert default_socket({"XDG_RUNTIME_DIR": ""}, user) == directory / "control.sock"
    directory.mkdir(mode=0o700)
    try:
        with pytest.raises(NotPermitted, match="this user alone") as caught:
            default_socket(environment, user)
        assert "--socket" in caught.value.hint
    finally:
        directory.rmdir()
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    assert _own(own, os.getuid()) == own
    own.chmod(0o755)
    with pytest.raises(NotPermitted):
        _own(own, os.getuid())
    directory.symlink_to(tmp_path)
    try:
        with pytest.raises(NotPermitted):
            default_socket(environment, user)
    finally:
        directory.unlink()


def test_names_from_the_client_stay_in_their_part_of_the_path(client: Client) -> None:
    with pytest.raises(NotFound):
        client.get("pools", "../daemon")
    with pytest.raises(NotFound):
        client.get("volumes", "a/b", "c?d")
    client.post("pools", body=POOL)
    assert client.get("volumes", pool="tank") == []
    assert str(VOL0) == "tank/vol0"


def operations(client: Client) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each."""
    for path, verbs in ask(client, "GET", "/openapi.json")[1]["paths"].items():
        for method, operation in verbs.items():
            yield method.upper(), path, operation


def test_each_operation_has_a_name_and_says_what_it_does(idle: Client) -> None:
    found = list(operations(idle))
    names = [operation["operationId"] for *_, operation in found]
    assert len(set(names)) == len(names)
    for method, path, operation in found:
        assert re.fullmatch("[a-z]+(_[a-z]+)*", operation["operationId"]), f"{method} {path}"
        assert operation.get("description"), f"{method} {path}"
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            texts = [one for one in schema.get("anyOf", [schema]) if one.get("type") == "string"]
            where = f"{method} {path}: {parameter['name']}"
            assert all("pattern" in one or "enum" in one for one in texts), where


def test_words_of_the_query_are_known_or_refused(idle: Client) -> None:
    for method, path, operation in operations(idle):
        concrete = re.sub(r"\{[a-z]+\}", "1", path)
        status, answer = ask(idle, method, f"{concrete}?no-such-word=1", b"{}")
        assert (status, answer["code"]) == (400, "invalid-argument"), operation["operationId"]
        assert "'no-such-word' is not known" in answer["message"], operation["operationId"]


@pytest.mark.parametrize("query", ["pool=a&pool=b", "pool=", "volume="])
def test_a_query_says_one_thing(idle: Client, query: str) -> None:
    status, answer = ask(idle, "GET", f"/v1/snapshots?{query}")
    assert (status, answer["code"]) == (400, "invalid-argument")


def test_a_refused_method_names_those_that_there_are(idle: Client) -> None:
    methods: dict[str, set[str]] = {}
    for method, path, _ in operations(idle):
        methods.setdefault(path, set()).add(method)
    for path, there in methods.items():
        connection = _UnixConnection(idle._socket_path, 30)
        connection.request("TRACE", re.sub(r"\{[a-z]+\}", "1", path))
        response = connection.getresponse()
        response.read()
        connection.close()
        allowed = set((response.headers["Allow"] or "").split(", "))
        # A word of the path may be another path's parameter.
        assert response.status == 405 and there <= allowed, path
