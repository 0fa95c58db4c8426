"""The server as one process reaches it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

import attrs
import trio

from trio_bus._backend import Buried, GroupMember, Membership, Record, StreamBackend
from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError, ConnectionLost, OutcomeUnknown, RemoteError, Unsupported
from trio_bus._graves import Grave, Redriven
from trio_bus._info import TopicInfo
from trio_bus._once import Append, Once
from trio_bus.testing._ears import Witness, tell_redriven

from .member import WiredMember
from .wire import Wire

Results = list[EntryId | Exception]


@attrs.define(eq=False)
class WiredBackend(StreamBackend):
    """The streams of a host, over the wire of one process."""

    wire: Wire

    @property
    def url(self) -> str | None:
        """Nobody else can reach it."""
        return None

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> Results:
        """Append all, or the first ones, or none; each with an error of its own."""
        streams = self.wire.host.streams
        half = self.wire.is_halved("append")
        whole = len(records) // 2 if half else len(records)
        try:
            results = await self.wire.call(
                "append",
                lambda: streams.append(topic, records[:whole], once[:whole]),
                unknown=OutcomeUnknown,
            )
        except BusError as error:
            return [type(error)(str(error)) for _ in records]
        lost = [OutcomeUnknown("append: the connection was lost") for _ in records[whole:]]
        return [*results, *lost]

    async def append_persisted(self, appends: Sequence[Append], replicas: int) -> Results:  # noqa: ARG002 - of the contract
        """Refuse them: nothing here is on a disk."""
        await trio.lowlevel.checkpoint()
        return [Unsupported("ERR simulated: persists nothing") for _ in appends]

    def append_nowait(
        self,
        topic: str,
        record: Record,
        once: Once | None,
        on_result: Callable[[EntryId | Exception], None],
    ) -> None:
        """Append at once, if there is a connection."""
        self.wire.check("append_nowait")
        if self.wire.host.is_down or not self.wire.process.alive:
            raise ConnectionLost("append_nowait: there is no connection")
        self.wire.host.streams.append_nowait(topic, record, once, on_result)

    async def schedule(
        self,
        topic: str,
        record: Record,
        uid: str,
        when: float | datetime,
        once: float | None = None,
    ) -> str:
        """Schedule."""
        streams = self.wire.host.streams
        return await self.wire.call(
            "schedule",
            lambda: streams.schedule(topic, record, uid, when, once),
            unknown=OutcomeUnknown,
        )

    async def cancel_scheduled(self, topic: str, uid: str) -> bool:
        """Take it out of the schedule."""
        streams = self.wire.host.streams
        return await self.wire.call(
            "cancel", lambda: streams.cancel_scheduled(topic, uid), unknown=OutcomeUnknown
        )

    async def create_group(self, topic: str, group: str, start: EntryId | None) -> bool:
        """Make sure that it exists."""
        streams = self.wire.host.streams
        return await self.wire.call(
            "create_group", lambda: streams.create_group(topic, group, start)
        )

    async def create_private(
        self, topic: str, group: str, start: EntryId | None, expiry: float
    ) -> EntryId | None:
        """Create a private group."""

        async def act() -> EntryId | None:
            begin = await self.wire.host.streams.create_private(topic, group, start, expiry)
            self.wire.journal.begun(topic, group, begin, expiry)
            return begin

        return await self.wire.call("create_group", act)

    def join(self, membership: Membership) -> AbstractAsyncContextManager[GroupMember]:
        """Be that consumer."""
        return self._join(membership)

    @asynccontextmanager
    async def _join(self, membership: Membership) -> AsyncGenerator[GroupMember, None]:
        async with self.wire.host.streams.join(membership) as member:
            witness = Witness(self.wire.journal, self.wire.process.name, membership)
            yield WiredMember(member, self.wire, membership, witness)

    async def info(self, topic: str) -> TopicInfo:
        """Ask."""
        return await self.wire.call("info", lambda: self.wire.host.streams.info(topic))

    async def buried(
        self, topic: str, group: str | None, after: EntryId | None
    ) -> tuple[list[Buried], EntryId | None]:
        """Read dead ones."""
        return await self.wire.call(
            "buried", lambda: self.wire.host.streams.buried(topic, group, after)
        )

    async def redrive(self, dead: Sequence[Grave]) -> list[Redriven | RemoteError]:
        """Send them back, or half of them."""
        half = self.wire.is_halved("redrive")
        some = dead[: len(dead) // 2] if half else dead

        async def act() -> list[Redriven | RemoteError]:
            results = await self.wire.host.streams.redrive(some)
            tell_redriven(self.wire.journal, some, results)
            return results

        results = await self.wire.call("redrive", act, unknown=OutcomeUnknown, count=len(dead))
        if half:
            raise OutcomeUnknown("redrive: the connection was lost in the middle")
        return results
