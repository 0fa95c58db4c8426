"""A server that refuses for a while: service tasks wait ever longer, and go on; in virtual time."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import World, config, publish, until
from trio_bus import AuthenticationFailed, Delivery, RemoteError, Scope, open_subscription
from trio_bus._redis.errors import to_exception
from trio_bus._redis.resp import ErrorReply

REFUSALS = [
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "MISCONF Errors writing to the AOF file: No space left on device",
    "NOREPLICAS Not enough good replicas to write.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "CLUSTERDOWN The cluster is down",
    "UNBLOCKED force unblock from blocking operation, instance state changed",
    "READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOAUTH Authentication required.",
    "ERR something that nobody has seen before",
]
OPERATIONS = ("read", "look", "take_over", "renew", "settle")


@pytest.mark.bulk
@pytest.mark.parametrize("text", REFUSALS, ids=lambda text: text.partition(" ")[0])
async def test_a_refusal_is_waited_out_and_never_hot(
    autojump_clock: MockClock, world: World, flaky: FlakyBackend, text: str
) -> None:
    """A minute of refusals costs few calls; then everything is done, nothing counted or lost."""
    settings = attrs.evolve(
        config(), claim_idle_timeout=90.0, reclaim_interval=0.5, max_in_flight=8
    )
    attempts: Counter[bytes] = Counter()

    async def handle(delivery: Delivery) -> None:
        attempts[delivery.message.payload] += 1
        await trio.sleep(5)

    errors = 400  # more than a minute can use up, unless a loop runs hot
    async with open_subscription(world.bus(), settings, handle) as subscription:
        await publish(world.bus(), 8)
        await until(lambda: subscription.statistics().in_flight == 8)
        for operation in OPERATIONS:
            refusals = [to_exception(ErrorReply(text)) for _ in range(errors)]
            flaky.fail(operation, *refusals)
        before = Counter(flaky.calls)
        await trio.sleep(60)
        calls = Counter(flaky.calls) - before
        assert 5 < calls["read"] < 60
        assert 5 < calls["look"] < 60
        assert 5 < calls["settle"] < 60, "eight are no more than one: they failed together"
        assert 1 <= calls["renew"] < 60
        assert subscription.statistics().handled == 0
        flaky.heal()
        await publish(world.bus(), 4)
        await until(lambda: subscription.statistics().handled == 12, patience=60)
        assert subscription.statistics().lost_leases == 0
    assert set(attempts.values()) <= {1, 2}, "published twice under one number"
    assert (await world.group()).pending == 0
    scopes = {event.scope for event in world.recorder.errors}
    assert scopes >= {Scope.READ, Scope.CLAIM, Scope.RENEW, Scope.SETTLE}
    kinds = {type(event.error) for event in world.recorder.errors}
    assert kinds == {AuthenticationFailed if text.startswith("NOAUTH") else RemoteError}
