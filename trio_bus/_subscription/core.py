"""What the tasks of one subscription share: the entries it holds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import trio

from trio_bus._backend import Ack, Commit, Entry, GroupMember, Receipt, Release, Settlement
from trio_bus._chance import chance
from trio_bus._codec import record_bytes
from trio_bus._config import SubscriptionConfig
from trio_bus._decision import Action
from trio_bus._errors import (
    BusClosed,
    BusError,
    HandlerTimeout,
    InternalError,
    PermissionDenied,
    WrongType,
)
from trio_bus._holding import Holding, HoldingContext
from trio_bus._modes import AckMode
from trio_bus._observer import Scope, Transition
from trio_bus._policy import Policy, shown
from trio_bus._settled import Settled
from trio_bus._settling import Settling
from trio_bus._trio_util import AsyncValue

from .backoff import Pause
from .flusher import Flusher
from .history import History
from .inspection import Inspection
from .leases import Leases
from .outage import Outage
from .permits import Permits
from .pulse import Pulse
from .remembered import Remembered
from .state import SubscriptionState
from .succession import Succession
from .valve import Reason, Valve

if TYPE_CHECKING:
    from trio_bus._gate import Gate
    from trio_bus._notifier import Notifier
    from trio_bus._outputs import Outputs

    from .progress import Progress

FATAL = (WrongType, PermissionDenied, BusClosed)
"""What no waiting heals: it ends the subscription."""

_RUNNING = SubscriptionState.RUNNING  # each message asks for it; an enum is slow to answer


def _nowhere(holdings: list[Holding]) -> None:
    """Stand where `Life` puts the outlet of the subscription."""
    raise InternalError(f"{len(holdings)} entries came before there was an outlet")


class Core:
    """The entries a subscription holds, from their arrival to their end.

    Invariants: ``holdings`` are the entries that are pending for us on the server or whose handler
    still runs; each has a permit, or counts as a pending settlement.
    """

    def __init__(
        self,
        config: SubscriptionConfig,
        ack_mode: AckMode,
        *,
        group: str,
        progress: Progress,
        member: GroupMember,
        gate: Gate,
        notifier: Notifier,
        now: Callable[[], datetime],
        outputs: Outputs,
    ) -> None:
        self.config = config
        self.ack_mode = ack_mode
        self.group = group
        self.member = member
        self.notifier = notifier
        self.pause: Pause = Pause(chance.random)
        # What trio.current_time() asks in the end, for who asks it for each message.
        self.time: Callable[[], float] = trio.lowlevel.current_clock().current_time
        self.chance: Callable[[], float] = chance.random
        self.valve: Valve = Valve(config.max_in_flight_bytes)
        self.permits: Permits = Permits(config.max_in_flight, config.pending_ack_limit, self.valve)
        self.holdings: dict[Holding, None] = {}  # a dict, for its order
        self.held: AsyncValue[int] = AsyncValue(0)
        # How often something happened that the task for leases has to see at once.
        self.stirred: AsyncValue[int] = AsyncValue(0)
        self.pulse: Pulse = Pulse(config.claim_idle_timeout)
        # How often a handler ended since the subscription began to end.
        self.ends: AsyncValue[int] = AsyncValue(0)
        self._released = Remembered()
        self._numbers = itertools.count(1)
        self.succession: Succession = Succession(self.lose, self._start, self.hand_back_when_ended)
        self.history: History = History(notifier, now, progress)
        self.last_errors: dict[Scope, Exception] = {}
        self.state: AsyncValue[SubscriptionState] = AsyncValue(SubscriptionState.RUNNING)
        self.fatal: BusError | None = None
        self.flusher: Flusher = Flusher(
            member, config.ack_batch_size, self.pause, self.report, self._on_settled
        )
        self.deliver: Callable[[list[Holding]], None] = _nowhere
        self.leases: Leases = Leases(self)
        self.outage: Outage = Outage(config.failure_threshold)
        self.on_fatal: Callable[[], None] = lambda: None  # as `Life` says
        self.recall: Callable[[], None] = lambda: None  # as `Life` says
        self.on_dropped: Callable[[Holding], None] | None = None  # as `Ordered` says
        self.inspection: Inspection = Inspection(self, gate, now)
        self._now = now
        timeout = math.inf if config.handler_timeout is None else config.handler_timeout
        policy = Policy(config, chance.random)
        self._context = HoldingContext(
            self, self.leases, policy, notifier, timeout, self.lease, outputs
        )

    @property
    def lease(self) -> float:
        """Seconds that a pending entry stays ours without renewal."""
        return self.config.claim_idle_timeout

    @property
    def takes_in(self) -> bool:
        """Whether what arrives may start: nobody drains it, and the program has not paused it."""
        running = self.state.value is _RUNNING
        return running and not self.valve.is_shut_for(Reason.USER)

    def report(self, scope: Scope, error: BusError, receipt: Receipt | None = None) -> None:
        """Tell the observer of an error; if nothing can heal it, end the subscription."""
        self.tell(scope, error, receipt)
        if isinstance(error, FATAL) and self.fatal is None:
            self.fatal = error
            self.on_fatal()

    def tell(self, scope: Scope, error: Exception, receipt: Receipt | None = None) -> None:
        """Remember an error, and tell the observer of it."""
        self.last_errors[scope] = error
        if receipt is None:
            self.notifier.error(scope, error)
        else:
            self.notifier.error(scope, error, receipt.id, receipt.attempt)

    def _tell_of(self, holding: Holding, scope: Scope, error: Exception) -> None:
        self.last_errors[scope] = error
        self.notifier.error(scope, error, *holding.place, delivery=holding.number)

    @trio.lowlevel.enable_ki_protection
    def receive(
        self, entries: Sequence[Entry], sent: float, transition: Transition = Transition.RECEIVED
    ) -> None:
        """Hold entries that became ours after *sent*, and start those that can be handled.

        What cannot be decoded is on its way to the dead-letter topic then. What an earlier
        delivery still works on waits until that has ended.
        """
        if not entries:
            return
        until, now, context = sent + self.lease, self._now(), self._context
        holdings = [
            Holding(
                entry, None, now, context, until, number, entry.size or record_bytes(entry.record)
            )
            for entry, number in zip(entries, self._numbers, strict=False)
        ]
        self.holdings.update(dict.fromkeys(holdings))
        self.valve.hold(sum([holding.size for holding in holdings]))
        self.held.value = len(self.holdings)
        ready = self.succession.add(holdings)
        self.history.began(holdings, transition)
        self._start(ready)

    def _start(self, holdings: Iterable[Holding]) -> None:
        wanted = [it for it in holdings if it.settling is None and not it.lost]  # it is open
        if not self.takes_in:
            for holding in wanted:
                self.hand_back(holding)
            return
        if ready := self.inspection.passing(wanted):
            self.deliver(ready)

    def release_delay(self, holding: Holding) -> float:
        """Say how long an entry waits that a handler releases: the first time, not at all."""
        if holding.entry.id in self._released:
            return self.config.reclaim_interval
        self._released.add(holding.entry.id)
        return 0.0

    @trio.lowlevel.enable_ki_protection
    def submit(self, holding: Holding, settlement: Settlement, reason: str = "") -> Settling:
        """Hand a settlement to the flusher. Never a checkpoint."""
        holding.check_open()
        settling = holding.settling = Settling(settlement, holding, reason)
        if self.outage.is_watched and holding.given_out and isinstance(settlement, Ack | Commit):
            self.outage.succeeded(holding)
        holding.wake()
        self.flusher.put(settling)
        if not holding.busy:
            self._free(holding)
        return settling

    @trio.lowlevel.enable_ki_protection
    def succeeded(self, holding: Holding, *others: Holding) -> None:
        """What ran with these open entries returned: `submit` acks, and they have `ended`.

        In one step without all that seldom is: every message pays for it.
        """
        now = self.time()
        if self.outage.is_watched:
            for it in (holding, *others):
                self.outage.succeeded(it)
        self.flusher.put_all(holding.part_with_ack(now, *others))
        self.history.finished(holding, *others)
        self.permits.submitted(1 + len(others))
        if self.state.value is not _RUNNING:
            self.ends.value += 1

    @trio.lowlevel.enable_ki_protection
    def ended(self, holding: Holding) -> None:
        """What ran with this entry has ended; an open one keeps its permit."""
        holding.busy = False
        if holding.started is not None:
            self.history.finished(holding)
        if holding.open:
            self.stirred.value += 1
            self.history.left_open(holding)
        else:
            self._free(holding)
        if self.state.value is not _RUNNING:
            self.ends.value += 1

    def failed(self, holding: Holding, failure: Exception) -> None:
        """A handler raised, or took too long: settle what it left open as the policy says."""
        self.history.failures += 1
        self._tell_of(holding, Scope.HANDLER, failure)
        if not holding.open:
            return
        policy, receipt = self._context.policy, holding.receipt
        decision = policy.decide(
            receipt,
            failure,
            lambda error: self._tell_of(holding, Scope.POLICY, error),
            shared=holding.leader is not None,
        )
        settlement: Settlement
        if decision.action is Action.RETRY and self.outage.has(holding):
            settlement = Release(receipt, self.outage.delay())
        else:
            settlement = policy.after_failure(
                receipt, failure, decision, lambda: self.release_delay(holding)
            )
        self.submit(holding, settlement, shown(decision.reason or failure))

    def time_out(self, holding: Holding) -> None:
        """Count an entry as failed that was left open for longer than ``handler_timeout``."""
        self.failed(holding, HandlerTimeout(f"not settled after {self.config.handler_timeout} s"))

    @trio.lowlevel.enable_ki_protection
    def lose(self, holding: Holding) -> None:
        """The entry has another owner: end the handler, settle nothing."""
        if not holding.open:
            return
        self.history.lost(holding)
        holding.lose()
        if not holding.busy:
            self._free(holding)

    @trio.lowlevel.enable_ki_protection
    def lose_by_clock(self, holding: Holding) -> None:
        """The lease ran out, and nobody could be asked: end the handler, then give back.

        It may still be pending for us. Giving back is fenced: it does nothing to a new owner.
        """
        self.history.lost(holding)
        self.hand_back_when_ended(holding)

    @trio.lowlevel.enable_ki_protection
    def hand_back_when_ended(self, holding: Holding) -> None:
        """End what runs with it; release it when that has ended, so that nothing overlaps."""
        holding.lose()
        holding.give_back = True
        if not holding.busy:
            self._free(holding)

    @trio.lowlevel.enable_ki_protection
    def take_away(self, holding: Holding) -> None:
        """End what runs with it, and release it then; until then its lease is kept."""
        holding.leased = True
        self.hand_back_when_ended(holding)

    @trio.lowlevel.enable_ki_protection
    def hand_back(self, holding: Holding, delay: float = 0.0) -> None:
        """Release an entry at once, and end what still runs with it."""
        self.submit(holding, Release(holding.receipt, delay))
        holding.lose()

    @trio.lowlevel.enable_ki_protection
    def hand_back_unstarted(self, delay: Callable[[], float] = lambda: 0.0) -> None:
        """Release what has not started; so it never does."""
        for holding in self.open_holdings():
            if not holding.given_out:
                self.hand_back(holding, delay())

    @trio.lowlevel.enable_ki_protection
    def vanish(self, holding: Holding) -> None:
        """Tell once that it was deleted. Nobody else can have it: what runs with it goes on."""
        if not holding.vanished:
            holding.vanish()
            self.history.vanished(holding)

    @trio.lowlevel.enable_ki_protection
    def hand_back_all(self) -> None:
        """Release at once whatever is held, also what was to be released when its handler ends."""
        for holding in list(self.holdings):
            if holding.open:
                self.hand_back(holding)
            elif holding.give_back:
                self._give_back(holding)

    def _give_back(self, holding: Holding) -> None:
        if holding.settling is None:
            holding.settling = Settling(Release(holding.receipt), holding)
            self.flusher.put(holding.settling)

    def open_holdings(self) -> list[Holding]:
        """Return what is held and not settled."""
        return [holding for holding in self.holdings if holding.open]

    def leased_holdings(self) -> list[Holding]:
        """Return what the server should know as ours: also what waits to be settled.

        Of several deliveries of one entry only the latest: an answer names the entry.
        """
        return [
            holding
            for holding in self.succession.latest()
            if not holding.is_over and not holding.done and not holding.vanished
        ]

    def _free(self, holding: Holding) -> None:
        """Take the permit of an entry that neither runs nor wants a settlement."""
        if not holding.permit:
            return
        if holding.give_back:
            self._give_back(holding)
        holding.permit = False
        if holding.settling is None or holding.settling.over:
            self.permits.dropped()
            self._drop(holding)
        else:
            self.permits.submitted()

    def _drop(self, *holdings: Holding) -> None:
        """Forget these, and start what waited for their end."""
        size = 0
        for holding in holdings:
            del self.holdings[holding]
            size += holding.size
        self.valve.drop(size)
        self.succession.drop(holdings)
        self.held.value = len(self.holdings)
        if self.on_dropped is not None:
            for holding in holdings:
                if holding.entry.id not in self.succession:
                    self.on_dropped(holding)

    def _on_settled(self, settlings: list[Settling]) -> None:
        """The server has answered settlements, or will not be asked any more."""
        self.history.settled(settlings)
        confirmed: list[Holding] = []
        some_released, done, lost = self._released.any, Settled.DONE, Settled.LOST
        for settling in settlings:
            holding, outcome = settling.holding, settling.outcome
            if some_released and not (type(settling.settlement) is Release and outcome is done):
                self._released.discard(holding.entry.id)
            if not holding.permit:
                confirmed.append(holding)
            if outcome is done:
                del settling.holding  # which has this one: circles are work for the collector
            elif outcome is lost:
                holding.lost = True
        self.permits.confirmed(len(confirmed))
        self._drop(*confirmed)
