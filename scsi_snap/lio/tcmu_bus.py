"""The service org.kernel.TCMUService1 on a bus. The only importer of dbus_fast.

/org/kernel/TCMUService1/HANDLER                    an object for each handler, of the owner
/org/kernel/TCMUService1/HandlerManager1            where the owner takes further handlers
/org/kernel/TCMUService1/HandlerManager1/HANDLER    what the owner then asks, of the handler's
                                                    own name …HandlerManager1.HANDLER
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Annotated

from dbus_fast import BusType, Message, MessageType, NameFlag, PropertyAccess, RequestNameReply
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusSignature, DBusStr, DBusUInt64
from dbus_fast.errors import DBusError
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from scsi_snap.lio.tcmu_service import HANDLER

NAME = "org.kernel.TCMUService1"
PATH = "/org/kernel/TCMUService1"
MANAGER = f"{NAME}.HandlerManager1"
MANAGER_PATH = f"{PATH}/HandlerManager1"

CONFIG_DESC = (
    "POOL/VOLUME, or POOL/VOLUME@SNAPSHOT (read-only), of a running scsi_snap. The size is the"
    " volume's: `scsi-snap volume show` tells it in bytes."
)

REGISTER_S = 30.0
"""tcmu-runner answers at once; one that hangs must not keep us from a later one."""

_OWNER_CHANGED = (
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
    f"member='NameOwnerChanged',arg0='{NAME}'"
)

CheckConfig = Callable[[str], Awaitable[str | None]]


class Handler(ServiceInterface):
    """What targetcli asks of a handler."""

    def __init__(self, check: CheckConfig) -> None:
        super().__init__(NAME)
        self._check = check

    @dbus_property(access=PropertyAccess.READ, name="ConfigDesc")
    def config_desc(self) -> DBusStr:
        return CONFIG_DESC

    @dbus_method(name="CheckConfig")
    async def check_config(
        self, configstr: DBusStr
    ) -> Annotated[tuple[bool, str], DBusSignature("bs")]:
        """Whether a device with it would be served, and the reason where not."""
        reason = await self._check(configstr)
        return reason is None, "success" if reason is None else reason

    @dbus_method(name="ChangeMedium")
    def change_medium(
        self, name: DBusStr, size: DBusUInt64, configstr: DBusStr
    ) -> Annotated[tuple[int, str], DBusSignature("is")]:
        return -errno.EOPNOTSUPP, "a device keeps its volume: create another one"


async def announce(
    check: CheckConfig, bus_address: str | None, told: Callable[[str], None]
) -> None:
    """Until it is cancelled or the bus ends. `told`: how it stands, in words."""
    bus = await MessageBus(bus_address=bus_address, bus_type=BusType.SYSTEM).connect()
    owner_changed = asyncio.Event()

    def notice(message: Message) -> None:
        # To us: what we have just settled ourselves.
        if message.member == "NameOwnerChanged" and message.body[::2] != [NAME, bus.unique_name]:
            owner_changed.set()

    ended = asyncio.create_task(_disconnected(bus))
    try:
        bus.add_message_handler(notice)
        await _call_bus(bus, "AddMatch", _OWNER_CHANGED)
        handler = Handler(check)
        while not ended.done():
            owner_changed.clear()
            told(await _settle(bus, handler))
            waiting = asyncio.create_task(owner_changed.wait())
            await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
    finally:
        ended.cancel()
        bus.disconnect()


async def _settle(bus: MessageBus, handler: Handler) -> str:
    # Made before the name is ours, so that nobody finds the service empty; and never both objects,
    # since targetcli would list the handler twice.
    _move(bus, handler, f"{MANAGER_PATH}/{HANDLER}", f"{PATH}/{HANDLER}")
    owned = await bus.request_name(NAME, NameFlag.DO_NOT_QUEUE)
    if owned in (RequestNameReply.PRIMARY_OWNER, RequestNameReply.ALREADY_OWNER):
        return f"targetcli is told of user:{HANDLER}"
    _move(bus, handler, f"{PATH}/{HANDLER}", f"{MANAGER_PATH}/{HANDLER}")
    await bus.request_name(f"{MANAGER}.{HANDLER}", NameFlag.DO_NOT_QUEUE)
    registration = Message(
        destination=NAME,
        path=MANAGER_PATH,
        interface=MANAGER,
        member="RegisterHandler",
        signature="ss",
        body=[HANDLER, CONFIG_DESC],
    )
    try:
        answer = await asyncio.wait_for(bus.call(registration), REGISTER_S)
    except TimeoutError:
        return f"tcmu-runner does not answer: targetcli is not told of user:{HANDLER}"
    if answer.message_type is MessageType.ERROR or not answer.body[0]:
        return f"tcmu-runner does not take user:{HANDLER}: {answer.body[-1]}"
    return f"targetcli is told of user:{HANDLER} by tcmu-runner"


def _move(bus: MessageBus, handler: Handler, old: str, new: str) -> None:
    bus.unexport(old, handler)
    bus.unexport(new, handler)
    bus.export(new, handler)


async def _call_bus(bus: MessageBus, member: str, argument: str) -> None:
    answer = await bus.call(
        Message(
            destination="org.freedesktop.DBus",
            path="/org/freedesktop/DBus",
            interface="org.freedesktop.DBus",
            member=member,
            signature="s",
            body=[argument],
        )
    )
    if answer.message_type is MessageType.ERROR:
        raise DBusError(str(answer.error_name), str(answer.body))


async def _disconnected(bus: MessageBus) -> None:
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
