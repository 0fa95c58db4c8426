"""Where entries are, as somebody sees it who looks at the streams from outside."""

# pyright: reportPrivateUsage=false
# What is pending for whom, id by id, is told by no public call of a backend.

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from trio_bus._backend import Record, StreamBackend
from trio_bus._dead_letter import DeadLetter, dead_letter_of
from trio_bus._entry_id import EntryId
from trio_bus._info import GroupInfo
from trio_bus._memory import MemoryBackend
from trio_bus._memory.group import Group
from trio_bus._memory.stream import Stream
from trio_bus._names import DEAD, DUE, FREE, KEY, RESERVED_CONSUMERS, SUSPECT

UNDELIVERED = "undelivered"
DONE = "done"
RESTING = frozenset({UNDELIVERED, DONE, *RESERVED_CONSUMERS})
"""Where an entry may be that no consumer holds; it is finished in two of them."""
FINISHED = frozenset({DONE, DEAD})


@attrs.frozen
class Spot:
    """Where an entry is: with a consumer, or one of `RESTING`; and how often it was delivered.

    An entry is in one place by construction: it is pending for one consumer, or it is not.
    """

    place: str
    count: int = 0


_UNTOUCHED, _FINISHED = Spot(UNDELIVERED), Spot(DONE)


@attrs.frozen(kw_only=True)
class GroupPlaces:
    """Where the entries of one group are: how many in each place and, if it can be seen, each."""

    last_delivered: EntryId
    counts: Mapping[str, int]
    """By place, without DONE. UNDELIVERED is missing where a server cannot tell."""
    holders: frozenset[str]
    """The consumers, also those that hold nothing."""
    spots: Mapping[EntryId, Spot] | None = None
    """Each entry of the stream, and what is pending and not in the stream any more; None where
    only figures can be seen."""

    def held_by(self, consumer: str) -> int:
        """Return how many entries that consumer holds."""
        return self.counts.get(consumer, 0)


@attrs.frozen(kw_only=True)
class TopicPlaces:
    """One stream and its groups."""

    length: int
    groups: Mapping[str, GroupPlaces]
    oldest: EntryId | None = None
    scheduled: int = 0
    records: Mapping[EntryId, Record] | None = None
    """The entries; None where only figures can be seen."""

    def letters(self) -> list[tuple[DeadLetter, Record]]:
        """Return what was buried here, with all its fields; nothing where records are hidden."""
        found = ((dead_letter_of(record), record) for record in (self.records or {}).values())
        return [(letter, record) for letter, record in found if letter is not None]


@attrs.frozen
class Places:
    """All streams that were looked at, by topic, at one moment."""

    topics: Mapping[str, TopicPlaces]

    def group(self, topic: str, group: str) -> GroupPlaces | None:
        """Return a group; None if there is none."""
        found = self.topics.get(topic)
        return None if found is None else found.groups.get(group)

    @property
    def exact(self) -> bool:
        """Whether each entry can be seen, and not only how many there are."""
        return all(it.records is not None for it in self.topics.values())


async def look_at(backend: StreamBackend, topics: Iterable[str]) -> Places:
    """Look at these topics, by what the contract of any backend tells.

    A `MemoryBackend` shows every entry; of others there are only figures.
    """
    if isinstance(backend, MemoryBackend):
        return look_into(backend, topics)
    found: dict[str, TopicPlaces] = {}
    for topic in topics:
        info = await backend.info(topic)
        found[topic] = TopicPlaces(
            length=info.length,
            groups={group.name: _figures(group) for group in info.groups},
            oldest=info.oldest,
            scheduled=info.scheduled,
        )
    return Places(found)


def look_into(backend: MemoryBackend, topics: Iterable[str]) -> Places:
    """Look at every entry of these topics, in one step, without a word to the server."""
    server = backend._server  # noqa: SLF001 - see above
    found: dict[str, TopicPlaces] = {}
    for topic in topics:
        stream = server.store.find_stream(topic)
        scheduled = len(server.schedule(topic))
        if stream is None:
            found[topic] = TopicPlaces(length=0, groups={}, scheduled=scheduled, records={})
            continue
        found[topic] = TopicPlaces(
            length=len(stream.entries),
            groups={name: _exact(stream, group) for name, group in stream.groups.items()},
            oldest=stream.entries.first(),
            scheduled=scheduled,
            records={key: stream.entries[key] for key in stream.entries},
        )
    return Places(found)


def _exact(stream: Stream, group: Group) -> GroupPlaces:
    last = group.last_delivered
    spots = {key: _UNTOUCHED if key > last else _FINISHED for key in stream.entries}
    for key in group.pending:
        pending = group.pending[key]
        spots[key] = Spot(pending.consumer.name, pending.count)
    counts: dict[str, int] = {}
    for spot in spots.values():
        if spot.place != DONE:
            counts[spot.place] = counts.get(spot.place, 0) + 1
    holders = frozenset(group.consumers) - RESERVED_CONSUMERS
    return GroupPlaces(last_delivered=last, counts=counts, holders=holders, spots=spots)


def _figures(group: GroupInfo) -> GroupPlaces:
    counts = {FREE: group.released, DUE: group.delayed, DEAD: group.dead, SUSPECT: group.suspects}
    counts[KEY] = group.parked
    if group.lag is not None:
        counts[UNDELIVERED] = group.lag
    holders = {it.name: it.pending for it in group.consumers if it.name not in RESERVED_CONSUMERS}
    return GroupPlaces(
        last_delivered=group.last_delivered,
        counts={place: number for place, number in {**counts, **holders}.items() if number},
        holders=frozenset(holders),
    )
