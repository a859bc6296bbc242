"""The tree of the shell and its commands: configshell, HTTP over a real socket, the service on
fakes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scsi_snap import control
from scsi_snap.control.views import CheckResult
from scsi_snap.control.volumes import VolumeVerbs
from scsi_snap.inventory import lio_names
from scsi_snap.inventory.names import VolumeName
from scsi_snap.shell.backstores import object_name
from scsi_snap.shell.hints import in_shell
from scsi_snap.shell.node import Node
from tests.controllers import IQN, MIB, MONDAY, VOL0, Controller, served
from tests.fakes import Disks
from tests.t11_shell.typist import Typist

HOST1 = "iqn.2026-11.org.example:host1"
HOST2 = "iqn.2026-11.org.example:host2"
SECRET = "twelve bytes or more".replace(" ", "-")
TANK = "/scsi_snap/pools/tank"
VOLUME = f"{TANK}/vol0"
TARGET = f"/scsi_snap/targets/{IQN}"
TPG = f"/iscsi/{IQN}/tpg1"
BACKSTORE = "/backstores/user:scsi-snap"


@pytest.fixture
def typed(controller: Controller) -> Iterator[Typist]:
    with served(controller.service) as client:
        yield Typist(client)


@pytest.fixture
def tour(typed: Typist, controller: Controller) -> Typist:
    return toured(typed, controller)


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    """After the tour, shared by tests that change nothing."""
    controller = Controller.start(tmp_path_factory.mktemp("reading"), Disks())
    with served(controller.service) as client:
        yield toured(Typist(client), controller)


def toured(typed: Typist, controller: Controller) -> Typist:
    """A volume with a snapshot, both mapped."""
    controller.with_volume()
    typed.script(
        f"""
        {VOLUME} snapshot monday
        /scsi_snap/targets create {IQN}
        {VOLUME} map {IQN} 0
        {VOLUME}/monday map {IQN} 1
        """
    )
    return typed


def test_each_verb_says_what_it_did(typed: Typist) -> None:
    pools = "/scsi_snap/pools"
    create = f"{pools} create tank /m1:1GiB /m2:1GiB /m3:1GiB level=raid5 strip=64KiB"
    assert typed(create) == "created pool tank\n"
    assert typed(create) == "unchanged: pool tank\n"
    made = typed(f"{TANK} create vol0 1MiB chunk=4KiB policy=fail-write store_limit=512KiB")
    assert made == "created volume tank/vol0\n"
    assert typed(f"{TANK} create vol1 1MiB block=4096 read_only=true serial=A1")
    assert typed(f"{VOLUME} snapshot a blocks=8+16") == "created snapshot tank/vol0@a\n"
    assert typed(f"{VOLUME} create b") == "created snapshot tank/vol0@b\n"
    both = "tank/vol0@c tank/vol1@c"
    assert typed(f"{pools} snapshot {both}") == f"created snapshot {both}\n"
    assert typed(f"/scsi_snap/targets create {IQN}") == f"created target {IQN}\n"
    assert typed(f"{VOLUME}/a map {IQN} 0") == f"created LUN 0 of {IQN}: tank/vol0@a\n"
    assert typed(f"{VOLUME} unmap {IQN} 0") == f"unmapped LUN 0 of {IQN}\n"
    assert typed(f"{VOLUME} delete a") == "deleted snapshot tank/vol0@a\n"
    assert typed(f"{VOLUME} resize 2MiB") == "changed volume tank/vol0\n"
    assert typed(f"{VOLUME} resize +512KiB") == "changed volume tank/vol0\n"
    assert typed(f"{VOLUME} resize 2.5MiB") == "unchanged: volume tank/vol0\n"
    assert typed(f"{VOLUME} check") == "tank/vol0: clean\n"
    assert typed(f"{TANK} check") == typed("/scsi_snap check") != ""
    assert typed(f"{TANK} delete vol0 snapshots=true") == "deleted volume tank/vol0\n"
    assert typed(f"{TANK} delete vol1 snapshots=yes") == "deleted volume tank/vol1\n"
    assert typed(f"/scsi_snap/targets delete {IQN}") == f"deleted target {IQN}\n"
    assert typed(f"{TANK} fail_member /m3") == "changed pool tank: /m3 is failed\n"
    assert typed(f"{pools} export tank") == "exported pool tank\n"
    assert typed(f"{pools} import /m1 /m2 /m3") == "created pool tank\n"
    assert typed(f"{pools} delete tank") == "deleted pool tank\n"


def test_ls_tells_how_things_are(tour: Typist, controller: Controller) -> None:
    assert tour.status("/scsi_snap/pools") == "1 pool"
    assert tour.status(TANK).startswith("raid5, 1TiB") and tour.status(TANK).endswith("optimal")
    assert tour.status(VOLUME) == "1MiB, 1 snapshot, store empty, 1 LUN"
    controller.write(0, 8)
    assert "store 64KiB of 128KiB (50%)" in tour.status(VOLUME)
    assert tour.status(f"{VOLUME}/monday").endswith("whole volume, live, 1 LUN")
    assert tour.status(TARGET) == "2 LUNs, 0 sessions, any initiator"
    assert tour.status(f"{TARGET}/lun1") == "tank/vol0@monday (1MiB) ro"
    assert tour.status(f"/scsi_snap/luns/{IQN}/lun0") == "tank/vol0 (1MiB) rw"
    assert tour.status("/scsi_snap/portals/127.0.0.1:3260") == "group 1, by --listen, listening"
    tour(f"{TANK} fail_member /m2")
    assert tour.status(TANK).endswith("degraded")
    assert tour.status("/scsi_snap/pools") == "1 pool, 1 not optimal"


def test_info_tells_all(tour: Typist) -> None:
    volume = tour(f"{VOLUME} info")
    assert "policy          drop-snapshot\n" in volume and f"{IQN} LUN 0" in volume
    assert "state    live\n" in tour(f"{VOLUME}/monday info")
    assert "member 0  /m1, in-sync, 0 errors\n" in tour(f"{TANK} info")
    assert "portal group 1  127.0.0.1:3260\n" in tour(f"{TARGET} info")
    assert "data path" in tour("/scsi_snap info")
    assert "drop-snapshot" in tour(f"{BACKSTORE}/tank:vol0 info")
    assert "shows  tank/vol0 (1MiB) rw\n" in tour(f"{TARGET}/lun0 info")


def test_what_changed_since_a_snapshot(tour: Typist, controller: Controller) -> None:
    controller.write(0, 8)
    assert tour(f"{VOLUME} diff monday").splitlines()[-1] == "1 extent, 64KiB changed"
    assert tour(f"{VOLUME}/monday diff").splitlines()[1].split() == ["0", "128", "65536"]
    assert tour(f"{VOLUME}/monday extents").splitlines()[-1].endswith(" allocated")
    tour(f"{VOLUME} snapshot tuesday")
    controller.write(256, 8)
    assert tour(f"{VOLUME} diff monday tuesday").splitlines()[-1].startswith("1 extent")
    assert tour(f"{VOLUME} diff monday").splitlines()[-1].startswith("2 extents")
    assert "shared with the origin" in tour(f"{VOLUME}/monday picture")


def test_a_personality_is_set_and_got(tour: Typist) -> None:
    assert tour(f"{VOLUME} set volume vendor=ACME read_only=true") == (
        "Parameter vendor is now 'ACME'.\nParameter read_only is now 'true'.\n"
    )
    assert tour(f"{VOLUME} get volume vendor").strip() == "vendor=ACME"
    assert "read-only" in tour.status(VOLUME)
    tour(f"{VOLUME} set volume vendor=")
    assert tour.client.get("volumes", "tank", "vol0")["vendor"] != "ACME"
    assert "8" in tour.refused(f"{VOLUME} set volume vendor=MUCHTOOLONG")


def test_access_to_a_target(tour: Typist) -> None:
    tour(f"{TARGET} allow {HOST1}")
    assert tour.status(TARGET).endswith("1 initiator allowed")
    waiting = tour(f"{TARGET} set auth userid=alice")
    assert waiting == "password must be set too; no change so far\n"
    assert tour.client.get("targets", IQN)["chap_user"] is None
    assert tour(f"{TARGET} set auth password={SECRET}") == f"changed CHAP of {IQN}\n"
    assert tour(f"{TARGET} get auth userid password").split() == [
        "userid=alice",
        "password=(secret)",
    ]
    tour(f"{TARGET} set auth mutual_userid=disk mutual_password={SECRET[::-1]}")
    assert tour.status(TARGET).endswith("mutual CHAP")
    assert SECRET not in tour("ls /") + tour(f"{TARGET} info") + tour(f"{TARGET} get auth")
    assert tour(f"{TARGET} set auth userid=") == f"changed CHAP of {IQN}\n"
    assert tour.client.get("targets", IQN)["chap_user"] is None
    assert "no parameter 'user'" in tour.refused(f"{TARGET} set auth user=alice")
    assert tour(f"{TARGET} map 5 tank/vol0 initiator={HOST1} read_only=true again=true")
    assert tour.status(f"{TARGET}/lun5") == f"tank/vol0 (1MiB) ro, to {HOST1}"
    tour(f"{TARGET} unmap 5 {HOST1}")
    tour(f"{TARGET} delete 1")
    tour(f"{TARGET} redirect 192.0.2.2:3260")
    assert "sent on to 192.0.2.2:3260" in tour.status(TARGET)
    tour.script(f"{TARGET} redirect\n{TARGET} allow {HOST2}\n{TARGET} deny {HOST1}")
    assert tour.status(TARGET) == "1 LUN, 0 sessions, 1 initiator allowed"
    tour(f"{TARGET} allow_any")
    assert tour.status(TARGET) == "1 LUN, 0 sessions, any initiator"


def test_portals_groups_and_discovery(tour: Typist) -> None:
    portals = "/scsi_snap/portals"
    assert tour(f"{portals} create 127.0.0.2:3260 group=2") == "created portal 127.0.0.2:3260\n"
    tour(f"{TARGET} add_group 2")
    assert tour.status(f"/iscsi/{IQN}") == "TPGs: 2"
    assert tour.status(f"/iscsi/{IQN}/tpg2/portals/127.0.0.2:3260") == "group 2, listening"
    tour(f"{TARGET} remove_group tpg2")
    assert tour(f"{portals} delete 127.0.0.2:3260") == "deleted portal 127.0.0.2:3260\n"
    tour(f"{portals} set discovery_auth userid=scout password={SECRET}")
    assert tour.status(portals) == "1 portal, discovery by CHAP"
    assert tour("/iscsi get discovery_auth userid").strip() == "userid=scout"


def test_sessions_and_events(tour: Typist, controller: Controller) -> None:
    number = controller.exporter.log_in(IQN, HOST1)
    assert tour.status(f"/scsi_snap/sessions/{number}").startswith(f"{HOST1} from 192.0.2.1")
    assert f"target     {IQN}\n" in tour(f"/scsi_snap/sessions/{number} info")
    assert "session" in tour.refused(f"/scsi_snap/targets delete {IQN}")
    assert tour(f"/scsi_snap/sessions close {number}") == f"closed session {number}\n"
    assert tour.status("/scsi_snap/sessions") == "0 sessions"
    tour(f"{TANK} fail_member /m3")
    controller.service.fetch_events()
    assert "/m3" in tour("/scsi_snap/events show")
    assert tour.status("/scsi_snap/events").startswith("1, the last: ")
    assert tour("/scsi_snap/events show after=1") == "no events\n"


def test_the_tree_in_the_words_of_targetcli(typed: Typist, controller: Controller) -> None:
    controller.with_volume()
    assert typed(f"/iscsi create wwn={IQN}") == f"created target {IQN}\n"
    assert typed(f"{BACKSTORE} create log 1MiB tank/log") == "created volume tank/log\n"
    assert typed(f"{BACKSTORE} create name=tank/log@monday") == "created snapshot tank/log@monday\n"
    typed(f"{TPG}/luns create storage_object={BACKSTORE}/tank:vol0 lun=5")
    typed(f"{TPG}/luns create {BACKSTORE}/tank:log:monday")
    typed(f"{TPG}/luns create tank/log lun1")
    assert typed(f"{TPG}/luns ls").count("o- lun") == 4
    assert typed.status(f"{TPG}/luns/lun0") == "tank/log@monday (1MiB) ro"
    typed(f"{TPG}/acls create {HOST1}")
    typed(f"{TPG}/acls/{HOST1} create 7 {BACKSTORE}/tank:vol0 write_protect=1")
    assert typed.status(f"{TPG}/acls/{HOST1}/mapped_lun7") == f"tank/vol0 (1MiB) ro, to {HOST1}"
    assert typed.status(TPG) == "no-gen-acls, no-auth"
    typed(f"{TPG}/acls/{HOST1} set auth userid=h1 password={SECRET}")
    assert typed.status(f"{TPG}/acls/{HOST1}") == "Mapped LUNs: 1, own auth"
    assert typed(f"{TPG}/portals create 127.0.0.2") == "created portal 127.0.0.2:3260\n"
    assert typed(f"{TPG}/portals create ::1 3261") == "created portal [::1]:3261\n"
    assert typed(f"{TPG}/portals delete ::1 3261") == "deleted portal [::1]:3261\n"
    typed(f"{TPG}/acls/{HOST1} delete mapped_lun7")
    typed(f"{TPG}/acls create {HOST2}")
    typed(f"{TPG}/acls delete {HOST1}")
    assert "last initiator" in typed.refused(f"{TPG}/acls delete {HOST2}")
    typed(f"{TPG}/acls allow_any")
    typed(f"{TPG}/luns delete lun5")
    typed(f"{TPG}/luns delete 0")
    typed(f"{BACKSTORE} delete tank:log:monday")
    typed(f"{TPG}/luns delete 1")
    assert typed(f"{BACKSTORE} delete tank:log") == "deleted volume tank/log\n"
    assert typed(f"/iscsi delete {IQN}") == f"deleted target {IQN}\n"


def test_storage_objects_are_called_as_in_the_kernels_target(
    typed: Typist, controller: Controller
) -> None:
    controller.with_volume()
    controller.service.volumes.create(VolumeName("tank", "vol0:monday"), MIB)
    typed(f"{VOLUME} snapshot monday")
    for backing in ("tank/vol0", "tank/vol0@monday", "tank/vol0:monday"):
        assert object_name(backing) == lio_names.storage_object(backing, read_only=False)
    typed(f"{BACKSTORE} delete tank:vol0[]monday")
    typed(f"{BACKSTORE} delete tank:vol0:monday")
    assert typed.status(BACKSTORE) == "Storage Objects: 1"


def test_the_tree_follows_what_others_do(tour: Typist, controller: Controller) -> None:
    tour(f"cd {VOLUME}")
    controller.service.targets.unmap(IQN, 1, ())
    controller.service.snapshots.delete(MONDAY)
    assert tour("ls").count("o- ") == 1
    controller.service.volumes.resize(VOL0, 2 * MIB)
    assert "[2MiB, 1 LUN]" in tour("ls")
    controller.service.targets.unmap(IQN, 0, ())
    controller.service.volumes.delete(VOL0, with_snapshots=False)
    assert "[no longer there]" in tour("ls")
    assert "no volume" in tour.refused("snapshot late")
    tour("cd ..")
    assert tour("pwd") == f"{TANK}\n"


def test_refusals_are_shown_with_their_hint(tour: Typist) -> None:
    assert tour.refused("/scsi_snap/pools delete tnk").startswith("no pool named 'tnk'\n  did you")
    assert "write it like" in tour.refused(f"{TANK} create vol1 huge")
    assert "neither true nor false" in tour.refused(f"{TANK} delete vol0 snapshots=maybe")
    assert "is not a number" in tour.refused(f"{VOLUME} map {IQN} first")
    assert "write it like 1 or tpg1" in tour.refused(f"{TARGET} add_group one")
    assert "no parameter 'raid'" in tour.refused("/scsi_snap/pools create a /x raid=raid5")
    assert "needs members" in tour.refused("/scsi_snap/pools create a")
    assert "no storage object" in tour.refused(f"{TPG}/luns create {BACKSTORE}/none")
    assert "leave size out" in tour.refused(f"{BACKSTORE} create a 1MiB tank/vol0@x")
    assert "needs a size" in tour.refused(f"{BACKSTORE} create a cfgstring=tank/x")
    assert "no such path" in tour.refused(f"{TANK}/none ls")
    assert "cannot be read" in tour.refused(f'{VOLUME} set volume product="A DISK"')
    assert "Command not found" in tour.refused("/scsi_snap frobnicate")
    assert "cd needs a path" in tour.refused("cd")


def test_problems_found_fail_the_command(tour: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    result = CheckResult("tank/vol0", ("a record is torn",))
    monkeypatch.setattr(VolumeVerbs, "check", lambda *_: result)
    assert tour.refused(f"{VOLUME} check") == "the check found 1 problem"


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("/scsi_snap/po", ["/scsi_snap/pools/", "/scsi_snap/portals/"]),
        (f"{VOLUME} sna", ["snapshot "]),
        (f"{TANK} delete v", ["vol0 "]),
        (f"{VOLUME} delete ", ["monday ", "name="]),
        (f"{VOLUME} map iqn", [f"{IQN} "]),
        (f"{VOLUME} unmap {IQN} ", ["0", "1", "initiator=", "lun="]),
        (f"{TARGET} map 2 tank/vol", ["tank/vol0", "tank/vol0@monday"]),
        (f"{TANK} create x 1MiB pol", ["policy="]),
        (f"{TANK} create x 1MiB policy=d", ["policy=drop-snapshot "]),
        (f"{VOLUME} set volume read_only=", ["read_only=false", "read_only=true"]),
        (f"{TPG}/luns create /back", [f"{BACKSTORE}/tank:vol0", f"{BACKSTORE}/tank:vol0:monday"]),
        (f"{TPG}/luns delete lun=", ["lun=0", "lun=1"]),
        (f"{TPG}/portals delete ip_address=127", ["ip_address=127.0.0.1 "]),
        ("/scsi_snap/pools create tank2 /m1 l", ["level="]),
        ("/scsi_snap/pools snapshot ta", ["tank/vol0@"]),
        (f"{BACKSTORE} create x cfgstring=", ["cfgstring=tank/", "cfgstring=tank/vol0@"]),
        (f"{VOLUME}/monday diff ", ["until="]),
        (f"{VOLUME} help res", ["resize "]),
        ("/scsi_snap/nowhere/ ", []),
    ],
)  # fmt: skip
def test_tab_completes(reading: Typist, line: str, offers: list[str]) -> None:
    assert reading.complete(line) == offers


def test_tab_and_lines_see_what_is_new(tour: Typist, controller: Controller) -> None:
    assert tour.complete(f"{TANK}/vol") == [f"{VOLUME}/"]
    controller.service.volumes.create(VolumeName("tank", "vol1"), MIB)
    assert tour.complete(f"{TANK}/vol") == [f"{TANK}/vol0/", f"{TANK}/vol1/"]
    controller.service.volumes.create(VolumeName("tank", "vol2"), MIB)
    assert "o- vol2 " in tour(f"{TANK} ls")


def test_each_command_has_a_help(reading: Typist) -> None:
    def nodes(node: Node) -> Iterator[Node]:
        yield node
        for child in node.children:
            yield from nodes(child)

    kinds = {type(node): node for node in nodes(reading.shell._root_node)}
    assert len(kinds) >= 20
    for node in kinds.values():
        for command in node.list_commands():
            method = node.get_command_method(command)
            assert (inspect.getdoc(method) or "").strip(), f"{type(node).__name__} {command}"
            shown = reading(f"{node.path} help {command}")
            assert node.get_command_description(command).strip() in shown


def test_a_daemon_that_goes_away_is_one_error(controller: Controller) -> None:
    with served(controller.service) as client:
        typed = Typist(client)
        typed("cd /scsi_snap/pools")
    refused = typed.refused("ls")
    assert refused.startswith("no daemon answers on") and "scsi-snap daemon" in refused
    assert "no daemon answers" in typed("/scsi_snap ls")
    assert typed.refused("/scsi_snap/events ls").startswith("no daemon answers on")
    assert typed.complete("/scsi_snap/pools/") == []


def test_what_targetcli_has_and_we_do_otherwise_is_said(reading: Typist) -> None:
    assert "nothing to save" in reading("/ saveconfig")
    assert "daemon" in reading("/ version")
    for command, says in [
        ("/ restoreconfig", "import MEMBER"),
        ("/ clearconfig", "/iscsi delete IQN"),
        (f"{TPG} set attribute authentication=1", "set auth userid=USER"),
        (f"{TPG} set attribute generate_node_acls=1", "acls/ allow_any"),
        (f"{TPG} set parameter MaxBurstLength=65536", "negotiated"),
    ]:
        assert says in reading.refused(command), command


def test_a_target_gets_a_name_where_none_is_typed(tour: Typist) -> None:
    first, second = (tour("/iscsi create").split()[-1] for _ in range(2))
    assert first != second and first.startswith("iqn.2003-01.org.linux-iscsi.")


def test_hints_name_commands_of_the_shell(tour: Typist) -> None:
    said = tour.refused(f"{TANK} delete vol0 snapshots=true")
    for command in re.findall(r"`(/\S+ unmap \d+)`", said):
        tour(command)
    assert "scsi-snap" not in said
    tour(f"{TANK} delete vol0 snapshots=true")


HINTS = sorted(
    {
        found
        for path in Path(control.__file__).parents[1].rglob("*.py")
        if path.parent.name in ("control", "inventory")
        for found in re.findall(r"`scsi-snap ([^`\n\"]+)`", path.read_text())
    }
)


@pytest.mark.parametrize("hint", HINTS)
def test_every_hint_of_the_daemon_has_words_of_the_shell(hint: str) -> None:
    """The fields that are filled in are names, or a volume's, as their word says."""
    command = re.sub(r"\{[^}]*(origin|label|VolumeName|volume\.name)[^}]*\}", "tank/vol0", hint)
    if command.startswith(("volume", "snapshot list")):
        command = re.sub(r"(?<!/)\{name\}(?!/)", "tank/vol0", command)
    if command.startswith("snapshot delete"):
        command = re.sub(r"\{(snapshot\.)?name\}", "tank/vol0@monday", command)
    command = re.sub(r"\{'?[^}]*(lun|luns)[^}]*\}", "0", command)
    command = re.sub(r"\{options\}", "", command)
    command = re.sub(r"\{[^}]*\}", "name", command)
    if not command.startswith(("daemon", "status --")):
        assert "scsi-snap" not in in_shell(f"`scsi-snap {command}`"), hint
