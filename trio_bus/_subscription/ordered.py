"""The task that takes entries in where each key has an order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from trio_bus._errors import BusError, GroupMissing
from trio_bus._observer import Scope, Transition

from .drawer import Drawer
from .leases import RENEWALS_PER_LEASE
from .respite import Respite
from .starter import Starter
from .term import Term
from .turn import LONGEST_GOODBYE
from .valve import Reason

if TYPE_CHECKING:
    from trio_bus._entry_id import EntryId
    from trio_bus._holding import Holding
    from trio_bus._look import Look

    from .core import Core
    from .group import Group


@attrs.frozen
class _Shift:
    """Who works in one term."""

    term: Term
    drawer: Drawer
    starter: Starter


class Ordered:
    """Waits until it is active, and then starts of each key one entry after another.

    Whoever becomes active looks first at all that is pending in the group, whoever has it, in id
    order; only then does it read. So its lines hold all that is pending up to the last entry that
    was read, and the head of a line is the first of its key that is not finished. The server judges
    each start: what somebody else still has, or what waits for its time, is asked for again then.

    Everything that changes the group is fenced by the token. An error whose outcome nobody knows
    ends the term: the next one has a new token, so that what is still on its way has no effect, and
    a survey, which finds what it did. Who is paused leaves the lead to somebody else.

    Invariant: ``_shift`` is None unless a term is under way.
    """

    def __init__(self, core: Core, group: Group) -> None:
        self._core = core
        self._group = group
        self._shift: _Shift | None = None
        self._may_lead = False
        self._looked = trio.Event()
        self._respite = Respite(core.pulse, core.config.reclaim_interval)
        core.on_dropped = self._dropped

    @property
    def is_active(self) -> bool:
        """Whether this consumer takes entries in."""
        return self._shift is not None

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Take in until cancelled, whenever we are active."""
        errors = 0
        try:
            while True:
                try:
                    await self._serve(await self._become_active())
                    errors = 0
                except BusError as error:
                    errors += 1
                    self._core.report(Scope.CLAIM, error)
                    await self._core.pause(errors)
                    if isinstance(error, GroupMissing):
                        await self._group.recreate()
                if self._core.valve.is_shut_for(Reason.USER):
                    await self._give_up()
        finally:
            await self._give_up()

    def looked(self, look: Look) -> None:
        """Hear of a look: who stands by tries to become active, who is active asks again."""
        self._looked.set()
        self._looked = trio.Event()
        if self._shift is not None:
            self._shift.term.lines.hurry(trio.current_time())
            if look.claimable:
                self._shift.drawer.survey_soon()
            self._shift.term.ring()

    def woken(self) -> None:
        """Hear of a wake-up: see `Drawer.woken`."""
        if self._shift is not None:
            self._shift.drawer.woken()

    async def probe(self, taken: int) -> EntryId | None:
        """In an outage, start one entry, or give the permit back; see `Starter.probe`."""
        if self._shift is None:
            self._core.permits.give_back(taken)
            return None
        return await self._shift.starter.probe(taken)

    async def _become_active(self) -> Term:
        while True:
            await self._core.valve.wait_without(Reason.USER)
            left, looked = self._respite.left(), self._looked
            if left > 0:
                await trio.sleep(left)
                continue
            self._may_lead = True
            token = await self._core.member.lead(None)
            if token is not None:
                return Term(token)
            self._may_lead = False
            await looked.wait()

    async def _serve(self, term: Term) -> None:
        """Be active until somebody else is, we are paused, or something failed.

        Raises:
          BusError: what failed.
        """
        starter = Starter(self._core, term, self._respite)
        self._shift = _Shift(term, Drawer(self._core, term), starter)
        self._begin(term)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._guarded, partial(self._keep, term), term)
                nursery.start_soon(self._guarded, partial(self._watch_pauses, term), term)
                nursery.start_soon(self._guarded, self._shift.drawer.run, term)
                nursery.start_soon(self._guarded, starter.run, term)
        finally:
            self._shift = None
            self._core.notifier.transition(Transition.STANDBY)
        if term.failure is not None:
            raise term.failure

    def _begin(self, term: Term) -> None:
        """Begin with what runs here since earlier terms."""
        self._core.notifier.transition(Transition.ACTIVE)
        for holding in self._core.holdings:
            key = None if holding.message is None else holding.message.key or None
            term.lines.add(holding.entry.id, key)
            term.lines.run(holding.entry.id)

    async def _guarded(self, task: Callable[[], Awaitable[None]], term: Term) -> None:
        """Run a task of the term, which is over with it."""
        failure: BusError | None = None
        try:
            await task()
        except BusError as error:
            failure = error
        term.end(failure)

    async def _keep(self, term: Term) -> None:
        """Stay active; return when somebody else is."""
        kept: int | None = term.token
        with term.ending():
            while kept is not None:
                await trio.sleep(self._core.lease / RENEWALS_PER_LEASE)
                try:
                    kept = await self._core.member.lead(term.token)
                except GroupMissing:
                    raise
                except BusError as error:
                    self._core.report(Scope.RENEW, error)

    async def _watch_pauses(self, term: Term) -> None:
        """Return when the program pauses us."""
        valve = self._core.valve
        with term.ending(), valve.ending(lambda: not valve.is_shut_for(Reason.USER)):
            if not valve.is_shut_for(Reason.USER):
                await trio.sleep_forever()

    def _dropped(self, holding: Holding) -> None:
        if self._shift is not None:
            self._shift.starter.dropped(holding)

    async def _give_up(self) -> None:
        """Let somebody else be active; where the server cannot be told, the lease ends."""
        if not self._may_lead:
            return
        with trio.move_on_after(LONGEST_GOODBYE, shield=True):
            try:
                await self._core.member.give_up_lead()
                self._may_lead = False
            except BusError as error:
                self._core.report(Scope.RELEASE, error)
