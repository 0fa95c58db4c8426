"""Holds a simulated world against the invariants while it goes on."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from trio_bus._memory import MemoryBackend
from trio_bus._names import is_private
from trio_bus.testing._invariants import InvariantBroken, Judge
from trio_bus.testing._journal import Journal
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import Places, look_into

from .plan import DEAD_TOPIC, EFFECTS_TOPIC, TOPIC


@attrs.define(eq=False)
class Judging:
    """Hears the journal, looks at the streams, and ends the run where an invariant breaks."""

    journal: Journal
    streams: MemoryBackend
    scope: trio.CancelScope
    """The whole run."""
    latency: float = 0.0
    """Of each way to the server, at most."""
    broken: InvariantBroken | None = None
    """What broke first."""
    length: int | None = None
    """How many lines the journal had then; what follows is the end of the run."""
    _judge: Judge = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._judge = Judge(latency=self.latency)
        self.journal.listen(self._hear)

    def places(self) -> Places:
        """Look where every entry is."""
        return look_into(self.streams, (TOPIC, DEAD_TOPIC, EFFECTS_TOPIC))

    @property
    def somebody_holds_something(self) -> bool:
        """Whether a consumer at work was not told the end of a delivery: it may be trying."""
        return any(it.works and it.held for it in self._judge.scene.consumers.values())

    @property
    def private_groups(self) -> list[str]:
        """Those of all that are at work and have one: they are there, or are made again."""
        there = self._judge.scene.consumers.values()
        return [it.group for it in there if it.works and is_private(it.group)]

    def quiet(self) -> None:
        """Judge a moment at which nothing is under way."""
        self.journal.quiet()
        self._ask(lambda: self._judge.quiet(self.places()))

    def finish(self) -> None:
        """Judge the whole run.

        Raises:
          InvariantBroken: one is broken, now or before.
        """
        self.journal.over()
        self._ask(lambda: self._judge.finish(self.places()))
        if self.broken is not None:
            raise self.broken

    def _hear(self, line: Line) -> None:
        """Judge what happens, and with each operation where the entries are."""
        self._ask(lambda: self._judge.hear(line))
        if line.what is What.COMMAND:
            self._ask(lambda: self._judge.look(self.places()))

    def breaks(self, number: int, name: str, words: str) -> None:
        """Say that an invariant is broken that no line and no place shows."""
        if self.broken is None:
            self._end(InvariantBroken(number, name, words, self.journal.lines[-1]))

    def _ask(self, question: Callable[[], None]) -> None:
        """End the run where an invariant is broken; no task of the world is told why."""
        if self.broken is None:
            try:
                question()
            except InvariantBroken as broken:
                self._end(broken)

    def _end(self, broken: InvariantBroken) -> None:
        self.broken = broken
        self.length = len(self.journal.lines)
        self.scope.cancel("an invariant is broken")
