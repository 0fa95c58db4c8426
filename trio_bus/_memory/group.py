"""One consumer group: what was delivered to whom and is not acknowledged yet."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from trio_bus._backend import Record
from trio_bus._entry_id import EntryId

from .id_map import IdMap


@attrs.define(eq=False)
class Pending:
    """An entry that was delivered and is not acknowledged."""

    consumer: Consumer
    delivered_ms: int
    count: int = 1

    def idle(self, now_ms: int) -> int:
        """Return the milliseconds since it was last delivered or claimed."""
        return max(0, now_ms - self.delivered_ms)


@attrs.define(eq=False)
class Consumer:
    """A member of a group. Times are in server milliseconds; ``active_ms`` -1 is never."""

    name: str
    seen_ms: int
    active_ms: int = -1
    pending: IdMap[Pending] = attrs.field(factory=IdMap[Pending], repr=False)


@attrs.frozen
class Lead:
    """No state of a server: which of our members keeps the order of the group, in server time."""

    owner: str
    token: int
    since_ms: int
    ends_ms: int
    forgotten_ms: int

    def is_over(self, consumer: str, now_ms: int) -> bool:
        """Say whether that consumer may lead now; a lease of the future has no known end."""
        return self.owner == consumer or not self.since_ms <= now_ms < self.ends_ms


class Group:
    """Who holds which entries.

    Invariant: ``pending`` is the union of the consumers' own maps, which are disjoint; each holds
    the same `Pending` under the same id, and that names the consumer.

    ``entries_read`` is what the server counts; None where it does not know.
    """

    __slots__ = (
        *("consumers", "entries_read", "last_delivered", "lead", "notes", "pending", "tended_ms"),
    )

    def __init__(self, last_delivered: EntryId) -> None:
        self.last_delivered = last_delivered
        self.entries_read: int | None = None
        self.pending: IdMap[Pending] = IdMap()
        self.consumers: dict[str, Consumer] = {}
        # No state of a server: when one of our members tended the group last.
        self.tended_ms: int | None = None
        # Nor this: the context of what we gave up, and the history of what was sent back.
        self.notes: dict[EntryId, Record] = {}
        self.lead: Lead | None = None

    def consumer(self, name: str, now_ms: int) -> Consumer:
        """Return that consumer, a new one if need be, and note that it was seen."""
        consumer = self.consumers.setdefault(name, Consumer(name, now_ms))
        consumer.seen_ms = now_ms
        return consumer

    def deliver(self, entry_id: EntryId, consumer: Consumer, now_ms: int) -> None:
        """Hand out an entry for the first time, or as if it were the first time."""
        self.assign(entry_id, consumer, now_ms, count=1)
        consumer.active_ms = now_ms

    def assign(self, entry_id: EntryId, consumer: Consumer, delivered_ms: int, count: int) -> None:
        """Make *consumer* the owner of an entry, pending or not, with these figures."""
        pending = self.pending.get(entry_id)
        if pending is None:
            pending = Pending(consumer, delivered_ms, count)
            self.pending[entry_id] = pending
        elif pending.consumer is not consumer:
            pending.consumer.pending.pop(entry_id)
            pending.consumer = consumer
        consumer.pending[entry_id] = pending
        pending.delivered_ms = delivered_ms
        pending.count = count

    def acknowledge(self, entry_id: EntryId) -> bool:
        """End the wait for an entry; say whether it was pending."""
        pending = self.pending.pop(entry_id)
        if pending is None:
            return False
        pending.consumer.pending.pop(entry_id)
        self.notes.pop(entry_id, None)
        return True

    def holds(self, name: str) -> bool:
        """Say whether that consumer owns anything."""
        owner = self.consumers.get(name)
        return owner is not None and len(owner.pending) > 0

    def remove_consumer(self, name: str) -> int:
        """Remove a consumer; return how many pending entries were thrown away with it."""
        consumer = self.consumers.pop(name, None)
        if consumer is None:
            return 0
        for entry_id in consumer.pending:
            self.pending.pop(entry_id)
        return len(consumer.pending)

    def waiting(self) -> Iterator[Consumer]:
        """Walk over the consumers that own entries, by name."""
        for name in sorted(self.consumers):
            if len(self.consumers[name].pending):
                yield self.consumers[name]
