"""The task that finds out when an outage is over."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from trio_bus._backend import Entry, TakeOver
from trio_bus._errors import BusError, GroupMissing
from trio_bus._observer import Scope, Transition

from .turn import Turn
from .valve import Reason

if TYPE_CHECKING:
    from trio_bus._entry_id import EntryId

    from .consumer import Consumer
    from .core import Core
    from .group import Group

GLANCE = 0.02
"""Seconds that a probe waits for a new entry, before it takes one that was handed back."""


class Prober:
    """While an outage lasts, takes in one entry at a time, and waits longer after each.

    Each probe is another entry: a new one if there is any, else the one that waits for longest, and
    then a suspect, where there is one and nothing else is held. Where there is nothing the next
    probe is a tick later at least.
    """

    def __init__(
        self,
        core: Core,
        consumer: Consumer,
        group: Group,
        start: Callable[[int], Awaitable[EntryId | None]] | None = None,
    ) -> None:
        self._core = core
        self._consumer = consumer
        self._group = group
        self._turn = Turn(core, consumer)
        self._errors = 0
        self._start = start
        self._outage = core.outage
        self._outage.began, self._outage.ended = self._begin, self._end

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Probe until cancelled."""
        lasts = self._outage.lasts
        while True:
            await lasts.wait_value(bool)
            tries, least = 1, 0.0
            while lasts.value:
                self._outage.wait = self._core.pause.seconds(tries)
                with trio.move_on_after(max(self._outage.wait, least)):
                    await lasts.wait_value(operator.not_)
                found = await self._probe()
                tries, least = tries + found, 0.0 if found else self._core.config.reclaim_interval

    def _begin(self, failed: int) -> None:
        self._outage.wait = self._core.pause.seconds(1)
        self._core.valve.shut(Reason.OUTAGE)
        self._core.hand_back_unstarted(self._outage.delay)
        self._core.notifier.transition(
            Transition.OUTAGE_BEGAN, reason=f"{failed} entries failed in a row"
        )

    def _end(self) -> None:
        self._core.valve.open(Reason.OUTAGE)
        self._core.notifier.transition(Transition.OUTAGE_ENDED)

    async def _probe(self) -> bool:
        """Take in one entry, and wait for what becomes of it; say whether there was one."""
        await self._consumer.wait_out()
        taken = await self._core.permits.take(1, despite=Reason.OUTAGE)
        probe = suspect = None
        try:
            with self._core.valve.ending():
                probe, suspect = await self._take(taken)
            if probe is not None:
                await self._core.held.wait_value(lambda _: probe not in self._core.succession)
            if suspect is not None:
                await self._give_turn(suspect)
            self._errors = 0
        except BusError as error:
            self._errors += 1
            self._core.report(Scope.READ, error)
            await self._core.pause(self._errors)
            if isinstance(error, GroupMissing):
                await self._group.recreate()
        return probe is not None or suspect is not None

    async def _take(self, taken: int) -> tuple[EntryId | None, EntryId | None]:
        """Read an entry, or take one over, or book a suspect; use the permit or give it back."""
        if self._start is not None:  # where an order is kept: it starts suspects too
            return await self._start(taken), None
        entries: tuple[Entry, ...] = ()
        sent, how, result = trio.current_time(), Transition.RECEIVED, TakeOver()
        try:
            if self._outage.lasts.value:
                entries = tuple(await self._core.member.read(taken, GLANCE))
            if self._outage.lasts.value and not entries:
                sent, how = trio.current_time(), Transition.TAKEN_OVER
                result = await self._core.member.take_over(taken, book=self._may_book())
                entries = result.entries
        finally:
            self._core.permits.give_back(taken - len(entries))
            self._core.receive(entries, sent, how)
        self._core.history.claimed(result)
        return (entries[0].id if entries else None), result.booked

    async def _give_turn(self, suspect: EntryId) -> None:
        """Run it alone. The outage lasts: nothing else was held, so that nothing has succeeded."""
        with self._core.valve.ending(lambda: self._turn.runs):
            await self._turn.give(suspect)

    def _may_book(self) -> bool:
        """Say whether a suspect would run at once: others can be tried until then, and after."""
        return self._turn.is_wanted and not self._core.holdings
