"""Promises about outages: what nobody's message is to blame for costs no message anything."""

from __future__ import annotations

import attrs

from trio_bus._backend import DeathCause
from trio_bus._entry_id import EntryId
from trio_bus._observer import Scope, Transition
from trio_bus.testing._line import Line, What

from .rule import Ears, Rule, each
from .scene import BEGINNINGS, Scene


@attrs.define
class _Outage:
    """What a consumer did since it was told of one."""

    began: float
    failed: set[tuple[EntryId, int | None]] = attrs.field(factory=set[tuple[EntryId, int | None]])
    last: EntryId | None = None
    """What was tried last."""
    waiting: dict[EntryId, float] = attrs.field(factory=dict[EntryId, float])
    """What was handed back, and when it is due."""
    tried: dict[EntryId, float] = attrs.field(factory=dict[EntryId, float])
    """When what was handed back and came again was due."""


class Outages(Rule):
    """An outage begins when ``failure_threshold`` distinct entries have failed, with no success.

    It is told once, and so is its end. While it lasts no failure is retried or exhausts its entry,
    one entry is tried at a time, and none twice in a row while another one is due before it.
    """

    number = 10
    name = "outages"
    seen_by = "how handlers end, what consumers are told, and what the server keeps"
    weakened_by = "what a handler settles itself is settled so; the dead tell nothing"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._failures: dict[str, set[EntryId]] = {}
        self._outages: dict[str, _Outage] = {}
        self._verbs: set[tuple[str, EntryId | None, int | None]] = set()

    def hears(self) -> Ears:
        """Listen to failures and successes, and to what becomes of them."""
        over = (What.GIVEN, What.ACKED, What.BURIED, What.DROPPED, What.SET_APART)
        return {
            What.ERROR: self._hear_error,
            What.VERB: self._hear_verb,
            What.SUCCEEDED: self._hear_success,
            Transition.OUTAGE_BEGAN: self._hear_began,
            Transition.OUTAGE_ENDED: self._hear_ended,
            **each(BEGINNINGS, self._hear_beginning),
            **each((Transition.RETRIED, Transition.DEAD_LETTERED), self._hear_end),
            What.RELEASED: self._hear_released,
            **each(over, self._hear_over),
        }

    def _hear_error(self, line: Line) -> None:
        if line.scope is not Scope.HANDLER or line.entry_id is None:
            return
        self._failures.setdefault(line.consumer, set()).add(line.entry_id)
        outage = self._outages.get(line.consumer)
        if outage and (line.consumer, line.entry_id, line.attempt) not in self._verbs:
            outage.failed.add((line.entry_id, line.delivery))

    def _hear_verb(self, line: Line) -> None:
        self._verbs.add((line.consumer, line.entry_id, line.attempt))

    def _hear_success(self, line: Line) -> None:
        if (line.consumer, line.entry_id, line.attempt) not in self._verbs:
            self._failures.pop(line.consumer, None)

    def _hear_began(self, line: Line) -> None:
        config = self.scene.consumer(line.consumer).config
        config = config or self.scene.configs.get((line.topic, line.group))
        most = None if config is None else config.failure_threshold
        failures = len(self._failures.get(line.consumer, ()))
        if line.consumer in self._outages:
            self.broken("what goes on is told to begin again", line)
        if most is not None and failures < most:
            self.broken(
                f"{failures} entries failed in a row, and failure_threshold is {most}", line
            )
        self._outages[line.consumer] = _Outage(line.time)

    def _hear_ended(self, line: Line) -> None:
        self._outages.pop(line.consumer, None)
        self._failures.pop(line.consumer, None)

    def _hear_beginning(self, line: Line) -> None:
        outage = self._outages.get(line.consumer)
        if outage is None or line.entry_id is None or line.time == outage.began:
            return
        was_due = outage.tried.get(line.entry_id, line.time)
        others = [it for it, due in outage.waiting.items() if due < was_due]
        if line.entry_id == outage.last and others:
            self.broken(f"{line.entry_id} is tried again, and {others[0]} waits", line)
        outage.last = line.entry_id

    def _hear_end(self, line: Line) -> None:
        outage = self._outages.get(line.consumer)
        if outage is None or line.entry_id is None:
            return
        exhausted = line.cause is DeathCause.EXHAUSTED
        wrong = line.transition is Transition.RETRIED or exhausted
        if wrong and (line.entry_id, line.delivery) in outage.failed:
            self.broken(f"{line.entry_id} failed in an outage, and that counts", line)

    def _hear_released(self, line: Line) -> None:
        outage = self._outages.get(line.consumer)
        if outage is not None and line.entry_id is not None:
            outage.waiting[line.entry_id] = line.time + (line.seconds or 0.0)

    def _hear_over(self, line: Line) -> None:
        for outage in self._outages.values():
            if line.entry_id is not None and line.entry_id in outage.waiting:
                outage.tried[line.entry_id] = outage.waiting.pop(line.entry_id)
