"""Servers whose output buffer is smaller than what is asked of them."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
import trio

from tests.harness import Recorder, config, until
from tests.node import Node, node
from trio_bus import (
    Bus,
    BusOptions,
    Delivery,
    Message,
    Scope,
    Transition,
    open_bus,
    open_subscription,
)

pytestmark = [pytest.mark.long, pytest.mark.every_server]

SETTINGS = attrs.evolve(config(), max_in_flight=100, claim_idle_timeout=5.0)


async def _limit(server: Node) -> None:
    await server.do("CONFIG", "SET", "client-output-buffer-limit", "normal 2097152 0 0")


async def _publish_large(bus: Bus, count: int) -> None:
    """Publish so many messages of 100 kB, each with its number in front."""
    outcome = await bus.publish_batch(
        [Message("orders", b"%06d" % number + bytes(100_000)) for number in range(count)]
    )
    outcome.raise_errors()


async def test_more_than_the_output_buffer_holds_is_read_in_portions(server_kind: str) -> None:
    """10 MB wait behind a buffer of 2 MB: all are handled, once, and soon."""
    recorder = Recorder()
    handled: Counter[bytes] = Counter()

    async def handle(delivery: Delivery) -> None:
        handled[delivery.message.payload[:6]] += 1

    async with (
        node(server_kind) as server,
        open_bus(server.url, BusOptions(observer=recorder)) as bus,
    ):
        await _limit(server)
        await _publish_large(bus, 100)
        with trio.fail_after(15):
            async with open_subscription(bus, SETTINGS, handle) as subscription:
                await until(lambda: subscription.statistics().handled == 100)
        assert set(handled.values()) == {1}
        losses = [event for event in recorder.errors if event.scope is Scope.CONNECT]
        print(f"{len(recorder.errors)} errors, {len(losses)} of the command connection")
        assert 1 <= len(recorder.errors) <= 40
        (group,) = (await bus.info("orders")).groups
        assert (group.pending, group.released, group.delayed) == (0, 0, 0)


async def test_entries_that_wait_to_be_taken_over_are_taken_in_portions(server_kind: str) -> None:
    """The command connection, which everybody uses, is not cut again and again."""
    recorder = Recorder()
    handled: Counter[bytes] = Counter()

    async def handle(delivery: Delivery) -> None:
        await trio.sleep(0.01)
        handled[delivery.message.payload[:6]] += 1

    async with (
        node(server_kind) as server,
        open_bus(server.url, BusOptions(observer=recorder)) as bus,
    ):
        async with open_subscription(bus, SETTINGS) as pull:  # takes all, and hands all back
            await _publish_large(bus, 100)
            await until(lambda: pull.statistics().in_flight == 100)
        await _limit(server)
        with trio.fail_after(15):
            async with open_subscription(bus, SETTINGS, handle) as subscription:
                await until(lambda: subscription.statistics().handled == 100)
                lost = len([event for event in recorder.errors if event.scope is Scope.CONNECT])
                assert 1 <= lost <= 8
        print(f"{len(recorder.errors)} errors, {lost} of the command connection")
        assert set(handled.values()) == {1}


async def test_an_entry_larger_than_the_output_buffer_becomes_a_dead_letter(
    server_kind: str,
) -> None:
    """Nobody can read it: it is tried as often as others, calmly, and others go on."""
    recorder = Recorder()
    handled: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        handled.append(delivery.message.payload)

    settings = attrs.evolve(SETTINGS, max_in_flight=8, reclaim_interval=0.1)
    async with (
        node(server_kind) as server,
        open_bus(server.url, BusOptions(observer=recorder)) as bus,
    ):
        await _limit(server)
        async with open_subscription(bus, settings, handle) as subscription:
            await bus.publish(Message("orders", b"before"))
            await bus.publish(Message("orders", bytes(3_000_000)))
            await bus.publish(Message("orders", b"after"))
            await until(lambda: subscription.statistics().rejected == 1)
            await until(lambda: len(handled) == 2)
            calm = len(recorder.errors)
            await trio.sleep(1)
            assert len(recorder.errors) == calm, "nothing is cut any more"
        print(f"{calm} errors")
        assert set(handled) == {b"before", b"after"}
        assert 4 <= calm <= 60
        (letter,) = [
            event for event in recorder.transitions if event.transition is Transition.DEAD_LETTERED
        ]
        assert letter.attempt == settings.max_attempt
        assert await server.do("XLEN", "{orders}.dead") == 1
