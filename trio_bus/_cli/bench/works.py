"""What ``trio-bus bench`` measures, as data."""

from __future__ import annotations

from enum import Enum, unique

import attrs

TASKS = 64
BATCH = 1000
READ = 256
"""Entries in a read of whoever handles them together."""
SIZE = 256
"""Bytes of a payload where no other size is asked for."""


@unique
class Kind(Enum):
    """What a program has to do."""

    PUBLISH = "publish"
    """In *width* tasks, *batch* messages with each call; all are confirmed."""
    CONSUME = "consume"
    """A handler for each message, *width* at a time; all are acked."""
    BATCHES = "batches"
    """A handler for *batch* messages at a time; all are acked."""
    LATENCY = "latency"
    """*rate* messages per second, each on its way from publishing it to its handler."""
    SUBSCRIPTIONS = "subscriptions"
    """*width* subscriptions in one process, each with a topic of its own."""
    BACKLOG = "backlog"
    """The first *count* of *backlog* messages, *pending* of others being in other hands."""
    IDLE = "idle"
    """*width* subscriptions that have nothing to do for *seconds*."""
    LIFE = "life"
    """A bus and a subscription are opened and left, *count* times."""


@unique
class Area(Enum):
    """What can be chosen by name."""

    PUBLISH = "publish"
    CONSUME = "consume"
    LATENCY = "latency"
    SIZES = "sizes"
    SUBSCRIPTIONS = "subscriptions"
    BACKLOG = "backlog"
    IDLE = "idle"
    LIFE = "life"


@attrs.frozen(kw_only=True)
class Work:
    """One thing to measure; `Kind` says what the numbers mean."""

    name: str
    area: Area
    kind: Kind
    count: int
    """Messages that are measured."""
    width: int = 1
    batch: int = 1
    size: int = SIZE
    rate: float = 0.0
    backlog: int = 0
    pending: int = 0
    seconds: float = 0.0

    @property
    def turns(self) -> int:
        """How often each task publishes a batch: once at least."""
        return max(1, self.count // (self.width * self.batch))

    @property
    def published(self) -> int:
        """How many messages that are."""
        return self.turns * self.width * self.batch

    def scaled(self, share: float) -> Work:
        """Return the same with fewer messages, for whom it takes long: one at least."""
        return attrs.evolve(self, count=max(1, round(self.count * share)))
