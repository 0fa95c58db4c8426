"""Invariant 7: what runs is held."""

from __future__ import annotations

import attrs

from trio_bus._observer import Transition
from trio_bus.testing._line import Line, What

from .rule import BEGINS_ANEW, Ears, Key, Rule, each, forget, key_of
from .scene import Scene
from .turns import ENDED

_SLACK = 0.002
"""Seconds: servers count whole milliseconds."""
_OUT_OF_STEP = {What.PAUSED, What.CLOCK_STEPPED}
_LEFT_OUT = 2
"""Renewals in a row that may not leave out what waits: the first one may have been on its way."""


@attrs.define
class _Tenure:
    """An entry that the server has for one consumer."""

    began: float
    """When its lease began for the server."""
    lease: float
    waits: bool = False
    """Its handler has ended, and it is not settled."""
    lost: bool = False
    """Its consumer was told that it is."""
    left_out: int = 0
    """How many renewals in a row went to the server without it."""

    @property
    def until(self) -> float:
        """When its lease is over for the server."""
        return self.began + self.lease

    def renew(self, now: float) -> None:
        """Begin its lease anew."""
        self.began, self.left_out = now, 0


_Tenures = dict[Key, _Tenure]


class Tenure(Rule):
    """What runs is held: a handler that yields has ended when the server ends its lease.

    Whoever waits for the answer of a verb that settles ends with that. No handler starts when more
    than half of that lease is over: first it is renewed. And whoever renews leases renews also
    those of what was handled and waits to be settled.
    """

    number = 7
    name = "tenure"
    seen_by = "starts and ends of handlers; deliveries and renewals of the server"
    weakened_by = (
        "a handler may resist; a process that stood still, a clock that was moved; real time"
    )

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._tenures: dict[str, _Tenures] = {}
        self._yielding: set[tuple[str, Key]] = set()
        self._asked: dict[str, set[Key]] = {}
        """Whose handlers ask for a renewal themselves."""
        self._renewed_at: dict[str, float] = {}

    def hears(self) -> Ears:
        """Listen to what begins and ends leases, and to handlers."""
        over = (What.ACKED, What.RETRIED, What.RELEASED, What.BURIED, What.DROPPED)
        gone = (What.DELETED, What.TRIMMED, *BEGINS_ANEW)
        return {
            What.GIVEN: self._hear_given,
            What.RENEWED: self._hear_renewed,
            **each(over, self._hear_over),
            **each(gone, self._hear_gone),
            What.RETAINED: self._hear_removed,
            Transition.LEASE_LOST: self._hear_lost,
            What.STARTED: self._hear_started,
            **each((What.VERB, What.VERB_DONE, What.VERB_FAILED), self._hear_verb),
            **each(ENDED, self._hear_end),
        }

    @property
    def _in_step(self) -> bool:
        return self.scene.punctual and not self.scene.faults & _OUT_OF_STEP

    def _find(self, line: Line) -> _Tenure | None:
        return self._tenures.get(line.consumer, {}).get(key_of(line))

    def _hear_given(self, line: Line) -> None:
        tenure = _Tenure(line.time, self.scene.consumer(line.consumer).lease)
        self._tenures.setdefault(line.consumer, {})[key_of(line)] = tenure

    def _hear_over(self, line: Line) -> None:
        self._tenures.get(line.consumer, {}).pop(key_of(line), None)

    def _hear_lost(self, line: Line) -> None:
        """Expect no renewal of it any more."""
        if line.entry_id is not None:
            tenure = self._find(line)
            if tenure is not None:
                tenure.lost, tenure.waits = True, False

    def _hear_gone(self, line: Line) -> None:
        for tenures in self._tenures.values():
            forget(line, tenures)

    def _hear_removed(self, line: Line) -> None:
        if line.entry_id is not None:
            self._hear_gone(line)

    def _hear_renewed(self, line: Line) -> None:
        """Begin its lease anew, and, with the first of one call, count it for all that wait."""
        by_handler = key_of(line) in self._asked.get(line.consumer, ())
        if not by_handler and line.time > self._renewed_at.get(line.consumer, -1.0):
            self._renewed_at[line.consumer] = line.time
            self._leave_out(line)
        tenure = self._find(line)
        if tenure is not None:
            tenure.renew(line.time)

    def _leave_out(self, line: Line) -> None:
        working = not self.scene.consumer(line.consumer).draining
        for (_, _, entry_id), tenure in self._tenures.get(line.consumer, {}).items():
            if tenure.left_out >= _LEFT_OUT and self._in_step:
                words = f"{entry_id} waits to be settled by {line.consumer}"
                self.broken(f"{words}, which renews what it holds without it", line)
            tenure.left_out = tenure.left_out + 1 if tenure.waits and working else 0

    def _hear_started(self, line: Line) -> None:
        mine = (line.consumer, key_of(line))
        self._yielding.discard(mine)
        tenure = self._find(line)
        if tenure is None:
            return
        tenure.waits = False
        if line.yields:
            self._yielding.add(mine)
        age = line.time - tenure.began
        if self._in_step and age > tenure.lease / 2 + _SLACK:
            words = f"{line.entry_id} starts {age:.3f} s after its lease of {tenure.lease:g} s"
            self.broken(f"{words} began", line)

    def _hear_verb(self, line: Line) -> None:
        if not line.detail.startswith("renew"):  # whoever waits for its answer ends with that
            self._yielding.discard((line.consumer, key_of(line)))
        else:
            asked = self._asked.setdefault(line.consumer, set())
            if line.what is What.VERB:
                asked.add(key_of(line))
            else:
                asked.discard(key_of(line))

    def _hear_end(self, line: Line) -> None:
        mine = (line.consumer, key_of(line))
        yielding, tenure = mine in self._yielding, self._find(line)
        self._yielding.discard(mine)
        if tenure is None:
            return
        tenure.waits = not tenure.lost and line.what is not What.CANCELLED
        if yielding and self._in_step and line.time > tenure.until + _SLACK:
            words = f"a handler of {line.consumer} ends {line.time - tenure.until:.3f} s after"
            self.broken(f"{words} its lease", line)
