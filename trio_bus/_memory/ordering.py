"""Keeping the order of a group: who is active, what waits for its key, what may be started."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice

import attrs

from trio_bus._entry_id import EntryId
from trio_bus._names import DEAD, DUE, KEY, RESERVED_CONSUMERS, SUSPECT
from trio_bus._ordering import Parked, Queue, Start

from . import takeover
from .custody import Custody, Place, move
from .delivery_commands import xreadgroup
from .group import Group, Lead, Pending
from .ids import MAX_ID, MIN_ID
from .store import Store


def lead(custody: Custody, token: int | None, now_ms: int) -> int | None:
    """Become active, or stay it with *token*; see `OrderedMember.lead`.

    Raises:
      StreamError: NOGROUP, WRONGTYPE.
    """
    us, group = custody.membership, custody.place().group
    known = group.lead
    if token is not None:
        if not _is_active(group, us.consumer, token, now_ms):
            return None
    elif known is None or known.is_over(us.consumer, now_ms):
        token = max(0 if known is None else known.token + 1, now_ms)
    else:
        return None
    lease_ms = math.ceil(us.lease * 1000)
    group.lead = Lead(us.consumer, token, now_ms, now_ms + lease_ms, now_ms + 2 * lease_ms)
    return token


def resign(custody: Custody) -> bool:
    """Be active no more; say whether it was so.

    Raises:
      StreamError: NOGROUP, WRONGTYPE.
    """
    group = custody.place().group
    known = group.lead
    if known is None or known.owner != custody.membership.consumer:
        return False
    group.lead = attrs.evolve(known, owner="", ends_ms=0)
    return True


def survey(custody: Custody, after: EntryId | None, count: int) -> Queue:
    """Tell what is pending behind *after*; see `OrderedMember.survey`.

    Raises:
      StreamError: NOGROUP, WRONGTYPE.
    """
    place = custody.place()
    pending = place.group.pending
    behind = (it for it in pending.ids(MIN_ID, MAX_ID) if after is None or it > after)
    looked_at = list(islice(behind, count))
    found = tuple(
        Parked(entry_id, place.stream.entries.get(entry_id), held=owner not in RESERVED_CONSUMERS)
        for entry_id, owner in ((it, pending[it].consumer.name) for it in looked_at)
        if owner != DEAD
    )
    return Queue(found, looked_at[-1] if len(looked_at) == count else None)


def draw(store: Store, custody: Custody, token: int, count: int, now_ms: int) -> Queue | None:
    """Move new entries to where they wait for their key; see `OrderedMember.draw`.

    Raises:
      StreamError: NOGROUP, WRONGTYPE.
    """
    us, place = custody.membership, custody.place()
    if not _is_active(place.group, us.consumer, token, now_ms):
        return None
    answer = xreadgroup(store, us.group, KEY, [(us.topic, ">")], now_ms, count=count)
    rows = answer[0][1] if answer else []
    for entry_id, _ in rows:
        move(place.group, entry_id, KEY, 0, now_ms)
    return Queue(tuple(Parked(*row) for row in rows), place.group.last_delivered)


def start(
    custody: Custody, token: int, entry_ids: Sequence[EntryId], now_ms: int, *, alone: bool
) -> Start | None:
    """Take what nobody else has and whose time has come; see `OrderedMember.start`.

    Raises:
      StreamError: NOGROUP, WRONGTYPE; or what it met could not be buried, and nothing else was.
    """
    place = custody.place()
    if not _is_active(place.group, custody.membership.consumer, token, now_ms):
        return None
    choice = _Choice(custody, place, now_ms)
    for entry_id in entry_ids:
        choice.sort(entry_id, alone=alone)
    return choice.result()


class _Choice:
    """Sorts entries by what has become of them, and takes those that can be started."""

    def __init__(self, custody: Custody, place: Place, now_ms: int) -> None:
        self._custody = custody
        self._place = place
        self._now_ms = now_ms
        self._haul = takeover.Haul()
        self._apart: list[EntryId] = []
        self._over: list[EntryId] = []
        self._due: dict[EntryId, float] = {}
        self._held: dict[EntryId, float] = {}

    def sort(self, entry_id: EntryId, *, alone: bool) -> None:
        """Take one, or say why not."""
        pending = self._place.group.pending.get(entry_id)
        if pending is None or pending.consumer.name == DEAD:
            self._over.append(entry_id)
        elif pending.consumer.name == SUSPECT and not alone:
            self._apart.append(entry_id)
        elif self._waits(entry_id, pending):
            return
        else:
            takeover.take(self._custody, self._place, entry_id, self._now_ms, self._haul)

    def result(self) -> Start:
        """Return what the caller gets."""
        found = (self._apart, self._over, self._due, self._held)
        if any(found):
            self._haul.refusal = None
        taken = self._haul.result()
        return Start(taken, self._due, self._held, tuple(self._apart), tuple(self._over))

    def _waits(self, entry_id: EntryId, pending: Pending) -> bool:
        """Say whether it waits for its time, or somebody has it."""
        owner = pending.consumer.name
        if owner == DUE:
            left = math.ceil(self._place.due.score(str(entry_id), 0.0)) - self._now_ms
            waiting = self._due
        elif owner in RESERVED_CONSUMERS:
            return False
        else:
            left = math.ceil(self._custody.membership.lease * 1000) - pending.idle(self._now_ms)
            waiting = self._held
        if left > 0:
            waiting[entry_id] = left / 1000
        return left > 0


def _is_active(group: Group, consumer: str, token: int, now_ms: int) -> bool:
    known = group.lead
    if known is None or now_ms >= known.forgotten_ms:
        return False
    return (known.owner, known.token) == (consumer, token)
