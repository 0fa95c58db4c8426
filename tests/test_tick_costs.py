"""What a tick costs does not grow with what is pending; `tick_costs` measures and prints it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.servers import command
from tests.tick_costs import FEW, MANY, PLACES, idle_share, measure, shown

pytestmark = pytest.mark.every_server

GROWTH = 10
"""A step that went through all would take a thousand times as long; a busy machine, a few times."""
BOUND = 2_000
"""Microseconds of server time that any step may take; measured, none takes a fifth of it."""


@pytest.mark.bulk
@pytest.mark.long
async def test_a_tick_costs_the_same_with_300_000_entries(
    server_url: str, record_property: Callable[[str, object], None]
) -> None:
    """Wherever they are: delayed, released, abandoned, or in flight in one live consumer."""
    told: list[str] = []
    for place, consumer in PLACES.items():
        few = await measure(server_url, FEW, consumer)
        assert command(server_url, "FLUSHALL") == "+OK"
        # To move all of them, in parts, takes longer than to fill in ten times as many.
        count = MANY // 10 if consumer == "dead" else MANY
        many = await measure(server_url, count, consumer)
        assert command(server_url, "FLUSHALL") == "+OK"
        told.append(f"{count:,} {place}: {shown(many)}")
        if consumer == "dead":
            assert many.pop("part") < 5 * BOUND, "100 are moved; all would take a second"
        assert max(many.values()) < BOUND, told
        few.pop("part", None)  # few are less than a part
        assert {name: many[name] < GROWTH * few[name] for name in few} == dict.fromkeys(few, True)
    record_property("measured", "; ".join(told))


@pytest.mark.long
async def test_an_idle_subscription_takes_less_than_a_hundredth_of_a_core(server_url: str) -> None:
    """While 300,000 entries wait for their retry; measured, it takes a fifth of that."""
    assert 0 < await idle_share(server_url, MANY, 5.0) < 0.01
