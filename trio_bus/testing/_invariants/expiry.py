"""What has expired is not started."""

from __future__ import annotations

from trio_bus._backend import DeathCause
from trio_bus._entry_id import EntryId
from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What

from .rule import Ears, Rule, each
from .scene import ENDS, Scene

_GRACE = 0.001
"""Seconds: clocks on a wall count microseconds."""
_LATE = 1.0
"""Seconds between the look at the clock and the start, of a machine that is slow."""
_KEPT = frozenset({Transition.RETRIED, Transition.RELEASED})


class Expiry(Rule):
    """A message that has expired is not started, whatever it waited for, and is done with.

    It becomes a dead letter because it expired, or is acked where there is no dead-letter topic;
    that is told as EXPIRED. It is never tried again, and nothing expires before its time is over.
    Dead letters are handled all the same.
    """

    number = 4
    name = "expiry"
    seen_by = "publishes and starts of handlers with the expiry of their message, burials, ends"
    weakened_by = "where time is real, a start may be a second late"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._times: dict[tuple[str, EntryId], float | None] = {}
        self._expired: set[tuple[str, int]] = set()

    def hears(self) -> Ears:
        """Listen to what is published and started, and to what is given up."""
        return {
            What.PUBLISHED: self._hear_published,
            What.STARTED: self._hear_started,
            What.BURIED: self._hear_buried,
            Transition.EXPIRED: self._hear_expired,
            **each(ENDS, self._hear_end),
        }

    def _hear_published(self, line: Line) -> None:
        if line.entry_id is not None:
            self._times[line.topic, line.entry_id] = line.expires

    def _hear_started(self, line: Line) -> None:
        grace = _GRACE if self.scene.punctual else _LATE
        if line.expires is not None and line.time > line.expires + grace:
            words = f"{line.entry_id} ({line.label!r}) starts at {line.time:.3f} s"
            self.broken(f"{words}, and has expired at {line.expires:.3f} s", line)

    def _hear_buried(self, line: Line) -> None:
        if line.cause is DeathCause.EXPIRED:
            self._check_time(line)

    def _hear_expired(self, line: Line) -> None:
        self._check_time(line)
        if line.delivery is not None:
            self._expired.add((line.consumer, line.delivery))

    def _check_time(self, line: Line) -> None:
        if line.entry_id is None or (line.topic, line.entry_id) not in self._times:
            return
        expires = self._times[line.topic, line.entry_id]
        if line.topic in self.scene.uprooted:
            return  # ids come again
        if expires is None or line.time < expires - _GRACE:
            when = "never" if expires is None else f"at {expires:.3f} s"
            self.broken(f"{line.entry_id} is given up as expired, and expires {when}", line)

    def _hear_end(self, line: Line) -> None:
        if line.delivery is None or (line.consumer, line.delivery) not in self._expired:
            return
        end, config = line.transition, self.scene.consumer(line.consumer).config
        if end in _KEPT:
            self.broken(f"{line.entry_id} has expired, and is kept for later", line)
        if end is Transition.DEAD_LETTERED and line.cause is not DeathCause.EXPIRED:
            self.broken(f"{line.entry_id} has expired, and is dead for another reason", line)
        if end is Transition.ACKED and config is not None and config.dead_letter_topic is not None:
            self.broken(f"{line.entry_id} has expired, and is in no dead-letter topic", line)
