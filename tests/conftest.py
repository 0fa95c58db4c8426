"""Fixtures of every test here."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.faults import FlakyBackend
from tests.harness import Recorder, World
from tests.redis_world import opened
from trio_bus import RedisBackend


@pytest.fixture
def flaky() -> FlakyBackend:
    """Give a backend that fails when it is told to."""
    return FlakyBackend()


@pytest.fixture
def world(flaky: FlakyBackend) -> World:
    """Give a world in memory whose operations can be made to fail."""
    return World("memory:", flaky, Recorder())


@pytest.fixture
async def backend(server_url: str) -> AsyncGenerator[RedisBackend]:
    """Give a backend on an empty server, with our group in it."""
    async with opened(server_url) as backend:
        yield backend
