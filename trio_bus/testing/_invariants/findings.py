"""What a claim finds is told."""

from __future__ import annotations

from trio_bus._entry_id import EntryId
from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What
from trio_bus.testing._places import Places

from .rule import Ears, Rule, each
from .scene import Scene

_TOLD = {
    What.BURIED: Transition.DEAD_LETTERED,
    What.SET_APART: Transition.SUSPECTED,
    What.DROPPED: Transition.VANISHED,
}
"""What a claim does beside taking, and what its observer is told then."""
_GRACE = 1.0
"""Seconds that an answer may be on its way."""
_Finding = tuple[str, Transition, EntryId]


class Findings(Rule):
    """What a claim finds beside what it takes is told: what it buries, sets apart or finds gone.

    Nobody holds that: no delivery tells of it. A claim that is cancelled tells of it too, unless
    its process ends. What an answer that was lost had brought is given back, and that is no claim.
    """

    number = 0
    name = "findings"
    seen_by = "what the server does with entries that nobody holds, and what observers are told"
    weakened_by = "answers that are lost, and the dead, tell nothing"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._untold: dict[_Finding, Line] = {}

    def hears(self) -> Ears:
        """Listen to what claims do, to what is told of it, and to what keeps that away."""
        return {
            **each(_TOLD, self._hear_finding),
            **each(_TOLD.values(), self._hear_told),
            **each((What.DIED, What.REPLY_LOST), self._hear_loss),
            What.SERVER_STOPPED: self._hear_stop,
            Transition.DRAINING: self._hear_draining,
        }

    def _hear_finding(self, line: Line) -> None:
        consumer = self.scene.consumer(line.consumer)
        if line.entry_id is None or consumer.draining or consumer.dead:
            return
        if line.what is What.DROPPED and line.detail:
            return  # by a settlement, or what strayed was given back: no claim
        if line.entry_id not in {*consumer.held.values(), *consumer.given_up}:
            self._untold[line.consumer, _TOLD[line.what], line.entry_id] = line

    def _hear_told(self, line: Line) -> None:
        if line.entry_id is not None and line.transition is not None:
            self._untold.pop((line.consumer, line.transition, line.entry_id), None)

    def _hear_loss(self, line: Line) -> None:
        for finding in list(self._untold):
            if self.scene.consumer(finding[0]).actor == line.actor:
                del self._untold[finding]

    def _hear_stop(self, line: Line) -> None:  # noqa: ARG002 - all answers that are on their way
        self._untold.clear()

    def _hear_draining(self, line: Line) -> None:
        for finding, found in list(self._untold.items()):
            if finding[0] == line.consumer:
                if self.scene.only_deaths and line.time > found.time + _GRACE:
                    self._break(found)
                del self._untold[finding]

    def quiet(self, places: Places) -> None:  # noqa: ARG002 - of the interface
        """Look for what was not told."""
        for found in self._untold.values():
            self._break(found)

    def _break(self, found: Line) -> None:
        words = f"the server {found.what.value} {found.entry_id} for {found.consumer}"
        self.broken(f"{words}, and its observer was not told", found)
