"""An entry that this process holds, and what runs with it."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from ._backend import Ack, Entry, Receipt, Release, Settlement
from ._errors import DeliveryFinalized, HandlerTimeout, LeaseLost
from ._exception_groups import is_group
from ._policy import Policy
from ._settled import Settled
from ._settling import Settling

if TYPE_CHECKING:
    from ._entry_id import EntryId
    from ._message import Message
    from ._notifier import Notifier
    from ._outputs import Outputs


class Keeper(Protocol):
    """Whoever keeps the entries of a subscription: what one of them needs of it."""

    def submit(self, holding: Holding, settlement: Settlement, reason: str = "") -> Settling:
        """Hand a settlement over; raise if the holding is not open. Never a checkpoint."""
        ...

    def release_delay(self, holding: Holding) -> float:
        """Say how many seconds an entry waits that is released without a delay of its own."""
        ...

    def failed(self, holding: Holding, failure: Exception) -> None:
        """Tell of a failure, and settle the holding, if it is open, as the policy says."""
        ...

    def succeeded(self, holding: Holding, *others: Holding) -> None:
        """Hear that what ran with these returned, and left them open: they are acked."""
        ...

    def ended(self, holding: Holding) -> None:
        """Hear that what ran with it has ended, and may have left it open."""
        ...


class Lessor(Protocol):
    """Whoever keeps the leases of a subscription: what one entry needs of it."""

    async def renew(self, holding: Holding) -> None:
        """Start its lease anew; raise `LeaseLost` if it is not ours any more."""
        ...

    async def check(self, holding: Holding) -> bool:
        """Say whether it may start; wait for a renewal if its lease is doubtful."""
        ...


@attrs.frozen(eq=False)
class HoldingContext:
    """What the entries of one subscription share."""

    keeper: Keeper
    lessor: Lessor
    policy: Policy
    notifier: Notifier
    handler_timeout: float
    lease: float
    outputs: Outputs


@attrs.define(eq=False)
class Holding:
    """One entry between its delivery to us and the end of our interest in it.

    Invariant: it is *open* until it is settling or lost, and each happens once. ``busy`` while a
    handler (or an ``async with``) runs with it; ``permit`` while it occupies one.
    """

    entry: Entry
    message: Message | None
    """None if it could not be decoded."""
    received: datetime
    context: HoldingContext
    lease_until: float
    """By trio's clock; past it the entry may have another owner."""
    number: int = 0
    """It tells the deliveries of one subscription apart; the first is 1."""
    size: int = 0
    """How many bytes of it we keep."""
    deadline: float = math.inf
    """By trio's clock: when ``handler_timeout`` ends it."""
    busy: bool = False
    permit: bool = True
    given_out: bool = False
    """The user's code has or had it: its lease is lost as soon as it has run out."""
    lost: bool = False
    vanished: bool = False
    """It was deleted or trimmed while it was ours: nobody else can have it, or ever will."""
    leased: bool = False
    """We ended it ourselves: nobody else gets it before it has ended."""
    give_back: bool = False
    """It was lost to nobody in particular: release it when its handler has ended."""
    settling: Settling | None = None
    successor: Holding | None = None
    """A later delivery of the same entry, which starts when this one has ended."""
    predecessor: Holding | None = None
    """The earlier delivery that it waits for."""
    at_risk: bool = False
    """When it came, a settlement of its predecessor was under way that may hit it too."""
    _task: trio.lowlevel.Task | None = None
    """Who runs with it."""
    started: float | None = None
    """By trio's clock."""
    leader: EntryId | None = None
    """The first of those that it is handled together with: what fails may be their fault."""
    expired: bool = False
    """Its ``expires_at`` was over before it could start."""
    told: bool = False
    """The observer has heard how this delivery ended."""
    transacting: bool = False
    """A transaction of it is open."""
    _home: trio.Nursery | None = None
    """Where the task that runs with it is the only one."""
    _around: tuple[trio.Nursery, ...] = ()
    """The nurseries that this task was in before."""
    _scope: trio.CancelScope | None = None
    _renewed: trio.Event | None = None
    """Set when its lease is not in doubt any more; None if nobody waits for that."""

    @property
    def receipt(self) -> Receipt:
        """What proves that it is ours."""
        return self.entry.receipt

    @property
    def place(self) -> tuple[EntryId, int]:
        """Which delivery this is, for the observer."""
        return self.entry.id, self.entry.attempt

    @property
    def open(self) -> bool:
        """Whether it still wants a settlement."""
        return self.settling is None and not self.lost

    @property
    def settlement(self) -> Settlement | None:
        """How it ends, once it is settling."""
        return None if self.settling is None else self.settling.settlement

    @property
    def done(self) -> bool:
        """Whether a settlement of it took effect."""
        outcome = None if self.settling is None else self.settling.outcome
        return outcome is Settled.DONE or outcome is Settled.GONE

    @property
    def is_doubtful(self) -> bool:
        """Whether a renewal has to say first that it is still ours, before it may start."""
        return self.is_doubtful_at(trio.current_time())

    def is_doubtful_at(self, time: float) -> bool:
        """Say the same of that time."""
        return time >= self.safe_until and self.open and not self.vanished

    @property
    def safe_until(self) -> float:
        """Until when nobody else can have it, even if clocks differ: half of its lease."""
        return self.lease_until - self.context.lease / 2

    def ack(self) -> Ack:
        """Return the word that finishes it."""
        return Ack(self.receipt, self.safe_until)

    @property
    def is_waiting(self) -> bool:
        """Whether somebody waits for a renewal of it."""
        return self._renewed is not None

    def is_unclaimed_at(self, time: float) -> bool:
        """Say whether nobody else had it then: our lease held, or there was nothing to have."""
        return self.vanished or time < self.lease_until

    @property
    def is_over(self) -> bool:
        """Whether its lease is no concern of ours any more."""
        return self.lost and not self.leased

    def check_open(self) -> None:
        """Raise `LeaseLost` or `DeliveryFinalized` unless it is open."""
        if self.lost:
            raise LeaseLost(f"entry {self.entry.id} is no longer ours")
        if self.settling is not None:
            raise DeliveryFinalized(f"entry {self.entry.id} was settled before")

    async def wait_renewed(self) -> None:
        """Wait until its lease is renewed, or over."""
        if self._renewed is None:
            self._renewed = trio.Event()
        await self._renewed.wait()

    def renewed(self, lease_until: float) -> None:
        """Note that it is ours until then."""
        self.lease_until = lease_until
        self.wake()

    def vanish(self) -> None:
        """Note that there is nothing any more that could be lost to another owner."""
        self.vanished = True
        self.wake()

    def encloses(self, task: trio.lowlevel.Task | None) -> bool:
        """Whether its end waits for that of *task*: it runs with it, or was started inside."""
        nursery: trio.Nursery | None = None
        while task is not None and task is not self._task:
            nursery = task.parent_nursery
            if nursery is not None and nursery is self._home:
                return True
            task = nursery and nursery.parent_task
        return task is not None and nursery not in self._around

    def lose(self) -> None:
        """End what runs with it: the lease is gone."""
        self.lost = True
        self.wake()
        if self._scope is not None:
            self._scope.cancel("the lease was lost")

    @trio.lowlevel.enable_ki_protection
    def begin(self) -> None:
        """Enter the scope that losing the lease and ``handler_timeout`` cancel."""
        self.check_idle()
        now = trio.current_time()
        scope = trio.CancelScope(deadline=now + self.context.handler_timeout)
        task = trio.lowlevel.current_task()
        self.join(scope, now, task)
        scope.__enter__()
        if self.lost:
            scope.cancel("the lease was lost")

    def forgo(self) -> None:
        """Give it back: a block of it could not be entered. Not from under one that was."""
        if self._scope is None and self.open:
            self.context.keeper.submit(self, Release(self.receipt))

    def check_idle(self) -> None:
        """Raise `trio.BusyResourceError` where something runs with it."""
        if self._scope is not None:
            raise trio.BusyResourceError(
                "this delivery is being handled: a handler, or a task in 'async with', is inside"
            )

    def join(
        self,
        scope: trio.CancelScope,
        now: float,
        task: trio.lowlevel.Task,
        *others: Holding,
    ) -> None:
        """Run with *task*, together with *others*, in a scope that losing the lease cancels."""
        around, deadline = tuple(task.child_nurseries), scope.deadline
        leader = self.entry.id if others else None
        for holding in (self, *others):
            holding.busy = holding.given_out = True
            holding._task, holding._around = task, around  # noqa: SLF001 - it is one of us
            holding.started = now
            holding.deadline = deadline
            holding._scope = scope  # noqa: SLF001 - it is one of us
            holding.leader = leader

    def run_in(self, home: trio.Nursery, scope: trio.CancelScope) -> None:
        """Run with the only task in *home*, whose *scope* losing the lease cancels."""
        self.busy = self.given_out = True
        self._home, self._scope = home, scope

    def wake(self) -> None:
        """Let go on who waits for a renewal."""
        if self._renewed is not None:
            self._renewed.set()
            self._renewed = None

    @trio.lowlevel.enable_ki_protection
    def conclude(self, error: BaseException | None, *, ack: bool) -> BaseException | None:
        """Leave the scope, settle as *error* demands; return what has to be raised."""
        return self.settle_after(self._leave(error), ack=ack)

    @trio.lowlevel.enable_ki_protection
    def settle_after(self, error: BaseException | None, *, ack: bool) -> BaseException | None:
        """Settle as *error* demands, which the scope has let through; return what is raised."""
        failure, onward = sort(error)
        self.end(failure, release=onward is not None, ack=ack)
        return onward

    def conclude_cancelled(self, error: BaseException, *, ack: bool) -> BaseException | None:
        """Do what `conclude` does where the scope it ran in was cancelled, and is closed already.

        A scope that is cancelled from the start takes out of *error* what that one would have.
        """
        scope = self._scope = trio.CancelScope()
        scope.cancel("it was cancelled before")
        scope.__enter__()
        return self.conclude(error, ack=ack)

    @trio.lowlevel.enable_ki_protection
    def end(self, failure: Exception | None, *, release: bool, ack: bool) -> None:
        """Say that what ran with it has ended, and how; settle it if it is open."""
        try:
            if failure is not None:
                self.context.keeper.failed(self, failure)
            elif release:
                self._submit_if_open(Release(self.receipt))
            elif ack:
                self._submit_if_open(self.ack())
        finally:
            self.part()
            self.context.keeper.ended(self)

    def part(self) -> None:
        """Let go of what ran with it."""
        self._task, self._around, self._scope, self._home = None, (), None, None

    def part_with_ack(self, now: float, *others: Holding) -> list[Settling]:
        """Let go of what ran with it and *others*, and of their permits: they settle since *now*.

        In one step without a call for each: every message pays for it.
        """
        settlings: list[Settling] = []
        for holding in (self, *others):
            holding.busy = holding.permit = False
            holding._scope = holding._home = holding._task = None  # noqa: SLF001 - it is one of us
            holding._around = ()  # noqa: SLF001 - as above
            entry = holding.entry
            receipt = Receipt(entry.id, entry.attempt, entry.delivery, entry.suspect)
            ack = Ack(receipt, holding.lease_until - holding.context.lease / 2)
            settling = holding.settling = Settling(ack, holding, since=now)
            settlings.append(settling)
        return settlings

    def _leave(self, error: BaseException | None) -> BaseException | None:
        """Return what is left of *error* when our own cancellation is taken out."""
        scope, self._scope = self._scope, None
        assert scope is not None, "left before it was entered"
        rest = leave(scope, error)
        if rest is None and scope.cancelled_caught and not self.lost:
            return HandlerTimeout(f"not done after {self.context.handler_timeout} s")
        return rest

    def _submit_if_open(self, settlement: Ack | Release) -> None:
        if self.open:
            self.context.keeper.submit(self, settlement)


def leave(scope: trio.CancelScope, error: BaseException | None) -> BaseException | None:
    """Leave *scope* as ``with`` does, and return what it lets through instead of raising it."""
    if error is None:
        scope.__exit__(None, None, None)
        return None
    try:
        swallowed = scope.__exit__(type(error), error, error.__traceback__)
    except BaseException as rest:  # noqa: BLE001 - the caller decides what is raised
        return rest
    return None if swallowed else error


def sort(error: BaseException | None) -> tuple[Exception | None, BaseException | None]:
    """Split what a handler raised into a failure to settle and what has to go on.

    A group that holds both counts as a failure, and its cancelled part goes on.
    """
    if error is None or isinstance(error, Exception):
        return error, None
    if not is_group(error):
        return None, error
    cancelled, rest = error.split(trio.Cancelled)
    if rest is not None and isinstance(rest, Exception):
        return rest, cancelled
    return None, error
