"""Streams and groups that somebody deletes under load: they begin anew, and the observer hears."""

from __future__ import annotations

import pytest

from tests.load import TOPIC, loaded
from tests.node import node

pytestmark = [pytest.mark.long, pytest.mark.every_server]


async def test_a_destroyed_group_starts_again_and_the_other_goes_on(server_kind: str) -> None:
    """What it had handled comes again, once; the group beside it does not notice."""
    async with node(server_kind) as server, loaded(server) as load:
        before = await load.commands()
        done = set(load.handled["billing"])
        assert await server.do("XGROUP", "DESTROY", TOPIC, "billing") == 1
        await load.more(250)
        stored = await load.settle()
        load.check_kept(stored)
        load.check_once(1, "audit")
        assert all(load.handled["billing"][number] >= 2 for number in done)
        assert max(load.handled["billing"].values()) == 2
        assert (load.recreated("billing"), load.recreated("audit")) == (1, 0)
        load.check_calm(await load.commands() - before)


@pytest.mark.parametrize("fault", ["DEL {orders}", "FLUSHALL"])
async def test_a_deleted_stream_begins_anew(server_kind: str, fault: str) -> None:
    """What was in it is gone; what is published from then on is handled by every group."""
    async with node(server_kind) as server, loaded(server) as load:
        before = await load.commands()
        old = set(load.confirmed)
        await server.do(*fault.split())
        safe = load.issued  # those in between may be gone or not
        await load.more(250)
        stored = await load.settle()
        assert stored.isdisjoint(old)
        assert {number for number in load.confirmed if number >= safe} <= stored
        load.check_once()
        assert (load.recreated("billing"), load.recreated("audit")) == (1, 1)
        load.check_calm(await load.commands() - before)
