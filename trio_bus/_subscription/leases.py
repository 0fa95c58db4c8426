"""The task that keeps what is held ours."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from trio_bus._errors import BusError, ConnectionLost
from trio_bus._observer import Scope

if TYPE_CHECKING:
    from trio_bus._holding import Holding

    from .core import Core

RENEWALS_PER_LEASE = 3
"""One may fail and one may be late before a lease runs out."""


class Leases:
    """Renews all leases in one call, and ends the handlers of those that are lost.

    A lease runs from when its renewal was *sent*; one that has run out by our clock is lost.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._interval = core.lease / RENEWALS_PER_LEASE
        self._errors = 0

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Renew until cancelled."""
        renew_at = trio.current_time() + self._interval
        while True:
            await self._sleep_until(renew_at)
            self._end_overdue()
            if trio.current_time() >= renew_at:
                await self._renew_or_report()
                self._lose_expired()
                renew_at = trio.current_time() + self._pause()

    async def _sleep_until(self, renew_at: float) -> None:
        """Sleep until then, or until a deadline that no handler watches any more."""
        left_open = self._core.left_open
        seen = left_open.value
        deadline = min((holding.deadline for holding in self._unwatched()), default=renew_at)
        with trio.CancelScope(deadline=min(renew_at, deadline)):
            await left_open.wait_value(lambda count: count != seen)

    def _pause(self) -> float:
        if not self._errors:
            return self._interval
        return min(self._interval, self._core.pause.seconds(self._errors))

    async def _renew_or_report(self) -> None:
        holdings = self._core.leased_holdings()
        # No longer than the first lease lasts: whoever is lost then has to be ended then.
        ends = [holding.lease_until for holding in holdings if holding.open]
        try:
            with trio.CancelScope(deadline=min(ends, default=math.inf)) as patience:
                await self._renew(holdings)
            if patience.cancelled_caught:
                raise ConnectionLost("a renewal was not answered before the lease ran out")
            self._errors = 0
        except BusError as error:
            self._errors += 1
            self._core.report(Scope.RENEW, error)

    async def _renew(self, holdings: list[Holding]) -> None:
        if not holdings:
            return
        sent = trio.current_time()
        over = await self._core.member.renew([holding.receipt for holding in holdings])
        for holding in holdings:
            self._core.renewed(holding, sent, over.get(holding.entry.id))

    def _lose_expired(self) -> None:
        now = trio.current_time()
        for holding in self._core.open_holdings():
            if holding.lease_until <= now and not holding.vanished:
                self._core.lose_by_clock(holding)

    def _unwatched(self) -> list[Holding]:
        """Return what a handler left open: the scope that watched its deadline is gone."""
        return [holding for holding in self._core.open_holdings() if not holding.busy]

    def _end_overdue(self) -> None:
        now = trio.current_time()
        for holding in self._unwatched():
            if holding.deadline <= now:
                self._core.time_out(holding)
