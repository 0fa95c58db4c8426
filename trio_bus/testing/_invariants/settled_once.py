"""Invariant 2: what is settled never starts again."""

from __future__ import annotations

from trio_bus._modes import AckMode
from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What

from .rule import BEGINS_ANEW, Ears, Key, Rule, each, forget_group, key_of
from .scene import Scene

_OUT_OF_STEP = {What.PAUSED, What.CLOCK_STEPPED}


class SettledOnce(Rule):
    """An entry that was acked or dead-lettered never starts again while its group lives.

    But what is dead may be sent back, into that group. Where lines tell what the server does, that
    it is not given to anybody either, and not settled again. With AUTO_ON_RECEIVE it starts once
    after its ack.
    """

    number = 2
    name = "settled once"
    seen_by = "settlements, starts of handlers; deliveries of the server"
    weakened_by = (
        "groups and topics that were deleted begin anew; where a process stood still, or a clock"
        " was moved, a handler may start late"
    )

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._settled: dict[Key, Line] = {}
        self._started: set[tuple[str, Key]] = set()

    def hears(self) -> Ears:
        """Listen to settlements, and to all that begins."""
        told = (Transition.ACKED, Transition.DEAD_LETTERED)
        return {
            **each((What.ACKED, What.BURIED), self._hear_settled),
            **each(told, self._hear_told),
            What.GIVEN: self._hear_given,
            What.STARTED: self._hear_started,
            What.REDRIVEN: self._hear_redriven,
            **each(BEGINS_ANEW, self._hear_destroyed),
        }

    def _hear_destroyed(self, line: Line) -> None:
        forget_group(line, self._settled)

    def _hear_redriven(self, line: Line) -> None:
        self._settled.pop(key_of(line), None)
        self._started = {it for it in self._started if it[1] != key_of(line)}

    def _hear_settled(self, line: Line) -> None:
        earlier = self._settled.get(key_of(line))
        if earlier is not None:
            self.broken(f"{line.entry_id} was settled before, at {earlier.time:.3f} s", line)
        self._settled[key_of(line)] = line

    def _hear_told(self, line: Line) -> None:
        where = (line.topic, line.group)
        if line.entry_id is None or where in self.scene.witnessed | self.scene.destroyed:
            return  # the server's own lines are exact; an earlier group may be meant
        self._settled.setdefault(key_of(line), line)

    def _hear_given(self, line: Line) -> None:
        settled = self._settled.get(key_of(line))
        if settled is not None:
            self.broken(f"{line.entry_id} is given again: {_how(settled)}", line)

    def _hear_started(self, line: Line) -> None:
        key = key_of(line)
        settled = self._settled.get(key)
        mine = (line.consumer, key)
        first = mine not in self._started
        self._started.add(mine)
        if settled is None or self.scene.faults & _OUT_OF_STEP:
            return
        config = self.scene.consumer(line.consumer).config or self.scene.configs.get(key[:2])
        early = config is not None and config.ack_mode is AckMode.AUTO_ON_RECEIVE
        if not (early and first and settled.consumer == line.consumer):
            self.broken(f"{line.entry_id} starts again: {_how(settled)}", line)


def _how(settled: Line) -> str:
    return f"{settled.consumer} settled it at {settled.time:.3f} s ({settled.subject.value})"
