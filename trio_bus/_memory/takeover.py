"""Taking over: entries that are due, were released, or whose owner lost its lease."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, islice

import attrs

from trio_bus._backend import Death, DeathCause, Entry, Receipt, TakeOver
from trio_bus._entry_id import EntryId
from trio_bus._names import ABANDONED, DUE, FREE, KEY, RESERVED_CONSUMERS, SUSPECT
from trio_bus._patience import patience
from trio_bus._suspects import suspicious_from

from .custody import Custody, Place, drop, move, set_apart
from .errors import StreamError
from .group import Consumer, Group, Pending
from .ids import MAX_ID, MIN_ID

_EXTRA_LOOKS = 100
"""How many over-limit and deleted entries one call may deal with beyond what it was asked for."""


@attrs.define
class Haul:
    """What was taken so far, and the first entry that could not be buried."""

    entries: list[Entry] = attrs.field(factory=list[Entry])
    buried: list[Receipt] = attrs.field(factory=list[Receipt])
    gone: list[EntryId] = attrs.field(factory=list[EntryId])
    suspects: list[Receipt] = attrs.field(factory=list[Receipt])
    booked: EntryId | None = None
    refusal: StreamError | None = None

    def result(self) -> TakeOver:
        """Return what the caller gets.

        Raises:
          StreamError: that is nothing but a refusal.
        """
        whole = (self.entries, self.buried, self.gone, self.suspects)
        if self.refusal is not None and self.booked is None and not any(whole):
            raise self.refusal
        return TakeOver(
            tuple(self.entries),
            tuple(self.buried),
            tuple(self.gone),
            tuple(self.suspects),
            self.booked,
        )


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
    return next(chain(candidates, _bookable(custody, place, now_ms)), None) is not None


def take_over(custody: Custody, count: int, now_ms: int, *, book: bool) -> TakeOver:
    """Take at most *count* entries, bury what is over the limit, drop what is gone.

    Suspects are set apart; with *book* one of them is booked.

    Raises:
      StreamError: NOGROUP, WRONGTYPE; or nothing could be taken because an entry over the limit
        cannot be buried. What was taken is never lost to an error: it is returned, and the next
        call meets that entry again.
    """
    place = custody.place()
    looks = count + _EXTRA_LOOKS
    # A list, because taking changes what the candidates are found in.
    candidates = list(_candidates(place, now_ms, looks))
    haul = Haul()
    for entry_id in candidates:
        if len(haul.entries) >= count:
            break
        take(custody, place, entry_id, now_ms, haul)
    _forget_rows_without_entry(place, now_ms, looks)
    if book:
        _book(custody, place, now_ms, haul)
    return haul.result()


def take_booked(custody: Custody, entry_id: EntryId, now_ms: int) -> TakeOver:
    """Take one suspect, if it is still set apart.

    Raises:
      StreamError: as `take_over` does.
    """
    place = custody.place()
    haul = Haul()
    if _is_set_apart(place.group, entry_id):
        take(custody, place, entry_id, now_ms, haul)
    return haul.result()


def book(custody: Custody, entry_id: EntryId, now_ms: int, *, keep: bool) -> bool:
    """Book a suspect for another lease, or give it up; say whether it is still set apart.

    Raises:
      StreamError: NOGROUP, WRONGTYPE.
    """
    place = custody.place()
    if not _is_set_apart(place.group, entry_id):
        return False
    count = place.group.pending[entry_id].count
    if entry_id in place.stream.entries:  # otherwise whoever takes it tells that it is gone
        if keep:
            _keep(place.group, entry_id, count, now_ms)
        else:
            set_apart(place.group, SUSPECT, entry_id, count, now_ms)
    return True


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
    _free_parked(place, now_ms, tended)
    return tended


def _free_parked(place: Place, now_ms: int, tended: Tended) -> None:
    """Let anybody take what waits for its key, where nobody has kept the order for two leases."""
    lead = place.group.lead
    if lead is not None and now_ms < lead.forgotten_ms:
        return
    for entry_id in list(_held_by(place.group, KEY)):
        if entry_id in place.stream.entries:
            move(place.group, entry_id, FREE, place.group.pending[entry_id].count, now_ms)
            tended.moved = True
        else:
            drop(place, entry_id)
            tended.gone.append(entry_id)


def _remove_idle(custody: Custody, group: Group, now_ms: int) -> None:
    patience_ms = math.ceil(patience(custody.membership) * 1000)
    for consumer in list(_others(custody, group)):
        if not len(consumer.pending) and now_ms - consumer.seen_ms > patience_ms:
            group.remove_consumer(consumer.name)


def take(custody: Custody, place: Place, entry_id: EntryId, now_ms: int, haul: Haul) -> None:
    """Take one entry, or bury it, set it apart or drop it: *haul* tells."""
    pending = place.group.pending[entry_id]
    receipt, owner = Receipt(entry_id, pending.count), pending.consumer.name
    us = custody.membership
    body = place.stream.entries.get(entry_id)
    if body is None:
        drop(place, entry_id)
        haul.gone.append(entry_id)
    elif receipt.attempt >= us.max_attempt:
        try:
            custody.bury(place, receipt, _exhausted(receipt.attempt), now_ms)
        except StreamError as refusal:
            haul.refusal = haul.refusal or refusal
        else:
            haul.buried.append(receipt)
    elif _is_suspect(pending, us.max_attempt):
        set_apart(place.group, SUSPECT, entry_id, receipt.attempt, now_ms)
        place.due.remove(str(entry_id))
        haul.suspects.append(receipt)
    else:
        move(place.group, entry_id, us.consumer, receipt.attempt + 1, now_ms)
        place.due.remove(str(entry_id))
        suspect = owner == SUSPECT
        haul.entries.append(Entry(entry_id, body, receipt.attempt + 1, suspect=suspect))


def _is_suspect(pending: Pending, max_attempt: int) -> bool:
    """Say whether it is to be set apart: it was in ``~due`` before, or lost its owner again."""
    if pending.consumer.name == DUE:
        return pending.delivered_ms == 0
    lost = pending.consumer.name not in RESERVED_CONSUMERS - {ABANDONED}
    return lost and pending.count >= suspicious_from(max_attempt)


def _book(custody: Custody, place: Place, now_ms: int, haul: Haul) -> None:
    """Book the first suspect that nobody has booked within a lease; drop those that are gone."""
    for entry_id in list(_bookable(custody, place, now_ms)):
        if entry_id in place.stream.entries:
            _keep(place.group, entry_id, place.group.pending[entry_id].count, now_ms)
            haul.booked = entry_id
            return
        drop(place, entry_id)
        haul.gone.append(entry_id)


def _keep(group: Group, entry_id: EntryId, count: int, now_ms: int) -> None:
    """Start the idle time of a suspect anew: it is booked for a lease."""
    move(group, entry_id, SUSPECT, count, now_ms)


def _is_set_apart(group: Group, entry_id: EntryId) -> bool:
    held = group.pending.get(entry_id)
    return held is not None and held.consumer.name == SUSPECT


def _bookable(custody: Custody, place: Place, now_ms: int) -> Iterator[EntryId]:
    lease_ms = math.ceil(custody.membership.lease * 1000)
    for entry_id in _held_by(place.group, SUSPECT):
        if now_ms - place.group.pending[entry_id].delivered_ms >= lease_ms:
            yield entry_id


def _candidates(place: Place, now_ms: int, looks: int) -> Iterator[EntryId]:
    """Walk over what may be taken, in the order in which it is taken.

    What fails again and again is due again and again: it comes after what others left. That, in
    turn, may hold what cannot be buried, which does not use up the looks for what is due.
    """
    left = chain(_held_by(place.group, FREE), _held_by(place.group, ABANDONED))
    due = chain(_due(place, now_ms, looks), _due_without_row(place))
    return chain(islice(left, looks), islice(due, looks))


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


def first_end(custody: Custody, now_ms: int) -> float:
    """Return the time before which no lease ends that `tend` would notice."""
    us, group = custody.membership, custody.place().group
    lease_ms = math.ceil(us.lease * 1000)
    ends: list[float] = [now_ms + lease_ms]  # of what is read from now on
    for consumer in _others(custody, group):
        ends += [
            consumer.pending[it].delivered_ms + lease_ms
            for it in consumer.pending.ids(MIN_ID, MAX_ID)
        ]
    if group.holds(KEY):
        ends.append(now_ms if group.lead is None else group.lead.forgotten_ms)
    last_ms = now_ms if group.tended_ms is None else group.tended_ms
    return max(min(ends), last_ms + math.ceil(us.tend_every * 1000))


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
