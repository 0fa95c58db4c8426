"""Settling: what one consumer may do with the entries it holds, each in one atomic step."""

from __future__ import annotations

from collections.abc import Callable, Collection

import attrs

from trio_bus._backend import (
    Ack,
    Bury,
    Death,
    Membership,
    Receipt,
    Release,
    Retry,
)
from trio_bus._dead_letter import CONTEXT, context_fields
from trio_bus._entry_id import EntryId
from trio_bus._names import DEAD, DUE, FREE, SUSPECT, own_key
from trio_bus._settled import Settled

from . import private
from .group import Group
from .sorted_set import SortedSet
from .store import Store
from .stream import Stream
from .stream_commands import xadd

_MAX_FIELD_ARGUMENTS = 7_000
"""Names and values together; a script on a server cannot add an entry with many more."""


@attrs.frozen
class Place:
    """Where a membership works: found anew for each step, because keys come and go."""

    stream: Stream
    group: Group
    due: SortedSet


class Custody:
    """The entries of one membership, and where they go next."""

    __slots__ = ("_store", "membership")

    def __init__(self, store: Store, membership: Membership) -> None:
        self._store = store
        self.membership = membership

    def place(self) -> Place:
        """Find the group.

        Raises:
          StreamError: NOGROUP, WRONGTYPE.
        """
        us = self.membership
        stream, group = self._store.need_group(us.topic, us.group)
        return Place(stream, group, self._store.sorted_set(own_key(us.topic, "due", us.group)))

    def why_not_ours(self, receipt: Receipt) -> Settled | None:
        """Say why a delivery is not ours to settle; None if it is.

        Raises:
          StreamError: WRONGTYPE.
        """
        us = self.membership
        if self._store.find_group(us.topic, us.group) is None:
            return Settled.LOST
        place = self.place()
        return None if self._owns(place.group, receipt) else _lost_or_absent(place, receipt.id)

    def is_finished(self, entry_id: EntryId) -> bool:
        """Say whether the group is there, and the entry pending for nobody in it."""
        us = self.membership
        found = self._store.find_group(us.topic, us.group)
        return found is not None and found[1].pending.get(entry_id) is None

    def settle(
        self, settlement: Ack | Retry | Release | Bury, now_ms: int, due_ms: Callable[[float], int]
    ) -> Settled:
        """Settle one entry; *due_ms* says when something is due that waits for so many seconds.

        Raises:
          StreamError: it is to be buried, and the dead-letter topic does not take it; WRONGTYPE.
        """
        receipt = settlement.receipt
        why = self.why_not_ours(receipt)
        if why is not None:
            return why
        place = self.place()
        if isinstance(settlement, Ack):
            place.group.acknowledge(receipt.id)
            return Settled.DONE
        if receipt.id not in place.stream.entries:
            drop(place, receipt.id)
            return Settled.GONE
        self._move(place, settlement, now_ms, due_ms)
        return Settled.DONE

    def ack(self, receipt: Receipt) -> Settled:
        """Finish an entry, whoever has it; say why it is not ours where nobody has.

        Raises:
          StreamError: WRONGTYPE.
        """
        us = self.membership
        found = self._store.find_group(us.topic, us.group)
        if found is None or found[1].pending.get(receipt.id) is None:
            return self.why_not_ours(receipt) or Settled.LOST
        found[1].acknowledge(receipt.id)
        return Settled.DONE

    def renew(self, receipts: Collection[Receipt], now_ms: int) -> dict[EntryId, Settled]:
        """Reset the idle time of each; return those where that is over, and why.

        Raises:
          StreamError: NOGROUP, WRONGTYPE.
        """
        place = self.place()
        private.keep(self._store, self.membership, now_ms)
        over: dict[EntryId, Settled] = {}
        for receipt in receipts:
            if not self._owns(place.group, receipt):
                over[receipt.id] = _lost_or_absent(place, receipt.id)
            elif receipt.id in place.stream.entries:
                move(place.group, receipt.id, self.membership.consumer, receipt.attempt, now_ms)
            else:
                drop(place, receipt.id)
                over[receipt.id] = Settled.GONE
        return over

    def forget(self) -> bool:
        """Remove our consumer unless it owns entries, or our private group; say whether it is gone.

        Raises:
          StreamError: WRONGTYPE.
        """
        us = self.membership
        if us.expiry is not None:
            private.remove(self._store, us.topic, us.group)
            return True
        found = self._store.find_group(us.topic, us.group)
        if found is None or us.consumer not in found[1].consumers:
            return True
        if len(found[1].consumers[us.consumer].pending):
            return False
        found[1].remove_consumer(us.consumer)
        return True

    def bury(self, place: Place, receipt: Receipt, death: Death, now_ms: int) -> None:
        """Move an entry that exists to the dead-letter topic, or to ``~dead``.

        Raises:
          StreamError: the dead-letter topic does not take it; it stays where it is.
        """
        us = self.membership
        record = place.stream.entries[receipt.id]
        context = place.group.notes.get(receipt.id, ()) + context_fields(
            us.topic, us.group, receipt, now_ms, death
        )
        fields = len(record) + len(context) - len(CONTEXT)
        if us.dead_letter_topic is None or 2 * fields > _MAX_FIELD_ARGUMENTS:
            place.group.notes[receipt.id] = context
            move(place.group, receipt.id, DEAD, receipt.attempt, now_ms)
            place.due.remove(str(receipt.id))
            return
        xadd(self._store, us.dead_letter_topic, "*", record + context, now_ms)
        drop(place, receipt.id)

    def _owns(self, group: Group, receipt: Receipt) -> bool:
        held = group.pending.get(receipt.id)
        return (
            held is not None
            and held.consumer.name == self.membership.consumer
            and held.count == receipt.attempt
        )

    def _move(
        self,
        place: Place,
        settlement: Retry | Release | Bury,
        now_ms: int,
        due_ms: Callable[[float], int],
    ) -> None:
        receipt = settlement.receipt
        if isinstance(settlement, Bury):
            self.bury(place, receipt, settlement.death, now_ms)
            return
        counted = isinstance(settlement, Retry)
        target = DUE if counted or settlement.delay > 0 else FREE
        count = receipt.attempt if counted else receipt.attempt - 1
        if receipt.suspect and not counted:
            place_of_suspect = DUE if target == DUE else SUSPECT
            set_apart(place.group, place_of_suspect, receipt.id, count, now_ms)
        else:
            move(place.group, receipt.id, target, count, now_ms)
        if target == DUE:
            place.due.add(str(receipt.id), due_ms(settlement.delay))


def move(group: Group, entry_id: EntryId, consumer: str, count: int, now_ms: int) -> None:
    """Give a pending entry to *consumer* with that count of deliveries, and start its idle time."""
    owner = group.consumer(consumer, now_ms)
    owner.active_ms = now_ms
    group.assign(entry_id, owner, now_ms, count)


def _lost_or_absent(place: Place, entry_id: EntryId) -> Settled:
    known = entry_id in place.stream.entries or place.group.pending.get(entry_id) is not None
    return Settled.LOST if known else Settled.ABSENT


def set_apart(group: Group, consumer: str, entry_id: EntryId, count: int, now_ms: int) -> None:
    """Give a suspect to ``~suspect``, where it waits to run alone, or to ``~due`` until then.

    It has been idle for ever: that marks it in ``~due``; in ``~suspect``, idle time tells how long
    ago it was booked.
    """
    move(group, entry_id, consumer, count, now_ms)
    group.assign(entry_id, group.consumer(consumer, now_ms), 0, count)


def drop(place: Place, entry_id: EntryId) -> None:
    """End the wait for an entry and forget when it is due."""
    place.group.acknowledge(entry_id)
    place.due.remove(str(entry_id))
