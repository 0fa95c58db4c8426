"""A backend that fails when a test says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import attrs

from trio_bus._backend import (
    Entry,
    GroupMember,
    Membership,
    Receipt,
    Record,
    Release,
    Settlement,
    StreamBackend,
    TakeOver,
)
from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError, NotPersisted, RemoteError
from trio_bus._graves import Grave, Redriven
from trio_bus._once import Append, Once
from trio_bus._ordering import Start
from trio_bus._settled import Settled

from ._interposed import InterposedBackend, InterposedMember
from ._planned_failures import Done, PlannedFailures

T = TypeVar("T")
B = TypeVar("B", bound=StreamBackend)


class FaultyBackend(InterposedBackend[B]):
    """A backend in front of another one, that fails when a test says so.

    ::

        backend = FaultyBackend(MemoryBackend())
        backend.fail("settle", ConnectionLost("cut"), done=Done.EVERYTHING)
        bus = Bus(backend)

    Operations are called as the methods of `abc.StreamBackend` and `abc.GroupMember` are, but
    ``url``, ``join`` and ``woken``, which never fail. A failure is planned for the next call of an
    operation, whoever makes it; each happens once. It works in virtual time, and needs no server.

    Args:
      inner: Does the work.
    """

    def __init__(self, inner: B) -> None:
        super().__init__(inner)
        self._planned = PlannedFailures()

    @property
    def calls(self) -> Mapping[str, int]:
        """How often each operation was called so far."""
        return self._planned.calls

    def fail(self, operation: str, *errors: BusError, done: Done = Done.NOTHING) -> None:
        """Let the next calls of an operation fail, each with one of these errors.

        Args:
          operation: The name of the method.
          errors: What is raised; for appends, what each record is answered. A `NotPersisted` means
            that everything is done, and names the ids of what was appended.
          done: How much the server does all the same. Of a queued record (``append_nowait``)
            nothing is done.

        Raises:
          ValidationError: there is no such operation, or it cannot be done by half.
        """
        self._planned.fail(operation, errors, done)

    def delay(self, operation: str, *seconds: float) -> None:
        """Let the next answers of an operation come so many seconds after it was done.

        Infinitely many are an answer that never comes.

        Raises:
          ValidationError: there is no such operation, or a delay is negative or not a number.
        """
        self._planned.delay(operation, seconds)

    def when_done(self, operation: str, act: Callable[[], object]) -> None:
        """Call this once the server has next done an operation, before its answer comes.

        Of a read: when it has brought something.

        Raises:
          ValidationError: there is no such operation.
        """
        self._planned.when_done(operation, act)

    def fail_at_random(self, probability: float, *, seed: int) -> None:
        """Let all calls for which nothing is planned fail by chance: as lost connections do.

        Some have done nothing then, some a half, some everything. The same calls in the same order
        fail in the same way.

        Args:
          probability: Of each call, from 0 (none of them, from now on) to 1.
          seed: Any number.

        Raises:
          ValidationError: *probability* is none.
        """
        self._planned.fail_at_random(probability, seed)

    def heal(self) -> None:
        """Forget all that is planned: nothing goes wrong any more."""
        self._planned.heal()

    def left(self, operation: str) -> int:
        """Return how many failures are planned and have not happened yet.

        Raises:
          ValidationError: there is no such operation.
        """
        return self._planned.left(operation)

    async def run(
        self,
        name: str,
        act: Callable[[], Awaitable[T]],
        half: Callable[[], Awaitable[T]] | None = None,
    ) -> T:
        """Do an operation, or fail. All of them come through here, those of members too.

        Args:
          name: The operation.
          act: Does it.
          half: Does the half of it, where that can be.
        """
        return await self._planned.run(name, act, half)

    def interpose(self, member: GroupMember, membership: Membership) -> GroupMember:  # noqa: ARG002 - all alike
        """Return a member that fails as planned."""
        return _FaultyMember(member, self)

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        """Append, or fail: each record with an error of its own."""
        half = len(records) // 2
        try:
            return await self.run(
                "append",
                lambda: self.inner.append(topic, records, once),
                lambda: self.inner.append(topic, records[:half], once[:half]),
            )
        except BusError as error:
            return [type(error)(*error.args) for _ in records]

    async def append_persisted(
        self, appends: Sequence[Append], replicas: int
    ) -> list[EntryId | Exception]:
        """Append and wait for disks, or fail: each record with an error of its own."""
        done: list[EntryId | Exception] = []

        async def act(some: Sequence[Append]) -> list[EntryId | Exception]:
            done.extend(await self.inner.append_persisted(some, replicas))
            return done

        half = len(appends) // 2
        try:
            return await self.run(
                "append_persisted", lambda: act(appends), lambda: act(appends[:half])
            )
        except NotPersisted as error:
            return [_not_persisted(it, error, replicas) for it in done]
        except BusError as error:
            return [type(error)(*error.args) for _ in appends]

    async def redrive(self, dead: Sequence[Grave]) -> list[Redriven | RemoteError]:
        """Send all back, or a half, or none."""
        half = len(dead) // 2
        return await self.run(
            "redrive", lambda: self.inner.redrive(dead), lambda: self.inner.redrive(dead[:half])
        )

    def append_nowait(
        self,
        topic: str,
        record: Record,
        once: Once | None,
        on_result: Callable[[EntryId | Exception], None],
    ) -> None:
        """Queue a record, or answer at once that it failed."""
        error = self._planned.take("append_nowait")
        if error is None:
            self.inner.append_nowait(topic, record, once, on_result)
        else:
            on_result(error)


def _not_persisted(
    result: EntryId | Exception, error: NotPersisted, replicas: int
) -> EntryId | Exception:
    if isinstance(result, EntryId):
        return NotPersisted(result, error.local, error.replicas, replicas)
    return result


class _Runs(Protocol):
    async def run(
        self,
        name: str,
        act: Callable[[], Awaitable[T]],
        half: Callable[[], Awaitable[T]] | None = None,
    ) -> T: ...


@attrs.define
class _FaultyMember(InterposedMember):
    """What a failed call brought is pending for us, and unknown to us: it is given back first."""

    _backend: _Runs
    _strays: list[Receipt] = attrs.field(factory=list[Receipt])

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do it, or fail."""
        return await self._backend.run(name, act)

    async def read(self, count: int, timeout: float) -> list[Entry]:
        """Read."""
        brought: list[Entry] = []

        async def act() -> list[Entry]:
            brought.extend(await self.inner.read(count, timeout))
            return brought

        return await self._take("read", act, brought)

    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:
        """Take over."""
        return await self._take_over("take_over", lambda: self.inner.take_over(count, book=book))

    async def take_booked(self, entry_id: EntryId) -> TakeOver:
        """Take a suspect."""
        return await self._take_over("take_booked", lambda: self.inner.take_booked(entry_id))

    async def start(
        self, token: int, entry_ids: Sequence[EntryId], *, alone: bool = False
    ) -> Start | None:
        """Start."""
        brought: list[Entry] = []

        async def act() -> Start | None:
            start = await self.inner.start(token, entry_ids, alone=alone)
            brought.extend(() if start is None else start.taken.entries)
            return start

        return await self._take("start", act, brought)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle all, or a half, or nothing."""
        half = len(settlements) // 2
        return await self._backend.run(
            "settle",
            lambda: self.inner.settle(settlements),
            lambda: self.inner.settle(settlements[:half]),
        )

    async def forget(self) -> bool:
        """Forget."""
        await self._recover()
        return await self.run("forget", self.inner.forget)

    async def _take_over(self, name: str, take: Callable[[], Awaitable[TakeOver]]) -> TakeOver:
        brought: list[Entry] = []

        async def act() -> TakeOver:
            taken = await take()
            brought.extend(taken.entries)
            return taken

        return await self._take(name, act, brought)

    async def _take(self, name: str, act: Callable[[], Awaitable[T]], brought: list[Entry]) -> T:
        await self._recover()
        try:
            return await self.run(name, act)
        except BaseException:
            self._strays += [entry.receipt for entry in brought]
            raise

    async def _recover(self) -> None:
        if self._strays:
            await self.inner.settle([Release(receipt) for receipt in self._strays])
            self._strays.clear()
