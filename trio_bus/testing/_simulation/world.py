"""A simulated world: a server, processes, and what goes wrong until it heals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import trio
from trio.testing import MockClock

from trio_bus._backend import Record
from trio_bus._bus import Bus
from trio_bus._chance import Chance
from trio_bus._options import BusOptions
from trio_bus.testing._ears import JournalObserver
from trio_bus.testing._journal import Journal
from trio_bus.testing._line import WORLD, What
from trio_bus.testing._tasks import all_tasks

from .backend import WiredBackend
from .consumer import Consumer
from .handling import Handling, Step
from .host import Host
from .judging import Judging
from .noted import Noted, groups_that_failed
from .operator import Operator
from .plan import OPERATOR, PUBLISHER, TOPIC, ConsumerPlan, GroupPlan, MessagePlan, Plan
from .process import Process
from .publisher import Publisher
from .rest import is_at_rest, is_trimmed
from .troubles import Troubles
from .watch import Endless, Watch
from .wire import Wire

if TYPE_CHECKING:
    from trio_bus._delivery import Delivery


START = datetime(2030, 1, 1, tzinfo=UTC)
"""What every clock on a wall shows when a world begins."""
LOOK = 0.05
"""Seconds between two looks whether everything is finished."""
REST = 0.5
"""Seconds after which no answer is on its way any more."""
COMES_BACK = 0.1
"""Seconds after which a process that died runs again."""
_ONCE = {
    *(Handling.RELEASE, Handling.RELEASE_LATER, Handling.DRAIN, Handling.ACLOSE),
    *(Handling.FORGET, Handling.STUBBORN, Handling.MESSY),
}
"""What would go on for ever if the last step were repeated."""


def now() -> datetime:
    """Return the time on every wall of this world."""
    return START + timedelta(seconds=trio.current_time())


class Unfinished(Exception):
    """Long after the last fault something is not finished."""


class World:
    """Everything there is in one run."""

    def __init__(self, plan: Plan, journal: Journal, clock: MockClock, watch: Watch) -> None:
        self.plan = plan
        self._clock = clock
        self._watch = watch
        self.journal = journal
        self.running = 0
        """How many handlers run now."""
        self.host: Host = Host(START)
        self.judging = Judging(journal, self.host.streams, watch.scope, plan.latency)
        self.over: trio.Event = trio.Event()
        """Set when everything is finished, and all may leave."""
        self.processes: dict[str, Process] = {}
        """The latest one at each place."""
        self._chance = Chance(plan.seed)
        self._starts: Counter[tuple[str, int]] = Counter()
        self._transactions = count()
        self._batches = count(1)
        self._publishing = plan.scenario.publishers
        self._operating = bool(plan.redrives)
        self._operators = 0
        self.settings = {group.name: Noted(group.config) for group in plan.groups}
        """Of each group, as its subscriptions get them."""

    async def run(self) -> None:
        """Let it all happen.

        Raises:
          InvariantBroken: trio_bus broke a promise.
          Endless: it went on and on.
        """
        before = set(all_tasks())
        with self._watch.scope:
            await self._run()
            self._judge_settings()
            for name in sorted(task.name for task in all_tasks() if task not in before):
                self.journal.leaked("process", f"the task {name}")
        if self._watch.waiting:
            raise Endless(f"it did not end; these tasks wait:\n{self._watch.waiting}")
        self.judging.finish()

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(self.plan.scenario.publishers):
                nursery.start_soon(self._publish, number)
            for consumer in self.plan.consumers:
                nursery.start_soon(self._consume, consumer)
            if self.plan.redrives:
                nursery.start_soon(self._operate)
            try:
                await Troubles(self).run()
                self.journal.healed()
                self.host.heal()
                await self._rest()
                self.judging.quiet()
                self.over.set()
            finally:
                self.host.heal()  # whoever stands still could not end

    def _judge_settings(self) -> None:
        """See that whoever had a reason to look at each setting did so: else it does nothing."""
        for group in sorted(groups_that_failed(self.journal.lines)):
            if unread := self.settings[group].unread:
                words = f"no subscription of {group} looks at {', '.join(unread)}"
                self.judging.breaks(0, "settings", words)

    def kill(self, process: Process, why: str) -> None:
        """End a process as SIGKILL does it."""
        if process.alive:
            self.journal.died(process.name, why)
            process.die()
            self.host.wires[process.place].cut()

    @contextmanager
    def handling(self) -> Generator[None, None, None]:
        """Count a handler that runs."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def suspend(self, seconds: float) -> None:
        """Let all processes stand still for so long, while the server goes on."""
        self._clock.jump(seconds)

    @property
    def database_is_down(self) -> bool:
        """Whether no handler can do its work."""
        begins, ends = self.plan.outage
        return begins <= trio.current_time() < ends and not self.host.healed.is_set()

    def next_step(self, group: GroupPlan, delivery: Delivery) -> Step:
        """Say what this start of a message brings."""
        number = int(delivery.message.payload.split(b".")[0])
        steps = self.plan.steps(group.name, number)
        start = self._starts[group.name, number]
        self._starts[group.name, number] += 1
        if start < len(steps):
            return steps[start]
        last = steps[-1]
        return Step(Handling.SUCCEED, last.seconds) if last.handling in _ONCE else last

    def next_transaction(self) -> int:
        """Return a number that no other transaction has."""
        return next(self._transactions)

    def next_number(self) -> int:
        """Return a number that no other batch has."""
        return next(self._batches)

    async def append_foreign(self, plan: MessagePlan) -> None:
        """Append what no message can be made of."""
        record: Record = ((b"who", b"knows"), (b"number", b"%d" % plan.number))
        await self.host.streams.append(TOPIC, [record])
        self.journal.say(WORLD, What.NOTE, "somebody appends what is no message", topic=TOPIC)

    async def _publish(self, number: int) -> None:
        """Run a publisher; another one takes its place when it dies."""
        plans = [it for it in self.plan.messages if it.publisher == number]
        todo = sorted(plans, key=lambda it: it.when)
        life = 0
        while True:
            life += 1
            process = Process(f"{PUBLISHER}-{number}", life)
            observer = JournalObserver(self.journal, process.name)
            options = BusOptions(observer=observer, codec=self.plan.codec)
            bus = self._bus(process, options)
            await process.live(Publisher(self, process, bus, todo).run)
            if process.alive:
                break
            await trio.sleep(COMES_BACK)
        self._publishing -= 1

    async def _consume(self, plan: ConsumerPlan) -> None:
        """Run a consumer; another one takes its place when it dies."""
        await trio.sleep(plan.begins)
        stays = count()
        life = 0
        while True:
            life += 1
            process = Process(plan.place, life)
            observer = JournalObserver(self.journal, process.name)
            options = BusOptions(
                observer=observer, codec=self.plan.codec, max_payload_bytes=self.plan.largest
            )
            consumer = Consumer(self, plan, process, self._bus(process, options))
            await process.live(partial(consumer.run, stays))
            if self.over.is_set():
                return
            await trio.sleep(COMES_BACK)

    async def _operate(self) -> None:
        """Run the operator; another one takes the place when that one dies."""
        todo = list(self.plan.redrives)
        while todo:
            self._operators += 1
            process = Process(OPERATOR, self._operators)
            options = BusOptions(
                observer=JournalObserver(self.journal, process.name), codec=self.plan.codec
            )
            await process.live(Operator(self, process, self._bus(process, options), todo).run)
            await trio.sleep(COMES_BACK)
        self._operating = False

    def _bus(self, process: Process, options: BusOptions) -> Bus:
        wire = Wire(self.host, process, self.journal, self.plan.latency, self._chance)
        self.host.wires[process.place] = wire
        self.processes[process.place] = process
        return Bus(WiredBackend(wire), options)

    async def _rest(self) -> None:
        """Wait until everything is finished, and no answer is on its way any more.

        Raises:
          InvariantBroken, Unfinished: it takes too long.
        """
        until = trio.current_time() + self.plan.patience
        while True:
            await trio.sleep(LOOK)
            if self._is_quiet():
                await trio.sleep(REST)
                if self._is_quiet():  # nothing came from what was on its way
                    return
            if trio.current_time() > until:
                self.judging.quiet()  # it knows what somebody still holds that is finished
                self.judging.finish()
                raise Unfinished(f"{self.plan.patience:g} s after the last fault")

    def _is_quiet(self) -> bool:
        at_work = (
            self._publishing
            or self._operating
            or self.running
            or self.judging.somebody_holds_something
        )
        groups = [group.name for group in self.plan.groups if not group.fans_out]
        groups += self.judging.private_groups
        if at_work or not is_at_rest(self.host.streams, TOPIC, groups):
            return False
        retentions = [group.config.retention for group in self.plan.groups]
        return is_trimmed(self.host.streams, TOPIC, retentions)
