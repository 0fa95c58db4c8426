"""The bus keeps its promises on every backend: random programs, and the public suites."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from hypothesis import Phase, settings

from tests.profiles import times
from tests.redis_world import options
from tests.servers import end_connections
from trio_bus import AckMode, BalanceMode, MemoryBackend, Transition, open_redis
from trio_bus.testing import bus_conformance
from trio_bus.testing._bus_conformance.handling import VERBS
from trio_bus.testing._bus_conformance.play import Play
from trio_bus.testing._bus_conformance.program import Way
from trio_bus.testing._line import What

pytestmark = pytest.mark.every_server

REAL = settings(
    max_examples=4 * times(),
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.generate],
    database=None,
)
WIDE = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.generate],
    database=None,
    derandomize=False,
)
MOST_ROUNDS = 8


@asynccontextmanager
async def open_memory() -> AsyncGenerator[MemoryBackend]:
    """Open an empty backend."""
    yield MemoryBackend()


TestMemory = bus_conformance(open_memory, virtual_time=True)
TestMemory.settings = settings(max_examples=550 * times(), stateful_step_count=20, deadline=None)
pytest.mark.bulk(TestMemory)


@pytest.mark.long
@pytest.mark.bulk
def test_random_programs_on_servers(server_url: str) -> None:
    case = bus_conformance(
        partial(open_redis, server_url, options()), disconnect=lambda _: end_connections(server_url)
    )
    case.settings = REAL
    case("test_random_programs").debug()


@pytest.mark.bulk
def test_the_programs_reach_whatever_can_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A suite that never does something never finds anything there."""
    seen: Counter[object] = Counter()
    finish = Play.finish

    def count(play: Play) -> None:
        finish(play)
        for line in play.journal.lines:
            seen.update((line.subject, (line.what, line.detail)))
            if line.config is not None:
                seen.update((line.config.ack_mode, line.config.balance_mode))

    monkeypatch.setattr(Play, "finish", count)
    case = bus_conformance(open_memory, virtual_time=True)
    case.settings = WIDE
    wanted: set[object] = {
        *(None, AckMode.MANUAL, AckMode.AUTO_ON_RECEIVE, *BalanceMode),
        *((What.VERB, verb.value) for verb in VERBS),
        *((What.LEAVING, way.value) for way in Way),
        *(set(Transition) - NEVER),
        *(What.SUCCEEDED, What.FAILED, What.CANCELLED, What.DIED, What.VERB_FAILED),
        *(What.BATCHED, What.REDRIVEN),
    }
    for _ in range(MOST_ROUNDS):
        case("test_random_programs").debug()
        if wanted <= set(seen):
            break
    assert not sorted(str(it) for it in wanted if it not in seen)


NEVER = {
    *(Transition.VANISHED, Transition.GROUP_RECREATED),  # nobody removes anything
    *(Transition.LEASE_LOST, Transition.UNCONFIRMED),  # nothing goes wrong
    Transition.RECONNECTED,
    *(Transition.OUTAGE_BEGAN, Transition.OUTAGE_ENDED),  # the simulation has them
}
