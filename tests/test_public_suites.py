"""The public suites run on every backend: in virtual time on memory, in real time on servers."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.harness import World
from trio_bus import RedisBackend
from trio_bus.testing._public_suites import PUBLIC_SUITES, Stage
from trio_bus.testing._public_suites.stage import Test

pytestmark = pytest.mark.every_server

TESTS = [
    pytest.param(test, id=f"{suite}-{test.__name__}")
    for suite, tests in PUBLIC_SUITES.items()
    for test in tests
]


@pytest.mark.parametrize("test", TESTS)
async def test_a_public_suite_in_memory(
    test: Test, world: World, autojump_clock: MockClock
) -> None:
    with trio.fail_after(600.0):
        await test(Stage(world.backend))


@pytest.mark.parametrize("test", TESTS)
async def test_a_public_suite_on_a_server(test: Test, backend: RedisBackend) -> None:
    with trio.fail_after(60.0):
        await test(Stage(backend))
