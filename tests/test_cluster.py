"""A server in cluster mode: what lies in two slots is refused, and nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import attrs
import pytest
import trio

from tests.node import Node, free_port, node
from tests.test_dead_letters import AUDIT, MOVED, dead, listed, seen
from trio_bus import RemoteError, ValidationError, open_bus, open_subscription

pytestmark = pytest.mark.any_server

APART = attrs.evolve(MOVED, dead_letter_topic="orders.dead")
PATIENCE = 30.0


@pytest.fixture
async def cluster(server_kind: str) -> AsyncGenerator[Node]:
    """Run one that has all slots; it takes it two seconds to believe that."""
    settings = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    async with node(server_kind, *settings, tcp=True) as server:
        await server.do("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        with trio.fail_after(PATIENCE):
            while "cluster_state:ok" not in str(await server.ask("CLUSTER", "INFO")):
                await trio.sleep(0.05)
        yield server


async def test_what_dies_and_comes_back_needs_one_slot(cluster: Node) -> None:
    """A subscription is refused that could not bury; what lies elsewhere stays there."""
    async with open_bus(cluster.url) as bus:
        (message,) = await dead(bus, MOVED, b"order 7")
        with pytest.raises(ValidationError, match=r"dead_letter_topic: 'orders\.dead' does not"):
            async with open_subscription(bus, APART):
                pytest.fail("it could not bury anything")
        rows, _ = await bus.backend.buried("{orders}.dead", None, None)
        await bus.backend.append("orders.dead", [rows[0][1]])
        outcome = await bus.redrive("orders.dead", everything=True)
        (result,) = [it.result for it in outcome.results]
        assert isinstance(result, RemoteError)
        assert "slot" in str(result)
        assert len(await listed(bus, "orders.dead")) == 1
        assert (await bus.redrive("{orders}.dead", ids=[message.id])).redriven == 1
        assert await seen(bus, MOVED, 1) == [(b"order 7", 1)]
        assert await seen(bus, AUDIT, 1) == [(b"order 7", 1)]


async def test_where_there_are_no_slots_any_topic_will_do(server_url: str) -> None:
    async with open_bus(server_url) as bus:
        await dead(bus, APART, b"order 7")
        assert (await bus.redrive("orders.dead", everything=True)).redriven == 1
        assert await seen(bus, APART, 1) == [(b"order 7", 1)]
        assert await listed(bus, "orders.dead") == []
