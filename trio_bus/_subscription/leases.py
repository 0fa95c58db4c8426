"""The task that keeps what is held ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_bus._errors import BusError, ConnectionLost, LeaseLost
from trio_bus._observer import Scope
from trio_bus._settled import Settled

from .consumer import READS_PER_LEASE

if TYPE_CHECKING:
    from trio_bus._holding import Holding

    from .core import Core

RENEWALS_PER_LEASE = 3
"""One may fail and one may be late before a lease runs out."""


class Leases:
    """Renews all leases in one call, and ends the handlers of those that are lost.

    A lease runs from when its read or its renewal was *sent*; one that has run out by our clock is
    lost. If it ran out while this process stood still, we ask first: nobody may have noticed. What
    has not started waits for that answer, see `check`.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._interval = core.lease / RENEWALS_PER_LEASE
        self._grace = core.lease / READS_PER_LEASE
        self._errors = 0

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Renew until cancelled."""
        renew_at = trio.current_time() + self._interval
        while True:
            await self._sleep_until(renew_at)
            self._end_overdue()
            if trio.current_time() >= renew_at or self._is_hurried():
                await self._renew_all()
                renew_at = self._next()

    def _is_hurried(self) -> bool:
        """Say whether somebody waits for a renewal; while they fail, it waits for the next try."""
        return not self._errors and any(it.is_waiting for it in self._core.leased_holdings())

    async def renew(self, holding: Holding) -> None:
        """Start the lease of one entry anew, because its handler asks.

        Raises:
          DeliveryFinalized: it was settled before.
          LeaseLost: it is no longer ours.
        """
        holding.check_open()
        sent = trio.current_time()
        over = await self._core.member.renew([holding.receipt])
        self._renewed(holding, sent, over.get(holding.entry.id))
        if holding.lost:
            raise LeaseLost(f"entry {holding.entry.id} is no longer ours")

    async def check(self, holding: Holding) -> bool:
        """Say whether it may start; unless its lease is doubtful, this is no checkpoint.

        It is doubtful when more than half of it has passed since it was asked for. Then the next
        renewal says whether it is still ours.
        """
        while holding.is_doubtful:
            self._core.stirred.value += 1
            await holding.wait_renewed()
            if trio.current_time() < holding.lease_until:
                break
        return holding.open

    @trio.lowlevel.enable_ki_protection
    def _renewed(self, holding: Holding, sent: float, over: Settled | None) -> None:
        """Note the answer to a renewal that was sent then: None, or why the lease is over.

        Where a settlement is under way, it may be the reason; its own answer tells.
        """
        if over is None:
            holding.renewed(sent + self._core.lease)
        elif over is Settled.GONE:
            self._core.vanish(holding)
        elif not holding.open:
            return
        elif over is Settled.ABSENT and holding.is_unclaimed_at(sent):
            self._core.vanish(holding)
        else:
            self._core.lose(holding)

    async def _sleep_until(self, renew_at: float) -> None:
        """Sleep until then, or until a deadline that no handler watches any more."""
        if self._is_hurried():
            return
        stirred = self._core.stirred
        seen = stirred.value
        deadline = min((holding.deadline for holding in self._unwatched()), default=renew_at)
        with trio.CancelScope(deadline=min(renew_at, deadline)):
            await stirred.wait_value(lambda count: count != seen)

    def _next(self) -> float:
        """Say when to renew next; while that fails, not later than the next lease ends."""
        now, pause = trio.current_time(), self._interval
        if self._errors:
            ends = [it.lease_until - now for it in self._core.open_holdings() if it.given_out]
            pause = min(
                pause, self._core.pause.seconds(self._errors), *(it for it in ends if it > 0)
            )
        return min(now + pause, self._ask_until) if now < self._ask_until else now + pause

    async def _renew_all(self) -> None:
        self._lose_expired()
        holdings = self._core.leased_holdings()
        try:
            if await self._renew_in_time(holdings):  # the answer, if any, is as old as the gap
                await self._renew_in_time(holdings)
            self._errors = 0
        except BusError as error:
            self._errors += 1
            self._core.report(Scope.RENEW, error)
            self._give_up(holdings)
        self._lose_expired()

    async def _renew_in_time(self, holdings: list[Holding]) -> bool:
        """Renew; say whether this process stood still meanwhile.

        Raises:
          ConnectionLost: there was no answer before the first lease had run out.
        """
        began = trio.current_time()
        with trio.CancelScope(deadline=self._patience(holdings)) as patience:
            await self._renew(holdings)
        stood_still = self._core.pulse.gap_ended > began
        if patience.cancelled_caught and not stood_still:
            raise ConnectionLost("a renewal was not answered before the lease ran out")
        return stood_still

    async def _renew(self, holdings: list[Holding]) -> None:
        if not holdings:
            return
        sent = trio.current_time()
        over = await self._core.member.renew([holding.receipt for holding in holdings])
        for holding in holdings:
            self._renewed(holding, sent, over.get(holding.entry.id))

    def _patience(self, holdings: list[Holding]) -> float:
        """Say until when an answer is waited for: whoever is lost then has to be ended then.

        What is received meanwhile lasts longer than that.
        """
        ends = [it.lease_until for it in holdings if it.open and it.given_out and not it.vanished]
        earliest = trio.current_time() + self._core.lease - self._grace
        return min([earliest, *(max(end, self._ask_until) for end in ends)])

    @property
    def _ask_until(self) -> float:
        """Until when a lease may be renewed that ran out while this process stood still."""
        return self._core.pulse.gap_ended + self._grace

    def _lose_expired(self) -> None:
        """Lose what the user's code has and nobody has been able to renew in time."""
        self._give_up([it for it in self._core.open_holdings() if it.given_out])

    def _give_up(self, holdings: list[Holding]) -> None:
        """Lose those of them whose lease has run out, unless we may still ask."""
        now = trio.current_time()
        if now < self._ask_until:
            return
        for holding in holdings:
            if holding.open and not holding.vanished and holding.lease_until <= now:
                self._core.lose_by_clock(holding)

    def _unwatched(self) -> list[Holding]:
        """Return what a handler left open: the scope that watched its deadline is gone."""
        return [holding for holding in self._core.open_holdings() if not holding.busy]

    def _end_overdue(self) -> None:
        now = trio.current_time()
        for holding in self._unwatched():
            if holding.deadline <= now:
                self._core.time_out(holding)
