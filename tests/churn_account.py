"""Whether what came of a churn is what the rules say."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

import attrs
import trio

from tests.churn import GROUP, HELD, TOPIC, is_rejected
from trio_bus import EntryId, GroupInfo
from trio_bus._backend import StreamBackend

PATIENCE = 60.0
"""Seconds without any progress after which it is a failure; how fast a machine is plays no part."""


@attrs.frozen
class Done:
    """One handling that came to its end."""

    place: str
    """Which process wrote it down."""
    attempt: int
    entry_id: EntryId


@attrs.define
class Account:
    """What everybody wrote down."""

    guests: int
    """How many there are in one process."""
    killed: Collection[str] = ()
    """The processes that were."""
    stopped: Collection[str] = ()
    """Those that stood still, perhaps between the look at a lease and the ack that then left."""
    done: dict[int, list[Done]] = attrs.field(factory=lambda: defaultdict(list))
    failed: Counter[int] = attrs.field(factory=Counter[int])
    lost: set[tuple[str, EntryId, int]] = attrs.field(factory=set[tuple[str, EntryId, int]])
    errors: Counter[str] = attrs.field(factory=Counter[str])
    joined: Counter[str] = attrs.field(factory=Counter[str])
    living: dict[str, str] = attrs.field(factory=dict[str, str])
    """The consumers that have not begun to leave, and where they are."""

    @classmethod
    def of(
        cls,
        books: Mapping[str, Iterable[str]],
        guests: int,
        killed: Collection[str] = (),
        stopped: Collection[str] = (),
    ) -> Account:
        """Read what each process wrote."""
        account = cls(guests, killed, stopped)
        for place, lines in books.items():
            for line in lines:
                account._enter(place, line)
        return account

    def _enter(self, place: str, line: str) -> None:
        kind, _, rest = line.partition(" ")
        if kind == "done":
            number, attempt, entry_id = rest.split()
            self.done[int(number)].append(Done(place, int(attempt), EntryId.parse(entry_id)))
        elif kind == "lost":
            entry_id, attempt = rest.split()
            self.lost.add((place, EntryId.parse(entry_id), int(attempt)))
        elif kind == "failed":
            self.failed[int(rest)] += 1
        elif kind == "joined":
            self.joined[place] += 1
            self.living[rest] = place
        elif kind == "leaves":
            del self.living[rest]
        else:
            assert kind == "error", line
            self.errors[rest] += 1

    @property
    def repeated(self) -> int:
        """How many handlings more there were than messages."""
        return sum(len(times) - 1 for times in self.done.values())

    def check(self, published: int, buried: Collection[EntryId]) -> None:
        """Check that all is done, nothing was done twice without reason, and nobody died."""
        missing = [number for number in range(published) if number not in self.done]
        assert not missing, f"{len(missing)} were never handled: {missing[:9]}"
        assert len(self.done) == published
        for number, times in self.done.items():
            assert len({done.entry_id for done in times}) == 1, "one message, one entry"
            # Each failure counts, and a crash counts; handing back does not.
            assert max(done.attempt for done in times) > self.failed[number], (number, times)
        rejected = [self.done[number][0].entry_id for number in self.done if is_rejected(number)]
        assert sorted(buried) == sorted(rejected), "no innocent died, and each rejected one once"
        self._check_repeated()

    def _check_repeated(self) -> None:
        """Whoever was neither killed nor told that the lease was lost has got the ack confirmed.

        Whoever was stopped just before an ack left got that confirmed too, though it came late:
        within half of a lease nobody asks whose the entry is.
        """
        unconfirmed: Counter[str] = Counter()
        for number, times in self.done.items():
            last = max(times, key=lambda done: done.attempt)
            for earlier in [done for done in times if done is not last]:
                assert self._is_excused(earlier), f"message {number} was handled twice: {times}"
                unconfirmed[earlier.place] += not self._is_told(earlier)
        for place, count in unconfirmed.items():
            stops = (*self.killed, *self.stopped).count(place)
            assert count <= HELD * self.guests * stops, f"{place} held {count} when it was struck"

    def _is_excused(self, done: Done) -> bool:
        struck = done.place in self.killed or done.place in self.stopped
        return struck or self._is_told(done)

    def _is_told(self, done: Done) -> bool:
        return (done.place, done.entry_id, done.attempt) in self.lost


async def wait_finished(backend: StreamBackend, last: EntryId) -> None:
    """Wait until the group has finished everything up to *last*; fail if it stands still."""

    async def left() -> tuple[object, ...]:
        group = await group_of(backend)
        held = (group.pending, group.released, group.delayed, group.dead)
        return () if group.last_delivered == last and not any(held) else (group.lag, *held)

    await wait_empty(left)


async def wait_empty(
    left: Callable[[], Awaitable[Collection[object]]], pause: float = 0.05
) -> None:
    """Wait until nothing is left; fail when what is left does not change any more."""
    seen, since = await left(), trio.current_time()
    while seen:
        await trio.sleep(pause)
        now = await left()
        if now != seen:
            seen, since = now, trio.current_time()
        assert trio.current_time() < since + PATIENCE, f"no progress any more: {seen}"


async def group_of(backend: StreamBackend) -> GroupInfo:
    """Return what the server says of the group."""
    info = await backend.info(TOPIC)
    (group,) = [group for group in info.groups if group.name == GROUP]
    return group
