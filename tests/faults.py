"""A backend that fails when a test says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from enum import Enum
from typing import TypeVar

import attrs
import trio

from tests.interposed import InterposedMember
from trio_bus import BusError, EntryId, MemoryBackend, NotPersisted, TopicInfo
from trio_bus.abc import (
    Append,
    GroupMember,
    Membership,
    Once,
    Record,
    StreamBackend,
)

T = TypeVar("T")


class When(Enum):
    """Whether the server has done it when the error comes."""

    BEFORE = "before"
    AFTER = "after"


@attrs.define
class Plan:
    """The next failures of each operation, oldest first; and how often each was called."""

    failures: dict[str, list[tuple[When, BusError]]] = attrs.field(
        factory=dict[str, list[tuple[When, BusError]]]
    )
    calls: dict[str, int] = attrs.field(factory=dict[str, int])
    late: dict[str, list[float]] = attrs.field(factory=dict[str, list[float]])
    then: dict[str, list[Callable[[], object]]] = attrs.field(
        factory=dict[str, list[Callable[[], object]]]
    )

    def after(self, operation: str, act: Callable[[], object]) -> None:
        """Do this when the server has next done this operation, and before its answer comes.

        For a read: when it has brought something.
        """
        self.then.setdefault(operation, []).append(act)

    def answer_late(self, operation: str, seconds: float) -> None:
        """Let the next answer of this operation come so many seconds after the server did it."""
        self.late.setdefault(operation, []).append(seconds)

    def fail(self, operation: str, *errors: BusError, when: When = When.BEFORE) -> None:
        """Let the next calls of this operation fail."""
        self.failures.setdefault(operation, []).extend((when, error) for error in errors)

    async def run(self, operation: str, act: Callable[[], Awaitable[T]]) -> T:
        """Run it, or fail."""
        self.calls[operation] = self.calls.get(operation, 0) + 1
        pending = self.failures.get(operation)
        if not pending:
            result = await act()
            if self.then.get(operation) and (result or operation != "read"):
                self.then[operation].pop(0)()
            if self.late.get(operation):
                await trio.sleep(self.late[operation].pop(0))
            return result
        when, error = pending.pop(0)
        if when is When.AFTER:
            await act()
        raise error


@attrs.define
class FlakyMember(InterposedMember):
    """A member that follows a plan."""

    plan: Plan

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do it, or fail."""
        return await self.plan.run(name, act)


@attrs.define
class FlakyBackend(StreamBackend):
    """A memory backend that follows a plan."""

    plan: Plan = attrs.field(factory=Plan)
    inner: MemoryBackend = attrs.field(factory=MemoryBackend)

    @property
    def url(self) -> str | None:
        """Nobody else can reach it."""
        return None

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        """Append, or fail: each record with an error of its own."""
        try:
            return await self.plan.run("append", lambda: self.inner.append(topic, records, once))
        except BusError as error:
            return [type(error)(*error.args) for _ in records]

    async def append_persisted(
        self, appends: Sequence[Append], replicas: int
    ) -> list[EntryId | Exception]:
        """Append as if it were on disk at once, or fail."""
        try:
            return await self.plan.run("append_persisted", lambda: self._append_each(appends))
        except NotPersisted as error:
            return [
                NotPersisted(it, error.local, error.replicas, replicas)
                if isinstance(it, EntryId)
                else it
                for it in await self._append_each(appends)
            ]
        except BusError as error:
            return [type(error)(*error.args) for _ in appends]

    async def _append_each(self, appends: Sequence[Append]) -> list[EntryId | Exception]:
        return [(await self.inner.append(it.topic, [it.record], [it.once]))[0] for it in appends]

    def append_nowait(
        self,
        topic: str,
        record: Record,
        once: Once | None,
        on_result: Callable[[EntryId | Exception], None],
    ) -> None:
        """Append, or fail."""
        pending = self.plan.failures.get("append_nowait")
        if pending:
            on_result(pending.pop(0)[1])
            return
        self.inner.append_nowait(topic, record, once, on_result)

    async def schedule(
        self,
        topic: str,
        record: Record,
        uid: str,
        when: float | datetime,
        once: float | None = None,
    ) -> str:
        """Schedule, or fail."""
        return await self.plan.run(
            "schedule", lambda: self.inner.schedule(topic, record, uid, when, once)
        )

    async def cancel_scheduled(self, topic: str, uid: str) -> bool:
        """Cancel, or fail."""
        return await self.plan.run("cancel", lambda: self.inner.cancel_scheduled(topic, uid))

    async def create_group(self, topic: str, group: str, start: EntryId | None) -> bool:
        """Create, or fail."""
        return await self.plan.run(
            "create_group", lambda: self.inner.create_group(topic, group, start)
        )

    def join(self, membership: Membership) -> AbstractAsyncContextManager[GroupMember]:
        """Join as a member that follows the plan."""
        return self._join(membership)

    @asynccontextmanager
    async def _join(self, membership: Membership) -> AsyncGenerator[GroupMember, None]:
        async with self.inner.join(membership) as member:
            yield FlakyMember(member, self.plan)

    async def info(self, topic: str) -> TopicInfo:
        """Ask the memory backend."""
        return await self.inner.info(topic)
