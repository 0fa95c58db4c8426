"""Taking over: entries that are due, were released, or whose owner lost its lease."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, islice

import attrs

from trio_bus._backend import Death, DeathCause, Entry, Receipt, TakeOver
from trio_bus._entry_id import EntryId
from trio_bus._names import ABANDONED, DUE, FREE, RESERVED_CONSUMERS
from trio_bus._patience import patience

from .custody import Custody, Place, drop, move
from .errors import StreamError
from .group import Consumer, Group
from .ids import MAX_ID, MIN_ID

_EXTRA_LOOKS = 100
"""How many over-limit and deleted entries one call may deal with beyond what it was asked for."""


@attrs.define
class _Haul:
    """What was taken so far, and the first entry that could not be buried."""

    entries: list[Entry] = attrs.field(factory=list[Entry])
    buried: list[Receipt] = attrs.field(factory=list[Receipt])
    gone: list[EntryId] = attrs.field(factory=list[EntryId])
    refusal: StreamError | None = None

    def __bool__(self) -> bool:
        return bool(self.entries or self.buried or self.gone)

    def result(self) -> TakeOver:
        """Return what the caller gets."""
        return TakeOver(tuple(self.entries), tuple(self.buried), tuple(self.gone))


@attrs.define
class Tended:
    """What tending found: whether something can be taken now, and what had been deleted."""

    moved: bool = False
    gone: list[EntryId] = attrs.field(factory=list[EntryId])


def claimable(custody: Custody, now_ms: int) -> bool:
    """Say whether `take_over` would find something; forget rows that hide what is due.

    Raises:
      StreamError: NOGROUP, WRONGTYPE.
    """
    place = custody.place()
    _forget_rows_without_entry(place, now_ms, 1 + _EXTRA_LOOKS)
    candidates = _candidates(place, now_ms, 1 + _EXTRA_LOOKS)
    return next(candidates, None) is not None


def take_over(custody: Custody, count: int, now_ms: int) -> TakeOver:
    """Take at most *count* entries, bury what is over the limit, drop what is gone.

    Raises:
      StreamError: NOGROUP, WRONGTYPE; or nothing could be taken because an entry over the limit
        cannot be buried. What was taken is never lost to an error: it is returned, and the next
        call meets that entry again.
    """
    place = custody.place()
    looks = count + _EXTRA_LOOKS
    # A list, because taking changes what the candidates are found in.
    candidates = list(islice(_candidates(place, now_ms, looks), looks))
    haul = _Haul()
    for entry_id in candidates:
        if len(haul.entries) >= count:
            break
        _take(custody, place, entry_id, now_ms, haul)
    _forget_rows_without_entry(place, now_ms, looks)
    if haul.refusal is not None and not haul:
        raise haul.refusal
    return haul.result()


def tend(custody: Custody, now_ms: int) -> Tended:
    """Tend the group, unless somebody did a moment ago; see `GroupMember.look`.

    Raises:
      StreamError: NOGROUP, WRONGTYPE.
    """
    us, place, tended = custody.membership, custody.place(), Tended()
    place.group.consumer(us.consumer, now_ms)  # who looks is not idle
    last_ms = place.group.tended_ms
    if last_ms is not None and now_ms - last_ms < math.ceil(us.tend_every * 1000):
        return tended
    place.group.tended_ms = now_ms
    _remove_idle(custody, place.group, now_ms)
    for entry_id in list(_abandoned(custody, place.group, now_ms)):
        if entry_id in place.stream.entries:
            move(place.group, entry_id, ABANDONED, place.group.pending[entry_id].count, now_ms)
            tended.moved = True
        else:
            drop(place, entry_id)
            tended.gone.append(entry_id)
    return tended


def _remove_idle(custody: Custody, group: Group, now_ms: int) -> None:
    patience_ms = math.ceil(patience(custody.membership) * 1000)
    for consumer in list(_others(custody, group)):
        if not len(consumer.pending) and now_ms - consumer.seen_ms > patience_ms:
            group.remove_consumer(consumer.name)


def _take(custody: Custody, place: Place, entry_id: EntryId, now_ms: int, haul: _Haul) -> None:
    receipt = Receipt(entry_id, place.group.pending[entry_id].count)
    body = place.stream.entries.get(entry_id)
    if body is None:
        drop(place, entry_id)
        haul.gone.append(entry_id)
    elif receipt.attempt >= custody.membership.max_attempt:
        try:
            custody.bury(place, receipt, _exhausted(receipt.attempt), now_ms)
        except StreamError as refusal:
            haul.refusal = haul.refusal or refusal
        else:
            haul.buried.append(receipt)
    else:
        move(place.group, entry_id, custody.membership.consumer, receipt.attempt + 1, now_ms)
        place.due.remove(str(entry_id))
        haul.entries.append(Entry(entry_id, body, receipt.attempt + 1))


def _candidates(place: Place, now_ms: int, looks: int) -> Iterator[EntryId]:
    """Walk over what may be taken, in the order in which it is taken."""
    group = place.group
    return chain(
        _due(place, now_ms, looks),
        _due_without_row(place),
        _held_by(group, FREE),
        _held_by(group, ABANDONED),
    )


def _due(place: Place, now_ms: int, looks: int) -> Iterator[EntryId]:
    for member in place.due.up_to(now_ms, looks):
        entry_id = EntryId.parse(member)
        if _waits(place.group, entry_id):
            yield entry_id


def _due_without_row(place: Place) -> Iterator[EntryId]:
    """Walk over entries of ``~due`` that nobody knows a time for: they are due."""
    waiting = place.group.consumers.get(DUE)
    if waiting is None or len(waiting.pending) <= len(place.due):
        return
    for entry_id in waiting.pending:
        if str(entry_id) not in place.due:
            yield entry_id


def _held_by(group: Group, consumer: str) -> Iterator[EntryId]:
    owner = group.consumers.get(consumer)
    yield from owner.pending if owner else ()


def _abandoned(custody: Custody, group: Group, now_ms: int) -> Iterator[EntryId]:
    lease_ms = math.ceil(custody.membership.lease * 1000)
    for consumer in _others(custody, group):
        for entry_id in consumer.pending.ids(MIN_ID, MAX_ID):
            if now_ms - consumer.pending[entry_id].delivered_ms >= lease_ms:
                yield entry_id


def _forget_rows_without_entry(place: Place, now_ms: int, looks: int) -> None:
    for member in place.due.up_to(now_ms, looks):
        if not _waits(place.group, EntryId.parse(member)):
            place.due.remove(member)


def _waits(group: Group, entry_id: EntryId) -> bool:
    held = group.pending.get(entry_id)
    return held is not None and held.consumer.name == DUE


def _others(custody: Custody, group: Group) -> Iterator[Consumer]:
    me = custody.membership.consumer
    for name in sorted(group.consumers):
        if name != me and name not in RESERVED_CONSUMERS:
            yield group.consumers[name]


def _exhausted(attempts: int) -> Death:
    text = f"delivered {attempts} times without being settled"
    return Death(DeathCause.EXHAUSTED, "trio_bus.AttemptsExhausted", text)
