"""The D-Bus service org.kernel.TCMUService1, on a bus of the test's own."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

import pytest

from scsi_snap.lio import tcmu_service
from scsi_snap.lio.tcmu_service import TcmuService

pytest.importorskip("dbus_fast", reason="the Python package dbus-fast is not installed")

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method

from scsi_snap.lio.tcmu_bus import CONFIG_DESC, MANAGER, MANAGER_PATH, NAME, PATH

pytestmark = pytest.mark.skipif(
    shutil.which("dbus-daemon") is None, reason="the program dbus-daemon is not installed"
)

OBJECT = f"{PATH}/scsi_snap"
BELOW_MANAGER = f"{MANAGER_PATH}/scsi_snap"


@pytest.fixture
def address() -> Iterator[str]:
    # Not under pytest's directory: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="bus") as directory:
        command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address"]
        process = subprocess.Popen(
            [*command, f"--address=unix:path={directory}/bus"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()
            process.communicate()


def check(backing: str) -> str | None:
    return None if backing == "tank/vol0" else f"no volume named {backing!r}"


class Caller:
    """A program such as targetcli."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    async def call(
        self, path: str, interface: str, member: str, signature: str = "", *body: Any
    ) -> Message:
        message = Message(
            destination=NAME,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        return await asyncio.wait_for(self._bus.call(message), 30)

    async def objects(self) -> Any:
        """None where nobody owns the service."""
        answer = await self.call(PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        return None if answer.message_type is MessageType.ERROR else answer.body[0]

    async def listed(self) -> list[str]:
        return list(await self.objects() or [])

    async def checked(self, config: str, path: str = OBJECT) -> list[Any]:
        body: list[Any] = (await self.call(path, NAME, "CheckConfig", "s", config)).body
        return body


@asynccontextmanager
async def running(address: str) -> AsyncIterator[Caller]:
    """The service, and a caller on another connection."""
    service = TcmuService(check, address)
    bus = await MessageBus(bus_address=address).connect()
    await service.start()
    try:
        yield Caller(bus)
    finally:
        await service.stop()
        bus.disconnect()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await holds():
            await asyncio.sleep(0.01)


async def until_listed(caller: Caller) -> None:
    async def holds() -> bool:
        return await caller.listed() == [OBJECT]

    await until(holds)


class Runner(ServiceInterface):
    """As tcmu-runner: takes handlers, and shows them as its own objects."""

    def __init__(self, *, takes: bool = True) -> None:
        super().__init__(MANAGER)
        self.registered: list[tuple[str, str]] = []
        self._takes = takes

    @dbus_method(name="RegisterHandler")
    def register_handler(
        self, subtype: DBusStr, cfgstr_desc: DBusStr
    ) -> Annotated[tuple[bool, str], DBusSignature("bs")]:
        self.registered.append((subtype, cfgstr_desc))
        return self._takes, "succeeded" if self._takes else "no room"

    async def started(self, address: str) -> MessageBus:
        bus = await MessageBus(bus_address=address).connect()
        bus.export(MANAGER_PATH, self)
        await bus.request_name(NAME)
        return bus


def test_targetcli_finds_the_handler_and_what_its_config_is(address: str) -> None:
    async def scenario() -> None:
        async with running(address) as caller:
            await until_listed(caller)
            properties = (await caller.objects())[OBJECT][NAME]
            assert properties["ConfigDesc"].value == CONFIG_DESC

    asyncio.run(scenario())


def test_a_config_is_checked_and_the_reason_told(address: str) -> None:
    async def scenario() -> None:
        async with running(address) as caller:
            await until_listed(caller)
            assert await caller.checked("scsi_snap/tank/vol0") == [True, "success"]
            assert await caller.checked("scsi-snap/tank/vol0") == [True, "success"]
            assert await caller.checked("scsi_snap/tank/vol1") == [
                False,
                "no volume named 'tank/vol1'",
            ]
            assert (await caller.checked("rbd/tank/vol0"))[0] is False
            medium = await caller.call(OBJECT, NAME, "ChangeMedium", "sts", "vol0", 512, "x")
            assert medium.body[0] < 0

    asyncio.run(scenario())


def test_where_tcmu_runner_speaks_for_all_it_takes_ours(address: str) -> None:
    async def scenario() -> None:
        runner = Runner()
        its_bus = await runner.started(address)
        async with running(address):

            async def registered() -> bool:
                return bool(runner.registered)

            await until(registered)
            assert runner.registered == [("scsi_snap", CONFIG_DESC)]
            # What targetcli asks the runner, the runner asks our own name.
            asked = Message(
                destination=f"{MANAGER}.scsi_snap",
                path=BELOW_MANAGER,
                interface=NAME,
                member="CheckConfig",
                signature="s",
                body=["scsi_snap/tank/vol0"],
            )
            assert (await its_bus.call(asked)).body == [True, "success"]
        its_bus.disconnect()

    asyncio.run(scenario())


def test_the_service_follows_when_the_name_changes_hands(address: str) -> None:
    async def scenario() -> None:
        runner = Runner()
        its_bus = await runner.started(address)
        async with running(address) as caller:

            async def registered() -> bool:
                return bool(runner.registered)

            await until(registered)
            its_bus.disconnect()
            await until_listed(caller)
            assert await caller.checked("scsi_snap/tank/vol0") == [True, "success"]

    asyncio.run(scenario())


def test_a_runner_that_refuses_is_told_of(address: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        its_bus = await Runner(takes=False).started(address)
        async with running(address):

            async def told() -> bool:
                return "does not take user:scsi_snap: no room" in caplog.text

            await until(told)
        its_bus.disconnect()

    asyncio.run(scenario())


def test_after_a_stop_nobody_finds_it(address: str) -> None:
    async def scenario() -> None:
        async with running(address) as caller:
            await until_listed(caller)
        bus = await MessageBus(bus_address=address).connect()

        async def gone() -> bool:
            return await Caller(bus).objects() is None

        await until(gone)
        bus.disconnect()

    asyncio.run(scenario())


async def run_to_its_end(service: TcmuService) -> None:
    await service.start()
    assert service._task is not None
    await asyncio.wait_for(service._task, 30)
    await service.stop()


def test_without_a_bus_the_daemon_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = TcmuService(check, f"unix:path={tmp_path}/none")
    asyncio.run(run_to_its_end(service))
    assert "targetcli is not told of user:scsi_snap" in caplog.text


def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "dbus_fast", None)
    monkeypatch.delitem(sys.modules, "scsi_snap.lio.tcmu_bus")
    asyncio.run(run_to_its_end(TcmuService(check)))
    assert "no Python package dbus_fast" in caplog.text


def test_the_policy_lets_root_own_both_names() -> None:
    path = Path(tcmu_service.__file__).with_name("org.kernel.TCMUService1.conf")
    policies = ElementTree.parse(path).getroot().findall("policy")
    assert [policy.get("user") for policy in policies] == ["root"]
    owned = {rule.get("own") for rule in policies[0] if rule.get("own")}
    assert owned == {NAME, f"{MANAGER}.scsi_snap"}
