"""Promises about time: what is due comes when it is due."""

from __future__ import annotations

from math import inf

import attrs

from trio_bus._entry_id import EntryId
from trio_bus._modes import OrderingMode
from trio_bus._subscription.reclaimer import BREATH
from trio_bus.testing._line import Line, What

from .rule import BEGINS_ANEW, Ears, Key, Rule, each, forget_group, key_of
from .scene import Consumer, Scene

SOON = BREATH + 0.005
"""Seconds: looks are that far apart, and servers count whole milliseconds."""
COMPANY = 0.005 + 0.001
"""Seconds that a free permit may wait for others, so that one read brings many entries."""
TRIPS = 8
"""Ways to the server or back: of a look and a claim under way, of the next ones, of a read."""


@attrs.frozen
class _Given:
    """When an entry was given first, and from when on somebody could have taken it."""

    time: float
    since: float


class Promptness(Rule):
    """What is due is taken when it is due, by whoever was free all the time.

    Retried, given back, sent back from the dead or scheduled: within 25 ms and the time that the
    answers take, and not at the next tick. Whoever makes something due tells those who wait when
    that will be. And what is new is read within 5 ms by whoever has a free permit.
    """

    number = 0
    name = "promptness"
    seen_by = "what the server keeps, and when it gives it; what consumers hold"
    weakened_by = (
        "any fault, and a retention that removes what is unfinished; it is seen in virtual time "
        "alone, and suspects run alone"
    )

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._due: dict[Key, float] = {}
        self._look_at = 0.0
        self._delays: dict[tuple[str, str], float] = {}
        self._scheduled: dict[tuple[str, str], float] = {}
        self._entries: dict[tuple[str, str], EntryId] = {}
        self._given: dict[Key, _Given] = {}
        self._published: dict[tuple[str, EntryId], float] = {}

    def hears(self) -> Ears:
        """Listen to what will be due, and to who gets it."""
        over = (What.ACKED, What.BURIED, What.DROPPED, What.SET_APART)
        return {
            **each((What.RELEASED, What.RETRIED, What.REDRIVEN), self._hear_kept),
            **each(over, self._hear_over),
            What.GIVEN: self._hear_given,
            What.PUBLISHED: self._hear_published,
            What.SCHEDULING: self._hear_scheduling,
            What.SCHEDULED: self._hear_scheduled,
            What.STARTED: self._hear_started,
            **each(BEGINS_ANEW, self._hear_destroyed),
            **each((What.COMMAND, What.OVER, What.QUIET), self._hear_time),
        }

    @property
    def _applies(self) -> bool:
        return self.scene.punctual and not self.scene.faults

    def _hear_kept(self, line: Line) -> None:
        due, config = line.time + (line.seconds or 0.0), self.scene.configs.get(key_of(line)[:2])
        if line.what is What.REDRIVEN and config and config.ordering_mode is OrderingMode.KEY:
            due += config.reclaim_interval  # who has just searched for it in vain waits for a tick
        self._due[key_of(line)] = due

    def _hear_over(self, line: Line) -> None:
        self._due.pop(key_of(line), None)

    def _hear_given(self, line: Line) -> None:
        key = key_of(line)
        due = self._due.get(key)
        if due is not None:
            self._look(key, due, line)
            del self._due[key]
        if key not in self._given:
            free = [it.could_take(0.0) for it in self._members(key)]
            self._given[key] = _Given(line.time, min(free, default=inf))
            self._look_at_new(key, line)

    def _hear_published(self, line: Line) -> None:
        if line.entry_id is not None:
            self._published.setdefault((line.topic, line.entry_id), line.time)

    def _look_at_new(self, key: Key, line: Line) -> None:
        """See that it was read as soon as somebody was free: no permit waits long for company."""
        there, given = self._published.get((key[0], key[2]), inf), self._given[key]
        late = given.time > max(there, given.since) + COMPANY + TRIPS * self.scene.latency
        if late and self._may_judge(key) and not self._is_ordered(key):
            words = f"{key[2]} is there since {there:.3f} s, and somebody is free since"
            self.broken(f"{words} {given.since:.3f} s: it is given at {given.time:.3f} s", line)

    def _is_ordered(self, key: Key) -> bool:
        return self.scene.configs[key[:2]].ordering_mode is OrderingMode.KEY

    def _hear_scheduling(self, line: Line) -> None:
        self._delays[line.topic, line.label] = line.seconds or 0.0

    def _hear_scheduled(self, line: Line) -> None:
        message = (line.topic, line.label)
        self._scheduled[message] = line.time + self._delays.pop(message, inf)

    def _hear_started(self, line: Line) -> None:
        key, due = key_of(line), self._scheduled.get((line.topic, line.label))
        given = self._given.get(key)
        if due is None or given is None or not self._may_judge(key):
            return
        if self._entries.setdefault((line.topic, line.label), key[2]) != key[2]:
            return  # a copy, sent back by an operator
        if self._is_ordered(key):
            return  # it may wait behind others
        if given.time > max(due, given.since) + self._bound:
            words = f"{line.label!r} was due at {due:.3f} s, and was given at {given.time:.3f} s"
            self.broken(words, line)

    def _hear_destroyed(self, line: Line) -> None:
        forget_group(line, self._due)
        forget_group(line, self._given)

    def _hear_time(self, line: Line) -> None:
        """Look, a few times in a second, whether something is due for too long."""
        if line.time >= self._look_at:
            self._look_at = line.time + SOON
            for key, due in self._due.items():
                self._look(key, due, line)

    def _look(self, key: Key, due: float, line: Line) -> None:
        for consumer in self._members(key) if self._may_judge(key) else ():
            if line.time > self.scene.could_take(consumer, key, due) + self._bound:
                words = f"{key[2]} is due since {due:.3f} s, and {consumer.name} is free"
                self.broken(words, line)

    def _may_judge(self, key: Key) -> bool:
        return self._applies and key[:2] not in self.scene.suspicious and not self._is_lossy(key[0])

    def _is_lossy(self, topic: str) -> bool:
        """Say whether entries may vanish that wait to be started: they keep their permit."""
        retentions = [
            it.retention for (where, _), it in self.scene.configs.items() if where == topic
        ]
        return any(it is not None and not it.finished for it in retentions)

    def _members(self, key: Key) -> list[Consumer]:
        return list(self.scene.groups.get(key[:2], {}).values())

    @property
    def _bound(self) -> float:
        return SOON + TRIPS * self.scene.latency
