"""How a suspect runs: alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from trio_bus._errors import BusError
from trio_bus._observer import Scope, Transition

from .valve import Reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_bus._backend import TakeOver
    from trio_bus._entry_id import EntryId

    from .core import Core

CHECKS_PER_LEASE = 3
"""How often a booking is kept, and somebody who waits looks whether anything runs at all."""

LONGEST_GOODBYE = 1.0
"""Seconds that whoever leaves spends on a booking at most; it ends with its lease anyway."""


class Intake(Protocol):
    """Whoever reads what is new."""

    async def pause(self) -> None:
        """Begin no read until `go_on`; return when the one under way has ended."""
        ...

    def go_on(self) -> None:
        """Take back one `pause`."""
        ...


class Turn:
    """Gives suspects their turn: one at a time, while nothing else of the subscription is held.

    What is held when its process dies is counted, whether it had started or not. So the suspect
    itself is not held until its turn has come: it is booked, which keeps the other consumers from
    waiting for it too, and counts nothing.

    A wait is bounded by what runs. Where nothing runs for a lease, because deliveries are left open
    for something that does not come while nothing is read, the turn is over, and for another lease
    no other suspect is booked.
    """

    def __init__(
        self,
        core: Core,
        consumer: Intake,
        take: Callable[[EntryId], Awaitable[TakeOver]] | None = None,
    ) -> None:
        self._core = core
        self._take = core.member.take_booked if take is None else take
        self._consumer = consumer
        self._booked: EntryId | None = None
        self.runs: bool = False
        """Whether a suspect may be at work, beside which nothing starts."""
        self._not_before = -math.inf

    @property
    def is_wanted(self) -> bool:
        """Whether to book a suspect, if there is one."""
        return trio.current_time() >= self._not_before

    async def give(self, suspect: EntryId) -> None:
        """Run this suspect, which is booked, and return when it is settled; or give it up.

        Nothing is read meanwhile, and the caller claims nothing.
        """
        self._booked = suspect
        try:
            await self._consumer.pause()
            self._core.recall()
            if await self._nothing_is_held():
                await self._run(suspect)
        finally:
            self._consumer.go_on()
            await self._give_up()

    async def _run(self, suspect: EntryId) -> None:
        """Run it while it has, or keeps from the others, all permits."""
        permits, used = self._core.permits, 0
        taken = await permits.take(self._core.config.max_in_flight, despite=Reason.OUTAGE)
        try:
            sent, self.runs = trio.current_time(), True
            result = await self._take(suspect)
            self._booked, used = None, len(result.entries)
            self._core.receive(result.entries, sent, Transition.TAKEN_OVER)
            self._core.history.claimed(result)
            if not await self._nothing_is_held():
                self._core.recall()  # nobody has received it: later it would not be alone
        finally:
            self.runs = False
            permits.give_back(taken - used)

    async def _nothing_is_held(self) -> bool:
        """Wait until it is so, and keep the booking; False if it is no use to wait."""
        at_rest = 0
        while at_rest < CHECKS_PER_LEASE:
            with trio.move_on_after(self._core.lease / CHECKS_PER_LEASE):
                await self._core.held.wait_value(0)
                return True
            runs = any(holding.busy for holding in self._core.holdings)
            at_rest = 0 if runs else at_rest + 1
            if self._booked and not await self._core.member.keep_booking(self._booked):
                return False
        self._not_before = trio.current_time() + self._core.lease
        return False

    async def _give_up(self) -> None:
        """Leave it to anybody. Where the server cannot be asked, its booking ends with a lease."""
        if self._booked is None:
            return
        with trio.move_on_after(LONGEST_GOODBYE, shield=True):
            try:
                await self._core.member.give_up_booking(self._booked)
            except BusError as error:
                self._core.report(Scope.RELEASE, error)
        self._booked = None
