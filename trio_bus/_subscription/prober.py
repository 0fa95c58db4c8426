"""The task that finds out when an outage is over."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from trio_bus._backend import Entry, TakeOver
from trio_bus._errors import BusError, GroupMissing
from trio_bus._observer import Scope, Transition

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

    Each probe is another entry: a new one if there is any, else the one that waits for longest.
    """

    def __init__(
        self, core: Core, consumer: Consumer, group: Group, tell: Callable[[TakeOver], None]
    ) -> None:
        self._core = core
        self._consumer = consumer
        self._group = group
        self._tell = tell
        self._outage = core.outage
        self._outage.began, self._outage.ended = self._begin, self._end

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Probe until cancelled."""
        lasts = self._outage.lasts
        while True:
            await lasts.wait_value(bool)
            tries = 1
            while lasts.value:
                self._outage.wait = self._core.pause.seconds(tries)
                with trio.move_on_after(self._outage.wait):
                    await lasts.wait_value(operator.not_)
                tries += await self._probe()

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
        probe: EntryId | None = None
        try:
            with self._core.valve.ending():
                probe = await self._take(taken)
        except BusError as error:
            self._core.report(Scope.READ, error)
            await self._core.pause(1)
            if isinstance(error, GroupMissing):
                await self._group.recreate()
        if probe is not None:
            await self._core.held.wait_value(lambda _: not self._core.holds(probe))
        return probe is not None

    async def _take(self, taken: int) -> EntryId | None:
        """Read an entry, or take one over; use the permit or give it back."""
        entries: tuple[Entry, ...] = ()
        sent, how = trio.current_time(), Transition.RECEIVED
        result = TakeOver()
        try:
            if self._outage.lasts.value:
                entries = tuple(await self._core.member.read(taken, GLANCE))
            if self._outage.lasts.value and not entries:
                sent, how = trio.current_time(), Transition.TAKEN_OVER
                result = await self._core.member.take_over(taken)
                entries = result.entries
        finally:
            self._core.permits.give_back(taken - len(entries))
            self._core.receive(entries, sent, how)
        self._tell(result)
        return entries[0].id if entries else None
