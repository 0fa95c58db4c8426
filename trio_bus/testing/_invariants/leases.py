"""Invariant 7: a lease keeps others away."""

from __future__ import annotations

import attrs

from trio_bus._observer import Transition
from trio_bus._subscription.leases import RENEWALS_PER_LEASE
from trio_bus.testing._line import Line, What

from .rule import BEGINS_ANEW, Ears, Key, Rule, each, forget, key_of
from .scene import ENDS, Scene

_SLACK = 0.002
"""Seconds: servers count whole milliseconds."""
_UNSURE = {*(What.CLOCK_STEPPED, What.PAUSED, What.DIED, What.SERVER_STOPPED, What.FAULT)} | {
    What.REPLY_LOST
}
_NO_REASON = {What.DIED, What.DELETED, What.TRIMMED}
"""The death of somebody else; and what is deleted, nobody else can have."""

TRIPS = 4
"""Ways to the server or back: of a renewal, and of the next one."""


@attrs.define
class _Lease:
    consumer: str
    until: float


class Leases(Rule):
    """Two handlers never run one entry while its lease is held; in one process, never at all.

    Where lines tell what the server does, nothing is given to anybody while another one holds it
    and its lease is not over. Elsewhere handlers may overlap only where the earlier one settled
    its entry, was told that its lease is lost, may be cancelled, or something went wrong. And where
    nobody can be late, no lease is lost unless something went wrong: it is renewed in time (if the
    way to the server is not too long for it), and what is deleted nobody else can have.
    """

    number = 7
    name = "leases"
    seen_by = "starts and ends of handlers; deliveries and renewals of the server"
    weakened_by = "a clock that was moved; elsewhere, whatever lets a lease run out"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._leases: dict[Key, _Lease] = {}
        self._ended: set[tuple[str, Key]] = set()

    def hears(self) -> Ears:
        """Listen to what begins and ends leases, and to handlers."""
        over = (What.ACKED, What.RETRIED, What.RELEASED, What.BURIED, What.DROPPED)
        gone = (What.DELETED, What.TRIMMED)
        return {
            What.GIVEN: self._hear_given,
            What.RENEWED: self._hear_renewed,
            **each(over, self._hear_over),
            **each((*ENDS, What.VERB), self._hear_told),
            **each((*gone, *BEGINS_ANEW), self._hear_loss),
            What.RETAINED: self._hear_removed,
            Transition.LEASE_LOST: self._hear_lost,
            What.STARTED: self._hear_started,
        }

    def _hear_given(self, line: Line) -> None:
        key = key_of(line)
        held = self._leases.get(key)
        early = held is not None and line.time < held.until - _SLACK
        if held is not None and early and What.CLOCK_STEPPED not in self.scene.faults:
            words = f"{line.entry_id} is given while {held.consumer} has it"
            self.broken(f"{words} until {held.until:.3f} s", line)
        until = line.time + self.scene.consumer(line.consumer).lease
        self._leases[key] = _Lease(line.consumer, until)

    def _hear_renewed(self, line: Line) -> None:
        held = self._leases.get(key_of(line))
        if held is not None and held.consumer == line.consumer:
            held.until = line.time + self.scene.consumer(line.consumer).lease

    def _hear_over(self, line: Line) -> None:
        self._leases.pop(key_of(line), None)
        self._ended.add((line.consumer, key_of(line)))

    def _hear_told(self, line: Line) -> None:
        if line.entry_id is not None and line.detail != "renew":
            self._ended.add((line.consumer, key_of(line)))

    def _hear_lost(self, line: Line) -> None:
        self._hear_told(line)
        wrong = self.scene.faults - _NO_REASON
        lease = self.scene.consumer(line.consumer).lease
        in_time = TRIPS * self.scene.latency + lease / RENEWALS_PER_LEASE <= lease
        if self.scene.punctual and in_time and not wrong:
            self.broken(f"the lease of {line.entry_id} was lost, and nothing went wrong", line)

    def _hear_loss(self, line: Line) -> None:
        forget(line, self._leases)

    def _hear_removed(self, line: Line) -> None:
        if line.entry_id is not None:
            self._hear_loss(line)

    def _hear_started(self, line: Line) -> None:
        key = key_of(line)
        self._ended.discard((line.consumer, key))
        where = key[:2]
        if self.scene.faults & _UNSURE or where in self.scene.destroyed | self.scene.witnessed:
            return
        for other in self.scene.groups.get(where, {}).values():
            if other.name == line.consumer or line.entry_id not in other.running:
                continue
            config = other.config
            may_end = config is None or config.handler_timeout is not None or other.draining
            if not may_end and (other.name, key) not in self._ended:
                self.broken(f"a handler of {other.name} runs {line.entry_id} already", line)
