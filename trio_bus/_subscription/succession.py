"""Deliveries of one entry that overlap: each waits for the end of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from trio_bus._backend import Ack

if TYPE_CHECKING:
    from trio_bus._entry_id import EntryId
    from trio_bus._holding import Holding


class Succession:
    """The latest delivery of each entry that is held, and what waits for an earlier one.

    They overlap when a lease was lost and the handler has not noticed yet, or when the group was
    deleted and begins anew.

    Args:
      lose: Ends a delivery that was succeeded.
      start: Starts one whose predecessor has ended.
      hand_back: Releases one instead that may have been settled with it.
    """

    def __init__(
        self,
        lose: Callable[[Holding], None],
        start: Callable[[list[Holding]], None],
        hand_back: Callable[[Holding], None],
    ) -> None:
        self._lose = lose
        self._start = start
        self._hand_back = hand_back
        self._latest: dict[EntryId, Holding] = {}

    def __contains__(self, entry_id: EntryId) -> bool:
        return entry_id in self._latest

    def latest(self) -> Iterable[Holding]:
        """Return the latest delivery of each entry."""
        return self._latest.values()

    def add(self, holdings: Iterable[Holding]) -> list[Holding]:
        """Note these; return those that wait for nobody."""
        latest = self._latest.setdefault
        return [it for it in holdings if latest(it.entry.id, it) is it or self._is_free(it)]

    def _is_free(self, holding: Holding) -> bool:
        """Say no: an earlier delivery of the entry is under way. End it."""
        earlier = self._latest[holding.entry.id]
        self._latest[holding.entry.id] = holding
        running = earlier.predecessor or earlier
        holding.predecessor, running.successor = running, holding
        under_way = running.settling is not None and not running.settling.over
        shared = running.receipt == holding.receipt or isinstance(running.settlement, Ack)
        holding.at_risk = under_way and shared
        self._lose(earlier)
        return False

    def drop(self, holdings: Iterable[Holding]) -> None:
        """Forget these, and start what waited for their end."""
        waited: list[tuple[Holding, Holding]] = []
        for holding in holdings:
            entry_id, successor = holding.entry.id, holding.successor
            latest = self._latest.pop(entry_id)
            if latest is not holding:
                self._latest[entry_id] = latest
            elif holding.predecessor is not None:
                self._forget(holding, holding.predecessor)
            if successor is not None:  # which may be one of these
                holding.successor = successor.predecessor = None
                waited.append((holding, successor))
        for holding, successor in waited:
            if successor.open:
                self._go_on(holding, successor)

    def _forget(self, holding: Holding, running: Holding) -> None:
        """Let the delivery that it waited for, and that still runs, be the latest again."""
        self._latest[holding.entry.id] = running
        running.successor = None

    def _go_on(self, holding: Holding, successor: Holding) -> None:
        if successor.at_risk and holding.done:
            # What was under way may have settled this one.
            self._hand_back(successor)
        else:
            self._start([successor])
