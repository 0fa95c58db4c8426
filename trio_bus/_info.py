"""What a server tells of a topic."""

from __future__ import annotations

import attrs

from ._entry_id import EntryId


@attrs.frozen
class ConsumerInfo:
    """A consumer of a group, as the server sees it. ``idle`` is in seconds."""

    name: str
    pending: int
    idle: float


@attrs.frozen
class GroupInfo:
    """A group, as the server sees it.

    ``pending`` counts what living or dead consumers hold; ``released``, ``delayed``, ``dead`` and
    ``suspects`` (what may kill its process) count what the group keeps between deliveries; what
    dead consumers held counts as released as soon as somebody has noticed. ``lag``, the entries not
    yet delivered, is None where the server cannot tell.
    """

    name: str
    last_delivered: EntryId
    lag: int | None
    pending: int
    released: int
    delayed: int
    dead: int
    consumers: tuple[ConsumerInfo, ...]
    suspects: int = 0


@attrs.frozen
class TopicInfo:
    """A topic, as the server sees it. ``length`` counts the entries that the stream retains."""

    topic: str
    length: int
    groups: tuple[GroupInfo, ...]
