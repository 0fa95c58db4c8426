"""Invariant 4: what is dead-lettered, and how."""

from __future__ import annotations

from trio_bus._backend import DeathCause
from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import Places

from .rule import BEGINS_ANEW, Ears, Key, Rule, each, forget_group, key_of
from .scene import Scene


class Deaths(Rule):
    """An entry is dead-lettered when it is rejected, over its limit or unreadable; once, unchanged.

    Once more where it was sent back. Never earlier: an exhausted one was delivered as often as it
    may be, a rejected one was started. Never later: at the limit nothing is retried, and beyond it
    nothing starts. Its fields are in the dead-letter topic byte by byte, before what is said of its
    death.
    """

    number = 4
    name = "deaths"
    seen_by = "burials and retries, starts of handlers; the records of dead-letter topics"
    weakened_by = "after a group or topic was deleted an entry may die again"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._limits: dict[str, int] = {}
        self._started: dict[Key, Line] = {}
        self._buried: dict[Key, Line] = {}

    def hears(self) -> Ears:
        """Listen to deaths, retries and starts."""
        return {
            What.MEMBER: self._hear_member,
            What.JOINED: self._hear_joined,
            What.STARTED: self._hear_started,
            What.BURIED: self._hear_buried,
            Transition.DEAD_LETTERED: self._hear_cause,
            What.RETRIED: self._hear_retried,
            Transition.RETRIED: self._hear_retried,
            What.REDRIVEN: self._hear_redriven,
            **each(BEGINS_ANEW, self._hear_destroyed),
        }

    def _hear_member(self, line: Line) -> None:
        if line.attempt is not None:  # what the configuration says counts more
            self._limits.setdefault(line.consumer, line.attempt)

    def _hear_joined(self, line: Line) -> None:
        if line.config is not None:
            self._limits[line.consumer] = line.config.max_retry + 1

    def _hear_destroyed(self, line: Line) -> None:
        forget_group(line, self._buried)

    def _hear_redriven(self, line: Line) -> None:
        self._buried.pop(key_of(line), None)

    def _limit(self, line: Line) -> int | None:
        return self._limits.get(line.consumer)

    def _hear_started(self, line: Line) -> None:
        self._started[key_of(line)] = line
        limit = self._limit(line)
        if limit is not None and line.attempt is not None and line.attempt > limit:
            self.broken(f"attempt {line.attempt} starts, and {limit} are allowed", line)

    def _hear_retried(self, line: Line) -> None:
        limit = self._limit(line)
        if limit is not None and line.attempt is not None and line.attempt >= limit:
            self.broken(f"attempt {line.attempt} of {limit} is kept for a retry", line)

    def _hear_buried(self, line: Line) -> None:
        earlier = self._buried.get(key_of(line))
        if earlier is not None:
            self.broken(f"{line.entry_id} was buried before, at {earlier.time:.3f} s", line)
        self._buried[key_of(line)] = line
        self._hear_cause(line)

    def _hear_cause(self, line: Line) -> None:
        limit = self._limit(line)
        if line.cause is DeathCause.EXHAUSTED and limit is not None and line.attempt is not None:
            if line.attempt < limit:
                self.broken(f"exhausted after attempt {line.attempt} of {limit}", line)
        elif line.cause is DeathCause.REJECTED and key_of(line) not in self._started:
            self.broken(f"{line.entry_id} is rejected, and no handler was started", line)

    def quiet(self, places: Places) -> None:
        """Compare the dead letters with what they were."""
        seen: set[Key] = set()
        for topic in places.topics.values():
            for letter, record in topic.letters():
                key = (letter.topic, letter.group, letter.entry_id)
                if key in seen and key[:2] not in self.scene.destroyed:
                    self.broken(f"{letter.entry_id} is in the dead-letter topic twice")
                seen.add(key)
                origin = places.topics.get(letter.topic)
                if origin is None or letter.topic in self.scene.uprooted:
                    continue
                was = (origin.records or {}).get(letter.entry_id)
                if was is not None and record[: len(was)] != was:
                    self.broken(f"the fields of {letter.entry_id} changed when it was buried")

    def finish(self, places: Places | None) -> None:
        """Compare them once more."""
        if places is not None:
            self.quiet(places)
