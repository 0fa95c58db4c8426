"""A message that kills its process, in virtual time: processes that die without a word."""

from __future__ import annotations

from collections import defaultdict

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import config, numbered
from tests.ledger import DONE, Spot, buried_in, ledger_of
from tests.mortal import MortalProcess
from trio_bus import Delivery, EntryId, MemoryBackend, Message, open_subscription
from trio_bus._names import DEAD

MAX_RETRY = 3
MOST_PROCESSES = 60
DEAD_TOPIC = "{orders}.dead"
SETTINGS = attrs.evolve(config(), max_in_flight=16, max_retry=MAX_RETRY, claim_idle_timeout=0.5)


@attrs.define
class Plague:
    """Streams, and what each message went through."""

    dead_topic: str | None
    streams: MemoryBackend = attrs.field(factory=MemoryBackend)
    starts: dict[bytes, list[int]] = attrs.field(
        factory=lambda: defaultdict[bytes, list[int]](list)
    )
    outbreak: list[bytes] = attrs.field(factory=list[bytes])
    """What is published, one at each death."""

    async def run(self, payloads: list[bytes]) -> None:
        """Publish, and start processes until one lives to the end."""
        await self.streams.create_group("orders", "billing", EntryId(0))
        await self.publish(payloads)
        for _ in range(MOST_PROCESSES):
            if not await MortalProcess(self.streams).live(self.life):
                return
            await self.publish([self.outbreak.pop() for _ in self.outbreak[:1]])
        raise AssertionError(f"they never end: {self.starts}")

    async def publish(self, payloads: list[bytes]) -> None:
        """Publish, from a process that lives."""
        outcome = await MortalProcess(self.streams).bus.publish_batch(
            [Message("orders", payload) for payload in payloads]
        )
        outcome.raise_errors()

    async def life(self, process: MortalProcess) -> None:
        """Consume until everything is done, or dead."""

        async def handler(delivery: Delivery) -> None:
            payload = delivery.message.payload
            self.starts[payload].append(delivery.state.attempt)
            if payload.startswith(b"poison"):
                process.die()
            await trio.sleep(0.1)

        settings = attrs.evolve(SETTINGS, dead_letter_topic=self.dead_topic)
        async with open_subscription(process.bus, settings, handler):
            places = {""}
            while not places <= {DONE, DEAD}:
                await trio.sleep(0.1)
                ledger = await ledger_of(self.streams, "orders", "billing")
                places = {spot.place for spot in ledger.values()}

    def of(self, payloads: list[bytes]) -> list[list[int]]:
        """Return the attempts of these."""
        return [self.starts[payload] for payload in payloads]


@pytest.mark.parametrize("dead_topic", [DEAD_TOPIC, None])
async def test_it_dies_as_often_as_it_may_and_takes_nobody_along(
    autojump_clock: MockClock, dead_topic: str | None
) -> None:
    plague = Plague(dead_topic)
    innocents = numbered(20)
    await plague.run([*innocents[:10], b"poison", *innocents[10:]])
    assert plague.starts.pop(b"poison") == [1, 2, 3, 4]
    assert all(attempts[-1] <= 3 for attempts in plague.of(innocents))
    ledger = await ledger_of(plague.streams, "orders", "billing")
    lost = [spot for spot in ledger.values() if spot.place == DEAD]
    assert lost == ([] if dead_topic else [Spot(DEAD, 4)])
    if dead_topic is not None:
        assert await buried_in(plague.streams, dead_topic) == [list(ledger)[10]]


@pytest.mark.bulk
async def test_who_waits_while_others_kill_is_not_counted(autojump_clock: MockClock) -> None:
    """A new poison comes with each process, and runs beside others twice.

    So nobody is held who waits for a start alone.
    """
    plague = Plague(None, outbreak=[b"poison %d" % number for number in range(12)])
    innocents = numbered(15)
    await plague.run([b"poison", *innocents])
    assert not plague.outbreak
    assert all(attempts[-1] <= 3 for attempts in plague.of(innocents))
    ledger = await ledger_of(plague.streams, "orders", "billing")
    assert [spot.place for spot in ledger.values()] == [DEAD, *[DONE] * 15, *[DEAD] * 12]
