"""An entry that this process holds, and what runs with it."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from ._backend import Ack, Entry, Receipt, Release, Settled, Settlement
from ._errors import DeliveryFinalized, HandlerTimeout, LeaseLost
from ._exception_groups import is_group
from ._observer import Scope, Transition
from ._policy import Policy, shown

if TYPE_CHECKING:
    from ._entry_id import EntryId
    from ._message import Message
    from ._notifier import Notifier
    from ._settling import Settling


class Keeper(Protocol):
    """Whoever keeps the entries of a subscription: what one of them needs of it."""

    def submit(self, holding: Holding, settlement: Settlement, reason: str = "") -> Settling:
        """Hand a settlement over; raise if the holding is not open. Never a checkpoint."""
        ...

    def release_delay(self, holding: Holding) -> float:
        """Say how many seconds an entry waits that is released without a delay of its own."""
        ...

    def ended(self, holding: Holding) -> None:
        """Hear that nothing runs with it any more."""
        ...

    async def renew(self, holding: Holding) -> None:
        """Start its lease anew; raise `LeaseLost` if it is not ours any more."""
        ...


@attrs.frozen(eq=False)
class HoldingContext:
    """What the entries of one subscription share."""

    keeper: Keeper
    policy: Policy
    notifier: Notifier
    handler_timeout: float


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
    deadline: float = math.inf
    """By trio's clock: when ``handler_timeout`` ends it."""
    busy: bool = False
    permit: bool = True
    lost: bool = False
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
    _around: tuple[trio.Nursery, ...] = ()
    """The nurseries that this task was in before."""
    _scope: trio.CancelScope | None = None

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
    def done(self) -> bool:
        """Whether a settlement of it took effect."""
        return self.settling is not None and self.settling.outcome in {Settled.DONE, Settled.GONE}

    def check_open(self) -> None:
        """Raise `LeaseLost` or `DeliveryFinalized` unless it is open."""
        if self.lost:
            raise LeaseLost(f"entry {self.entry.id} is no longer ours")
        if self.settling is not None:
            raise DeliveryFinalized(f"entry {self.entry.id} was settled before")

    def encloses(self, task: trio.lowlevel.Task | None) -> bool:
        """Whether its end waits for that of *task*: it runs with it, or was started inside."""
        nursery: trio.Nursery | None = None
        while task is not None and task is not self._task:
            nursery = task.parent_nursery
            task = nursery and nursery.parent_task
        return task is not None and nursery not in self._around

    def lose(self) -> None:
        """End what runs with it: the lease is gone."""
        self.lost = True
        if self._scope is not None:
            self._scope.cancel("the lease was lost")

    @trio.lowlevel.enable_ki_protection
    def begin(self) -> None:
        """Enter the scope that losing the lease and ``handler_timeout`` cancel."""
        if self._scope is not None:
            raise trio.BusyResourceError(
                "this delivery is being handled: a handler, or a task in 'async with', is inside"
            )
        self.busy = True
        self._task = trio.lowlevel.current_task()
        self._around = tuple(self._task.child_nurseries)
        self.deadline = trio.current_time() + self.context.handler_timeout
        self._scope = trio.CancelScope(deadline=self.deadline)
        self._scope.__enter__()
        if self.lost:
            self._scope.cancel("the lease was lost")

    @trio.lowlevel.enable_ki_protection
    def conclude(self, error: BaseException | None, *, ack: bool) -> BaseException | None:
        """Leave the scope, settle as *error* demands; return what has to be raised."""
        failure, onward = _sort(self._leave(error))
        try:
            if failure is not None:
                self._failed(failure)
            elif onward is not None:
                self._submit_if_open(Release(self.receipt))
            elif ack:
                self._submit_if_open(Ack(self.receipt))
            elif self.open:
                self.context.notifier.transition(Transition.UNSETTLED, *self.place)
        finally:
            self._task, self._around = None, ()
            self.context.keeper.ended(self)
        return onward

    def _leave(self, error: BaseException | None) -> BaseException | None:
        """Return what is left of *error* when our own cancellation is taken out."""
        scope, self._scope = self._scope, None
        assert scope is not None, "left before it was entered"
        rest = _exit(scope, error)
        if rest is None and scope.cancelled_caught and not self.lost:
            return HandlerTimeout(f"not done after {self.context.handler_timeout} s")
        return rest

    def _failed(self, failure: Exception) -> None:
        self.context.notifier.error(Scope.HANDLER, failure, *self.place)
        if self.open:
            settlement = self.context.policy.after_failure(self.receipt, failure)
            self.context.keeper.submit(self, settlement, shown(failure))

    def _submit_if_open(self, settlement: Ack | Release) -> None:
        if self.open:
            self.context.keeper.submit(self, settlement)


def _exit(scope: trio.CancelScope, error: BaseException | None) -> BaseException | None:
    """Leave *scope* as ``with`` does, and return what it lets through instead of raising it."""
    if error is None:
        scope.__exit__(None, None, None)
        return None
    try:
        swallowed = scope.__exit__(type(error), error, error.__traceback__)
    except BaseException as rest:  # noqa: BLE001 - the caller decides what is raised
        return rest
    return None if swallowed else error


def _sort(error: BaseException | None) -> tuple[Exception | None, BaseException | None]:
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
