"""Any backend, with a record of what its members were asked, and with faults for all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import TypeVar

import attrs
import trio

from trio_bus import BusError, EntryId, RemoteError, TopicInfo
from trio_bus._backend import Buried
from trio_bus._graves import Grave, Redriven
from trio_bus.abc import (
    Append,
    GroupMember,
    Membership,
    Once,
    Record,
    Release,
    Settled,
    Settlement,
    StreamBackend,
)
from trio_bus.testing._interposed import InterposedMember

T = TypeVar("T")
BRINGS_ENTRIES = ("read", "take_over", "take_booked")


@attrs.frozen
class Call:
    """What a member was asked, and when."""

    name: str
    at: float


@attrs.define
class Faults:
    """What goes wrong from now on, and what was called so far."""

    calls: list[Call] = attrs.field(factory=list[Call])
    errors: dict[str, BusError] = attrs.field(factory=dict[str, BusError])
    """What each of these calls raises."""
    refusal: RemoteError | None = None
    """What the server says of each settlement."""
    silent: bool = False
    """No call is answered any more."""
    patience: float = 0.0
    """Seconds that a cancelled call that brings entries waits for an answer all the same."""

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Note the call, then do it, fail, or be silent; who is cancelled already asks nothing."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.calls.append(Call(name, trio.current_time()))
        if name.partition(" ")[0] in self.errors:
            await trio.lowlevel.checkpoint()
            raise self.errors[name.partition(" ")[0]]
        if not self.silent and name not in BRINGS_ENTRIES:
            return await act()
        return await self._run_long(name, act)

    async def _run_long(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        try:
            if not self.silent:
                return await act()
            await trio.sleep_forever()
        except trio.Cancelled:
            if self.silent and name in BRINGS_ENTRIES:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.patience)
            raise


@attrs.define
class WatchedMember(InterposedMember):
    """A member whose calls are noted."""

    faults: Faults

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Note it, and do what the faults allow."""
        return await self.faults.run(name, act)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle, or refuse each; what is given back is noted apart."""
        back = all(isinstance(it, Release) for it in settlements)

        async def act() -> list[Settled | RemoteError]:
            if self.faults.refusal is None:
                return await self.inner.settle(settlements)
            await trio.lowlevel.checkpoint()
            return [self.faults.refusal for _ in settlements]

        return await self.faults.run("settle back" if back else "settle", act)


@attrs.define
class WatchedBackend(StreamBackend):
    """A backend whose members are watched."""

    inner: StreamBackend
    faults: Faults = attrs.field(factory=Faults)

    @property
    def url(self) -> str | None:
        """Where it is."""
        return self.inner.url

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        """Append."""
        return await self.inner.append(topic, records, once)

    async def append_persisted(
        self, appends: Sequence[Append], replicas: int
    ) -> list[EntryId | Exception]:
        """Append durably."""
        return await self.inner.append_persisted(appends, replicas)

    def append_nowait(
        self,
        topic: str,
        record: Record,
        once: Once | None,
        on_result: Callable[[EntryId | Exception], None],
    ) -> None:
        """Append without waiting."""
        self.inner.append_nowait(topic, record, once, on_result)

    async def schedule(
        self,
        topic: str,
        record: Record,
        uid: str,
        when: float | datetime,
        once: float | None = None,
    ) -> str:
        """Schedule."""
        return await self.inner.schedule(topic, record, uid, when, once)

    async def cancel_scheduled(self, topic: str, uid: str) -> bool:
        """Cancel what was scheduled."""
        return await self.inner.cancel_scheduled(topic, uid)

    async def create_group(self, topic: str, group: str, start: EntryId | None) -> bool:
        """Create a group."""
        return await self.inner.create_group(topic, group, start)

    async def create_private(
        self, topic: str, group: str, start: EntryId | None, expiry: float
    ) -> EntryId | None:
        """Create a private group."""
        return await self.inner.create_private(topic, group, start, expiry)

    def join(self, membership: Membership) -> AbstractAsyncContextManager[GroupMember]:
        """Join as a member that is watched."""
        return self._join(membership)

    @asynccontextmanager
    async def _join(self, membership: Membership) -> AsyncGenerator[GroupMember, None]:
        async with self.inner.join(membership) as member:
            yield WatchedMember(member, self.faults)

    async def buried(
        self, topic: str, group: str | None, after: EntryId | None
    ) -> tuple[list[Buried], EntryId | None]:
        """Read dead entries."""
        return await self.inner.buried(topic, group, after)

    async def redrive(self, dead: Sequence[Grave]) -> list[Redriven | RemoteError]:
        """Send dead entries back."""
        return await self.inner.redrive(dead)

    async def info(self, topic: str) -> TopicInfo:
        """Say what there is of a topic."""
        return await self.inner.info(topic)
