"""What a server tells of a topic."""

from __future__ import annotations

import attrs

from ._entry_id import EntryId
from ._names import is_private


@attrs.frozen
class ConsumerInfo:
    """A consumer of a group, as the server sees it. ``idle`` is in seconds."""

    name: str
    pending: int
    idle: float


@attrs.frozen
class GroupInfo:
    """A group, as the server sees it.

    ``pending`` counts what living or dead consumers hold; ``released``, ``delayed``, ``dead``,
    ``suspects`` (what may kill its process) and ``parked`` (what was read, and waits for its key or
    for a permit) count what the group keeps between deliveries; what
    dead consumers held counts as released as soon as somebody has noticed. ``lag``, the entries not
    yet delivered, is None where the server cannot tell. ``oldest`` is the oldest entry that is not
    finished: delivered and not done, waiting between deliveries, or not yet delivered; not what was
    given up. Its ``time`` tells how far behind the group is. None where all is done.
    """

    name: str
    last_delivered: EntryId
    lag: int | None
    pending: int
    released: int
    delayed: int
    dead: int
    consumers: tuple[ConsumerInfo, ...]
    oldest: EntryId | None = None
    suspects: int = 0
    parked: int = 0

    @property
    def is_private(self) -> bool:
        """Whether it is that of one FAN_OUT subscription, and goes when that goes."""
        return is_private(self.name)


@attrs.frozen
class TopicInfo:
    """A topic, as the server sees it.

    ``length`` counts the entries that the stream retains, and ``oldest`` is the first of them;
    ``scheduled`` counts the messages that will be published later.
    """

    topic: str
    length: int
    groups: tuple[GroupInfo, ...]
    oldest: EntryId | None = None
    scheduled: int = 0
