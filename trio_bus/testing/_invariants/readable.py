"""Invariant 4: what was published can be read."""

from __future__ import annotations

from trio_bus._backend import DeathCause
from trio_bus._entry_id import EntryId
from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import Places

from .rule import Ears, Rule
from .scene import Scene

_UNREAD = {DeathCause.UNDECODABLE, DeathCause.OVERSIZED}


class Readable(Rule):
    """A confirmed message is never given up as unreadable, nor as too large if its payload fits.

    It fits if it has at most ``max_payload_bytes``: what else a codec writes has room of its own,
    and no limit that nobody sees.
    """

    number = 4
    name = "readable"
    seen_by = (
        "confirmed publishes with the size of the payload, the limits of subscriptions, deaths"
    )
    weakened_by = "topics that were deleted"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sizes: dict[tuple[str, EntryId], int] = {}
        self._limits: dict[str, int] = {}
        self._unread: dict[tuple[str, EntryId], Line] = {}

    def hears(self) -> Ears:
        """Listen to publishes, subscriptions and deaths."""
        return {
            What.PUBLISHED: self._hear_published,
            What.JOINED: self._hear_joined,
            Transition.DEAD_LETTERED: self._hear_death,
        }

    def _hear_published(self, line: Line) -> None:
        if line.entry_id is not None and line.size is not None:
            self._sizes[line.topic, line.entry_id] = line.size

    def _hear_joined(self, line: Line) -> None:
        if line.size is not None:
            self._limits[line.consumer] = line.size

    def _hear_death(self, line: Line) -> None:
        if line.cause in _UNREAD and line.entry_id is not None:
            self._unread[line.topic, line.entry_id] = line

    def quiet(self, places: Places) -> None:  # noqa: ARG002 - the lines say it
        """Look at what was given up unread: by now its publisher knows its id."""
        self._look()

    def finish(self, places: Places | None) -> None:  # noqa: ARG002 - the lines say it
        """Look once more."""
        self._look()

    def _look(self) -> None:
        for (topic, entry_id), line in self._unread.items():
            size = self._sizes.get((topic, entry_id))
            if size is None or self._exceeds(size, line) or topic in self.scene.uprooted:
                continue
            self.broken(f"{entry_id} is given up unread, and its payload has {size} bytes", line)

    def _exceeds(self, size: int, line: Line) -> bool:
        limit = self._limits.get(line.consumer)
        return line.cause is DeathCause.OVERSIZED and (limit is None or size > limit)
