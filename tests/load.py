"""Load under a fault: publishers and consumers at work, what each saw, and whether the sums match.

Each publisher and each consumer has a bus of its own, as if it were another process. Everything
that was sent has a number; a number is published once and never again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import attrs
import trio

from tests.harness import Recorder
from tests.node import Node
from trio_bus import (
    Backoff,
    BusError,
    BusOptions,
    Delivery,
    EntryId,
    FieldsCodec,
    Message,
    OutcomeUnknown,
    Scope,
    SubscriptionConfig,
    Transition,
    open_bus,
    open_subscription,
)
from trio_bus._redis.replies import as_int, as_list, as_map, as_text, read_entries
from trio_bus.abc import CredentialProvider

TOPIC = "{orders}"
MAX_IN_FLIGHT = 8
HELD = 3 * MAX_IN_FLIGHT
"""What a consumer may hold: what runs, and twice as many that ended and wait to be settled."""
TIMEOUT = 1.0
CALM = 30
"""Errors, or commands beyond its messages, that one member may cause in a second; hot is 1,000."""


@attrs.frozen(kw_only=True)
class Plan:
    """How much load, and how it is tuned."""

    groups: Mapping[str, int] = attrs.field(factory=lambda: {"billing": 3, "audit": 2})
    """How many consumers each group has."""
    publishers: int = 2
    pause: float = 0.005
    """Seconds between two messages of one publisher."""
    work: float = 0.003
    lease: float = 3.0
    timeout: float = TIMEOUT
    """Seconds in which a command is given up; longer where none may be on a machine that stalls."""
    credentials: CredentialProvider | None = None

    @property
    def members(self) -> int:
        """How many buses there are."""
        return self.publishers + sum(self.groups.values())

    def config(self, group: str) -> SubscriptionConfig:
        """Return the settings of the consumers of a group."""
        return SubscriptionConfig(
            TOPIC,
            group,
            max_in_flight=MAX_IN_FLIGHT,
            claim_idle_timeout=self.lease,
            reclaim_interval=0.1,
            block_timeout=1.0,
            retry_backoff=Backoff(first=0.05),
            dead_letter_topic="{orders}.dead",
        )


@attrs.define(eq=False)
class Load:
    """What is going on, and what came of it so far."""

    url: str
    server: Node
    """The one that is asked at the end; a failover puts another one here."""
    plan: Plan
    recorder: Recorder = attrs.field(factory=Recorder)
    confirmed: dict[int, EntryId] = attrs.field(factory=dict[int, EntryId])
    unknown: set[int] = attrs.field(factory=set[int])
    refused: Counter[str] = attrs.field(factory=Counter[str])
    handled: dict[str, Counter[int]] = attrs.field(init=False)
    rejecting: bool = False
    """Whether handlers reject every tenth message."""
    rejected: int = 0
    started: float = attrs.field(factory=trio.current_time)
    issued: int = attrs.field(default=0, init=False)
    """How many numbers were given to publishers: what is published from now on comes after."""
    gate: trio.Event = attrs.field(factory=trio.Event, init=False)
    """Set but while a test lets handlers wait, so that there is something to go on with."""
    _stop: trio.Event = attrs.field(factory=trio.Event, init=False)
    _published: trio.Event = attrs.field(factory=trio.Event, init=False)
    _consuming: trio.Event = attrs.field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.handled = {group: Counter() for group in self.plan.groups}
        self.gate.set()

    @property
    def options(self) -> BusOptions:
        """Return the options of every bus."""
        return BusOptions(
            observer=self.recorder,
            connect_timeout=self.plan.timeout,
            command_timeout=self.plan.timeout,
            credential_provider=self.plan.credentials,
        )

    @property
    def done(self) -> int:
        """How many messages the group that is furthest behind has handled."""
        return min(len(counts) for counts in self.handled.values())

    def heard(self, scope: Scope) -> list[BaseException]:
        """Return the errors that the observer heard of this."""
        return [event.error for event in self.recorder.errors if event.scope is scope]

    @property
    def refusals(self) -> set[str]:
        """The codes with which the server has refused to publish; the attempts after it may not."""
        return {str(error).partition(" ")[0] for error in self.heard(Scope.PUBLISH)}

    async def more(self, count: int = 50, patience: float = 20.0) -> None:
        """Wait until every group has handled so many more messages."""
        goal = self.done + count
        with trio.fail_after(patience):
            while self.done < goal:
                await trio.sleep(0.01)

    async def fall_behind(self, count: int) -> None:
        """Let handlers wait until so many messages are stored that no group has handled.

        They go on when ``gate`` is set.
        """
        self.gate = trio.Event()
        goal = count + max(len(counts) for counts in self.handled.values())
        with trio.fail_after(20):
            while len(self.confirmed) < goal:
                await trio.sleep(0.01)

    async def stop_publishing(self) -> None:
        """Let publishers end what they are at, then publish nothing more."""
        self._stop.set()
        await self._published.wait()

    async def settle(self, patience: float = 20.0) -> set[int]:
        """Stop publishing; wait until all that the server has is done. Return that."""
        await self.stop_publishing()
        stored = await self.stored()
        with trio.move_on_after(patience):
            while any(stored - counts.keys() for counts in self.handled.values()):
                await trio.sleep(0.02)
            while await self._pending():
                await trio.sleep(0.02)
        for group, counts in self.handled.items():
            missing = sorted(stored - counts.keys())
            assert not missing, f"{group} has not handled {missing[:9]} of {len(stored)}"
        assert not await self._pending()
        return stored

    async def stored(self) -> set[int]:
        """Return the numbers that the server has; each once."""
        rows = read_entries([[TOPIC.encode(), await self.server.do("XRANGE", TOPIC, "-", "+")]])
        codec = FieldsCodec()
        numbers = [int(codec.decode(it.record).payload) for it in rows]
        assert len(set(numbers)) == len(numbers), "a message was stored twice"
        return set(numbers)

    def check_kept(self, stored: set[int]) -> None:
        """Check that nothing that was confirmed is missing, and nothing there was refused."""
        assert self.confirmed.keys() <= stored
        assert stored <= self.confirmed.keys() | self.unknown

    def check_once(self, faults: int = 1, *groups: str) -> None:
        """Check that at most what was held, in each fault, was handled again.

        An ack that the server refuses until the lease has run out does not count.
        """
        for group in groups or self.handled:
            again = sum(count - 1 for count in self.handled[group].values())
            assert again <= faults * self.plan.groups[group] * HELD, (group, again)
            assert max(self.handled[group].values()) <= 1 + faults

    def check_calm(self, commands: int | None = None) -> None:
        """Check that no error loop ran hot: by what the observer heard, and the server did."""
        seconds = trio.current_time() - self.started
        most = round(CALM * seconds * self.plan.members)
        errors = Counter(
            event.scope for event in self.recorder.errors if event.scope is not Scope.PUBLISH
        )
        print(f"{seconds:.1f} s, {self.plan.members} members, errors: {dict(errors)}")
        print(f"confirmed {len(self.confirmed)}, unknown {len(self.unknown)}, {self.refused}")
        for group, counts in self.handled.items():
            print(f"{group}: {len(counts)} handled, {counts.total() - len(counts)} again")
        assert errors.total() <= most
        if commands is not None:
            work = self.issued + 2 * sum(it.total() for it in self.handled.values())
            print(f"commands: {commands}, for work {work}, allowed besides {most}")
            assert commands <= work + most

    def recreated(self, group: str) -> int:
        """Return how often the observer heard that the group was created again."""
        return sum(
            event.transition is Transition.GROUP_RECREATED and event.group == group
            for event in self.recorder.transitions
        )

    async def commands(self) -> int:
        """Return how many commands clients have sent, refused ones included."""
        lines = as_text(await self.server.do("INFO", "commandstats")).splitlines()
        wanted = ("cmdstat_xreadgroup:", "cmdstat_evalsha:", "cmdstat_eval:", "cmdstat_hello:")
        found = [line.partition(":")[2] for line in lines if line.startswith(wanted)]
        pairs = [dict(part.split("=") for part in line.split(",")) for line in found]
        calls = sum(int(pair["calls"]) + int(pair.get("rejected_calls", 0)) for pair in pairs)
        return calls + len(self.confirmed) + len(self.unknown)

    async def _pending(self) -> int:
        groups = as_list(await self.server.do("XINFO", "GROUPS", TOPIC))
        return sum(as_int(as_map(group)[b"pending"]) for group in groups)

    async def publish(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Publish one message after the other, and note what became of each."""
        async with open_bus(self.url, self.options) as bus:
            task_status.started()
            while not self._stop.is_set():
                number, self.issued = self.issued, self.issued + 1
                message = Message(TOPIC, str(number).encode())
                pause = self.plan.pause
                try:
                    self.confirmed[number] = await bus.publish(message)
                except OutcomeUnknown:
                    self.unknown.add(number)
                    pause += 0.02
                except BusError as error:
                    self.refused[str(error).partition(" ")[0]] += 1
                    pause += 0.02
                with trio.move_on_after(pause):
                    await self._stop.wait()

    async def consume(self, group: str, *, task_status: trio.TaskStatus[None]) -> None:
        """Handle what comes, and note it, until the end."""
        counts = self.handled[group]

        async def handle(delivery: Delivery) -> None:
            number = int(delivery.message.payload)
            await self.gate.wait()
            await trio.sleep(self.plan.work)
            counts[number] += 1
            if self.rejecting and number % 10 == 0:
                self.rejected += 1
                await delivery.reject("it was to be rejected")

        async with (
            open_bus(self.url, self.options) as bus,
            open_subscription(bus, self.plan.config(group), handle),
        ):
            task_status.started()
            await self._consuming.wait()

    async def publish_all(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run all publishers."""
        async with trio.open_nursery() as nursery:
            for _ in range(self.plan.publishers):
                await nursery.start(self.publish)
            task_status.started()
        self._published.set()

    def end(self) -> None:
        """Let everybody leave."""
        self._stop.set()
        self._consuming.set()
        self.gate.set()


@asynccontextmanager
async def loaded(server: Node, plan: Plan | None = None, url: str = "") -> AsyncGenerator[Load]:
    """Put a server under load; at the end nobody is connected any more."""
    load = Load(url or server.url, server, plan or Plan())
    async with trio.open_nursery() as nursery:
        for group, count in load.plan.groups.items():
            for _ in range(count):
                await nursery.start(load.consume, group)
        await nursery.start(load.publish_all)
        await load.more(20)
        try:
            yield load
        finally:
            load.end()
    with trio.fail_after(5):
        while await load.server.clients():
            await trio.sleep(0.02)
