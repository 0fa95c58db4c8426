"""What a backend may hold, as far as anybody knows: streams in memory, at the model's time."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Self

from trio_bus._backend import GroupMember, Membership
from trio_bus._info import TopicInfo
from trio_bus._memory import MemoryBackend
from trio_bus._memory.clock import ServerClock
from trio_bus._memory.member import MemoryMember
from trio_bus._memory.private import private_groups
from trio_bus._memory.stream import Stream
from trio_bus._names import RESERVED_CONSUMERS, SUSPECT, own_key
from trio_bus._wake import Alarm

from ._pairs import Pairs

_START_MS = 1_700_000_000_000


class ModelClock(ServerClock):
    """Shows the time at which the operation began that is judged."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        """Since the beginning."""

    def now_ms(self) -> int:
        """Return the time."""
        return _START_MS + round(self.seconds * 1_000_000) // 1000

    def due_ms(self, delay: float) -> int:
        """Return when something is due that waits for *delay* seconds."""
        waits_us = round(max(delay, 0.0) * 1_000_000)
        return _START_MS - (-(round(self.seconds * 1_000_000) + waits_us) // 1000)

    def seconds_of(self, at_ms: float) -> float:
        """Return when that is, in seconds since the beginning."""
        return (at_ms - _START_MS) / 1000


class Model(MemoryBackend):
    """One state that the subject may be in, and which of its ids stands for which of ours."""

    __slots__ = ("clock", "pairs", "tokens")

    def __init__(self, clock: ModelClock) -> None:
        super().__init__()
        self.clock = clock
        self.pairs = Pairs()
        self.tokens: dict[tuple[str, str, int], int] = {}
        """By topic, group and token of the subject: which of ours it stands for."""
        self._server.clock = clock

    def copy(self) -> Self:
        """Return another one that is in the same state."""
        other = type(self)(self.clock)
        other.restore(self.state())
        return other

    def state(self) -> bytes:
        """Return all there is to know; equal states are mostly equal bytes."""
        ours = self._server
        return pickle.dumps((ours.store, ours.marks, ours.schedules, self.pairs, self.tokens))

    def restore(self, state: bytes) -> None:
        """Be in this state."""
        ours = self._server
        known = pickle.loads(state)  # noqa: S301 - ours
        ours.store, ours.marks, ours.schedules, self.pairs, self.tokens = known

    def tell(self, topic: str) -> TopicInfo:
        """Return what `info` does."""
        return self._info(topic)

    def member(self, membership: Membership) -> GroupMember:
        """Return that consumer; it need not join."""
        return MemoryMember(self._server, membership, Alarm())

    def deadlines(self, memberships: list[Membership], since: float) -> Iterator[float]:
        """Walk over the times after *since* that decide what an operation does."""
        since_ms = _START_MS + since * 1000
        for membership in memberships:
            for at_ms in self._deadlines_ms(membership, since_ms):
                if at_ms > since_ms:
                    yield self.clock.seconds_of(at_ms)
        mark = self._server.marks.first_end(since_ms)
        if mark is not None:
            yield self.clock.seconds_of(mark)

    def dues(self, memberships: list[Membership], since: float) -> Iterator[float]:
        """Walk over the first time after *since* at which something is due, in each place."""
        since_ms = _START_MS + since * 1000
        for membership in memberships:
            for at_ms in self._dues_ms(membership, since_ms):
                yield self.clock.seconds_of(at_ms)

    def _dues_ms(self, us: Membership, since_ms: float) -> Iterator[float]:
        due = self._server.store.sorted_set(own_key(us.topic, "due", us.group))
        for found in (
            self._server.schedule(us.topic).next_due(since_ms),
            due.first_after(since_ms),
        ):
            if found is not None:
                yield found

    def _retained_ms(self, us: Membership, stream: Stream) -> Iterator[float]:
        if us.retention is not None and us.retention.max_age is not None:
            for entry_id in stream.entries:
                yield entry_id.ms + us.retention.max_age * 1000
        for since_when in self._server.store.retained.values():
            yield since_when + us.retain_every * 1000

    def _deadlines_ms(self, us: Membership, since_ms: float) -> Iterator[float]:
        ours = self._server
        end = ours.schedule(us.topic).first_end(since_ms)
        if end is not None:
            yield end
        yield from self._dues_ms(us, since_ms)
        expiry = private_groups(self._server.store, us.topic).first_after(since_ms)
        if expiry is not None:
            yield expiry
        place = ours.store.find_group(us.topic, us.group)
        if place is None:
            return
        stream, group = place
        yield from self._retained_ms(us, stream)
        if group.tended_ms is not None:
            yield group.tended_ms + us.tend_every * 1000
        if group.lead is not None:
            yield from (group.lead.ends_ms, group.lead.forgotten_ms)
        for consumer in group.consumers.values():
            if consumer.name == SUSPECT or consumer.name not in RESERVED_CONSUMERS:
                for entry_id in consumer.pending:
                    yield consumer.pending[entry_id].delivered_ms + us.lease * 1000
