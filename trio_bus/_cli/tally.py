"""Sums up the results of the demo, each counted once. Pure."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import attrs

from trio_bus._message import Message

from .work import ALERTS, CLIMATE, STORM


def _groups() -> dict[str, set[str]]:
    return {CLIMATE: set(), ALERTS: set()}


@attrs.define
class Tally:
    """What the handlers of both groups came to."""

    handled: dict[str, set[str]] = attrs.field(factory=_groups)
    """By group, the uids of the readings that it handled."""
    redelivered: dict[str, set[str]] = attrs.field(factory=_groups)
    """By group, the uids of the readings that it handled in a second delivery, or a later one."""
    by_worker: dict[str, int] = attrs.field(factory=dict[str, int])
    """How many results each process made first."""
    storms: set[str] = attrs.field(factory=set[str])
    """The uids of the readings that a warning was raised for."""
    days: dict[str, list[Decimal]] = attrs.field(factory=dict[str, list[Decimal]])
    """By month, the mean temperatures of its days."""
    repeated: int = 0
    """Results that had been counted before."""
    _seen: set[str] = attrs.field(factory=set[str])

    def add(self, result: Message) -> None:
        """Count a result, unless one with its uid was."""
        reading = result.correlation_uid or ""
        if int(result.headers["attempt"]) > 1:
            self.redelivered[result.key].add(reading)
        if result.uid in self._seen:
            self.repeated += 1
            return
        self._seen.add(result.uid)
        self.handled[result.key].add(reading)
        self.by_worker[result.source] = self.by_worker.get(result.source, 0) + 1
        if result.kind == STORM:
            self.storms.add(reading)
        if result.key == CLIMATE:
            month = reading.rpartition("/")[0]
            self.days.setdefault(month, []).append(Decimal(result.payload.decode()))

    def is_complete(self, readings: int) -> bool:
        """Tell whether every group has handled so many."""
        return all(len(uids) >= readings for uids in self.handled.values())

    @property
    def means(self) -> dict[str, Fraction]:
        """By month, the mean temperature."""
        return {
            month: sum(map(Fraction, days), Fraction()) / len(days)
            for month, days in self.days.items()
        }
