"""Whatever dies, fails, is released or ends meanwhile: suspects run alone, and all has an end."""

# pyright: reportPrivateUsage=false
# A pulled delivery does not tell whether it is a suspect.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from random import Random

import attrs
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.ledger import ledger_of
from tests.mortal import MortalProcess
from trio_bus import (
    Backoff,
    Delivery,
    MemoryBackend,
    Message,
    SubscriptionConfig,
    open_subscription,
)
from trio_bus._entry_id import EntryId
from trio_bus._names import DEAD

PATIENCE = 3000.0
"""Seconds of virtual time within which everything has an end."""

POISON, INNOCENT = b"poison", b"innocent"
FAILING, RELEASING, SLOW = b"failing", b"releasing", b"slow"


@attrs.define
class Game:
    """Some consumers that die, drain and come again, and messages of all kinds."""

    random: Random
    max_retry: int
    streams: MemoryBackend = attrs.field(factory=MemoryBackend)
    starts: dict[bytes, list[int]] = attrs.field(
        factory=lambda: defaultdict[bytes, list[int]](list)
    )
    companions: list[str] = attrs.field(factory=list[str])
    """What ran beside a suspect: must stay empty."""
    alone: int = 0

    async def play(self) -> None:
        """Publish, consume until everything is done or dead, and check."""
        bus = MortalProcess(self.streams).bus
        await self.streams.create_group("t", "g", EntryId(0))
        payloads = self.payloads()
        (await bus.publish_batch([Message("t", it) for it in payloads])).raise_errors()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(self.random.randint(1, 3)):
                    nursery.start_soon(self.reincarnate)
                await self.end()
                nursery.cancel_scope.cancel()
        await self.check(payloads)

    def payloads(self) -> list[bytes]:
        """Choose what there is."""
        kinds = [POISON] * self.random.randint(0, 3) + [INNOCENT] * self.random.randint(0, 12)
        for kind in (FAILING, RELEASING, SLOW):
            kinds += [kind] * self.random.randint(0, 2)
        self.random.shuffle(kinds)
        return [b"%s %d" % (kind, number) for number, kind in enumerate(kinds)]

    async def end(self) -> None:
        """Wait until nothing is undelivered, and nothing pending but the dead."""
        places = {""}
        while not places <= {"done", DEAD}:
            await trio.sleep(1.0)
            ledger = await ledger_of(self.streams, "t", "g")
            places = {spot.place for spot in ledger.values()}

    async def check(self, payloads: list[bytes]) -> None:
        """Check who lives, and who had company."""
        ledger = await ledger_of(self.streams, "t", "g")
        assert not self.companions
        for payload, spot in zip(payloads, ledger.values(), strict=True):
            kind, starts = payload.split()[0], self.starts[payload]
            dead = kind == POISON or (kind in (FAILING, SLOW) and spot.place == DEAD)
            assert spot.place == (DEAD if dead else "done"), (payload, starts)
            if kind == POISON:
                self.check_poison(starts, lonely=payloads_of(payloads, POISON) == 1)
            else:
                assert max(starts) <= self.max_retry + 1
            if kind in (INNOCENT, RELEASING):
                assert max(starts) <= min(3, self.max_retry + 1)

    def check_poison(self, starts: list[int], *, lonely: bool) -> None:
        """Each start alone happened; one beside another poison may have been the other's."""
        every = list(range(1, self.max_retry + 2))
        alone = every[min(2, self.max_retry) :]
        assert starts == every if lonely else starts == [it for it in every if it in starts]
        assert starts[-len(alone) :] == alone

    async def reincarnate(self) -> None:
        """Be one process after the other."""
        while True:
            await MortalProcess(self.streams).live(self.life)
            await trio.sleep(self.random.choice([0.0, 0.5, 4.0]))

    async def life(self, process: MortalProcess) -> None:
        """Consume until dead, or for a while."""
        config = SubscriptionConfig(
            "t",
            "g",
            max_in_flight=self.random.choice([1, 2, 5, 16]),
            max_retry=self.max_retry,
            claim_idle_timeout=2.0,
            handler_timeout=self.random.choice([3.0, 30.0]),
            drain_timeout=self.random.choice([0.0, 1.0, 100.0]),
            shutdown_timeout=1.0,
            retry_backoff=Backoff(first=0.5),
        )
        running = dict[bytes, bool]()

        async def handler(delivery: Delivery) -> None:
            await self.handle(process, running, delivery)

        with trio.move_on_after(self.random.choice([5.0, 40.0, 200.0])) as span:
            if self.random.random() < 0.5:
                await self.push(process, config, handler, span)
            else:
                await self.pull(process, config, handler)

    async def push(
        self,
        process: MortalProcess,
        config: SubscriptionConfig,
        handler: Callable[[Delivery], Awaitable[None]],
        span: trio.CancelScope,
    ) -> None:
        """Live with a handler; end in one of three ways."""
        async with open_subscription(process.bus, config, handler) as subscription:
            if self.random.random() < 0.5:
                await trio.sleep_forever()
            await trio.sleep(self.random.uniform(0.0, 20.0))
            span.deadline = float("inf")
            if self.random.random() < 0.5:
                await subscription.drain()

    async def pull(
        self,
        process: MortalProcess,
        config: SubscriptionConfig,
        handler: Callable[[Delivery], Awaitable[None]],
    ) -> None:
        """Live with some tasks that receive."""

        async def work() -> None:
            async for delivery in deliveries:
                async with delivery:
                    await handler(delivery)

        async with (
            open_subscription(process.bus, config) as deliveries,
            trio.open_nursery() as nursery,
        ):
            for _ in range(self.random.randint(1, 4)):
                nursery.start_soon(work)

    async def handle(
        self, process: MortalProcess, running: dict[bytes, bool], delivery: Delivery
    ) -> None:
        """Do what the payload says, and see who runs beside us."""
        payload, attempt = delivery.message.payload, delivery.state.attempt
        suspect = delivery._holding.entry.suspect
        self.starts[payload].append(attempt)
        self.alone += suspect
        if running and (suspect or any(running.values())):
            self.companions.append(f"{payload!r} beside {running}")
        if payload.startswith(POISON):
            process.die()
        running[payload] = suspect
        try:
            await self.act(payload, attempt, delivery)
        finally:
            del running[payload]

    async def act(self, payload: bytes, attempt: int, delivery: Delivery) -> None:
        """Take a while, and end as the payload says."""
        await trio.sleep(self.random.uniform(0.0, 2.5))
        if payload.startswith(FAILING) and attempt <= 2:
            raise ValueError
        if payload.startswith(RELEASING) and self.random.random() < 0.5:
            await delivery.release(self.random.choice([None, 1.0]))
        if payload.startswith(SLOW) and attempt <= 1:
            await trio.sleep_forever()


def payloads_of(payloads: list[bytes], kind: bytes) -> int:
    """Count the payloads of one kind."""
    return sum(payload.startswith(kind) for payload in payloads)


@given(seed=st.integers(min_value=0, max_value=2**32))
def test_suspects_run_alone_and_everything_ends(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - a test must be repeatable
    game = Game(random, random.randint(1, 4))
    trio.run(game.play, clock=MockClock(autojump_threshold=0))
