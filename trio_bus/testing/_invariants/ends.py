"""Invariant 13: a handler ends when it is told to."""

from __future__ import annotations

from math import inf

import attrs

from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What

from .rule import Ears, Key, Rule, each, key_of
from .scene import Scene
from .turns import ENDED

_SLACK = 0.002
"""Seconds: what is due at one moment happens in it."""
_AT_ONCE = {"aclose", "cancel"}
"""How a subscription is left without patience."""


@attrs.define
class _Bound:
    """When a handler that yields has to end, and why."""

    until: float = inf
    why: str = ""
    began: float = 0.0
    settles: bool = False
    """Whether it called a verb that settles."""

    def lower(self, until: float, why: str) -> None:
        """Let it end then, unless that is earlier."""
        if until < self.until:
            self.until, self.why = until, why


class Ends(Rule):
    """A handler that yields to its cancellation ends when the time that it has is over.

    That is ``handler_timeout`` from its start; ``drain_timeout`` from when its subscription drains,
    or none where that is closed at once, or cancelled; and none once its lease was told to be lost.
    Zero is none. (Whoever has settled its entry itself may go on in a drain: the tasks of those who
    iterate are their own.)
    """

    number = 13
    name = "ends"
    seen_by = "starts and ends of handlers that are known to yield; what their subscription tells"
    weakened_by = "a handler may resist; a process that stood still; real time"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._bounds: dict[str, dict[Key, _Bound]] = {}
        """Of the handlers that run and yield."""
        self._drains: dict[str, _Bound] = {}

    def hears(self) -> Ears:
        """Listen to handlers, and to what ends them."""
        return {
            What.STARTED: self._hear_started,
            What.VERB: self._hear_verb,
            Transition.LEASE_LOST: self._hear_lost,
            Transition.DRAINING: self._hear_draining,
            What.LEAVING: self._hear_leaving,
            **each(ENDED, self._hear_end),
        }

    def _find(self, line: Line) -> _Bound:
        """Return the bound of the handler that a line is about, or one that nobody asks for."""
        bounds = self._bounds.get(line.consumer)
        return bounds.get(key_of(line), _Bound()) if bounds else _Bound()

    def _hear_started(self, line: Line) -> None:
        bounds = self._bounds.setdefault(line.consumer, {})
        bounds.pop(key_of(line), None)
        if line.yields:
            bound = bounds[key_of(line)] = _Bound(began=line.time)
            config = self.scene.consumer(line.consumer).config
            if config is not None and config.handler_timeout is not None:
                bound.lower(line.time + config.handler_timeout, "handler_timeout was over")

    def _hear_verb(self, line: Line) -> None:
        if not line.detail.startswith("renew"):
            self._find(line).settles = True

    def _hear_lost(self, line: Line) -> None:
        bound = self._find(line)
        if not bound.settles:  # or it is that of a later delivery, which waits for this one
            bound.lower(line.time, "its lease was lost")

    def _hear_draining(self, line: Line) -> None:
        config = self.scene.consumer(line.consumer).config
        if config is not None:
            self._drain(line, config.drain_timeout, "drain_timeout was over")

    def _hear_leaving(self, line: Line) -> None:
        if line.detail in _AT_ONCE:
            self._drain(line, 0.0, f"it was left: {line.detail}")

    def _drain(self, line: Line, seconds: float, why: str) -> None:
        self._drains.setdefault(line.consumer, _Bound()).lower(line.time + seconds, why)

    def _hear_end(self, line: Line) -> None:
        bound = self._bounds.get(line.consumer, {}).pop(key_of(line), None)
        if bound is None:
            return
        drain = self._drains.get(line.consumer)
        if drain is not None and not bound.settles:
            bound.lower(max(drain.until, bound.began), drain.why)
        late = line.time - bound.until
        if late > _SLACK and self.scene.punctual and What.PAUSED not in self.scene.faults:
            words = f"a handler of {line.consumer} ends {late:.3f} s after {bound.why}"
            self.broken(words, line)
