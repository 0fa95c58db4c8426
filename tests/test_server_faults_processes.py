"""Real servers that are frozen, killed and replaced under load; afterwards the sums are right."""

from __future__ import annotations

import pytest
import trio

from tests.load import TIMEOUT, Plan, loaded
from tests.node import Node, node
from trio_bus import Scope
from trio_bus.testing import open_fault_proxy

pytestmark = pytest.mark.long


async def test_a_server_that_is_frozen_for_5_seconds_loses_nothing(server_kind: str) -> None:
    """It is given up within the command timeout; what it had been asked it does later."""
    async with node(server_kind) as server, loaded(server) as load:
        before = await load.commands()
        server.freeze()
        frozen = trio.current_time()
        while not (load.unknown and load.heard(Scope.READ)):
            await trio.sleep(0.01)
            assert trio.current_time() - frozen < TIMEOUT + 3
        await trio.sleep(5 - (trio.current_time() - frozen))
        server.thaw()
        await load.more(100)
        stored = await load.settle()
        load.check_kept(stored)
        load.check_once()
        load.check_calm(await load.commands() - before)
        assert load.unknown & stored, "asked while it was frozen, done when it was not"


async def test_a_server_that_is_killed_three_times_loses_nothing(server_kind: str) -> None:
    """With its append-only file it has everything that it confirmed."""
    async with node(server_kind) as server, loaded(server) as load:
        for _ in range(3):
            server.kill()
            await trio.sleep(0.3)
            await server.start()
            await load.more(50)
        stored = await load.settle()
        load.check_kept(stored)
        load.check_once(3)
        load.check_calm()
        assert not load.recreated("billing")


async def test_a_server_that_comes_back_empty_begins_anew(server_kind: str) -> None:
    """The groups are created again, and told; what is published from then on is handled."""
    async with node(server_kind) as server, loaded(server) as load:
        server.kill()
        server.wipe()
        await trio.sleep(0.2)
        lost = set(load.confirmed)
        await server.start()
        await load.more(100)
        stored = await load.settle()
        assert stored.isdisjoint(lost)
        assert load.confirmed.keys() - lost <= stored
        load.check_once()
        load.check_calm()
        assert load.recreated("billing") == load.recreated("audit") == 1


async def _replicated(replica: Node) -> None:
    """Wait until a replica has caught up with its primary."""
    with trio.fail_after(20):
        while await replica.info("replication", "master_link_status") != "up":
            await trio.sleep(0.02)


async def _follow(replica: Node, primary: Node) -> None:
    await replica.do("REPLICAOF", "127.0.0.1", primary.port)
    await _replicated(replica)


async def test_a_promoted_replica_goes_on_where_the_primary_was(server_kind: str) -> None:
    """FAILOVER under load, behind an address that moves: nothing is lost, nothing runs hot."""
    async with (
        node(server_kind, tcp=True) as old,
        node(server_kind, tcp=True) as new,
        open_fault_proxy(old.url) as proxy,
    ):
        await _follow(new, old)
        async with loaded(old, Plan(groups={"billing": 8}), proxy.url) as load:
            with trio.fail_after(10):
                while (
                    len(await old.clients()) != 2 + 2 * 8
                ):  # a command connection and a reader each
                    await trio.sleep(0.02)
            await old.do("FAILOVER")
            with trio.fail_after(10):
                while await new.info("replication", "role") != "master":
                    await trio.sleep(0.01)
            await trio.sleep(0.5)  # the address lags behind, as names do
            proxy.target = new.url
            load.server = new
            await load.more(200)
            stored = await load.settle()
            load.check_kept(stored)
            load.check_once()
            load.check_calm()
            assert "READONLY" in load.refusals
            with trio.fail_after(5):
                while await old.clients():  # nobody stays with the replica
                    await trio.sleep(0.02)


async def test_a_stale_replica_that_is_promoted_is_taken_as_it_is(server_kind: str) -> None:
    """It lacks what was confirmed last: what it has is handled, by the groups that it knows."""
    async with (
        node(server_kind, tcp=True) as old,
        node(server_kind, tcp=True) as new,
        open_fault_proxy(old.url) as proxy,
    ):
        await _follow(new, old)
        async with loaded(old, url=proxy.url) as load:
            await load.more(50)
            new.freeze()
            await old.do("CLIENT", "KILL", "TYPE", "replica")
            await load.more(50)
            old.kill()
            before = load.issued
            new.thaw()
            await new.do("REPLICAOF", "NO", "ONE")
            proxy.target = new.url
            load.server = new
            await load.more(100)
            stored = await load.settle()
            assert load.confirmed.keys() - stored, "it was stale"
            assert {number for number in load.confirmed if number >= before} <= stored
            load.check_calm()
