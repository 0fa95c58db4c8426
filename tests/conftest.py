"""Fixtures of every test here."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.faults import FlakyBackend
from tests.harness import Recorder, World, open_world
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


@pytest.fixture
async def any_world(backend_url: str) -> AsyncGenerator[World]:
    """Give streams on the backend of this run."""
    async with open_world(backend_url) as world:
        yield world


@pytest.fixture
async def memory() -> AsyncGenerator[World]:
    """Give streams in memory, for virtual time."""
    async with open_world("memory:") as world:
        yield world
