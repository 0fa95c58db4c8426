"""The public suites, one test after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio
from trio.testing import MockClock

from tests.redis_world import options
from tests.servers import run_server
from trio_bus import open_redis
from trio_bus.abc import StreamBackend
from trio_bus.testing._public_suites import PUBLIC_SUITES, Stage, Test

from .examples import Examples
from .programs import KIND, open_memory

Open = Callable[[], AbstractAsyncContextManager[StreamBackend]]
LONGEST = 600.0
"""Seconds of virtual time for each."""


def publics(examples: Examples) -> None:
    """Run all on memory, in virtual time."""
    _run_all(examples, open_memory, virtual_time=True)


def publics_on_server(examples: Examples) -> None:
    """Run all on a server."""
    with run_server(KIND) as url:
        _run_all(examples, partial(open_redis, url, options()), virtual_time=False)


def _run_all(examples: Examples, open_backend: Open, *, virtual_time: bool) -> None:
    for suite, tests in PUBLIC_SUITES.items():
        for test in tests:
            examples.begin(f"{suite}: {test.__name__}")
            clock = MockClock(autojump_threshold=0) if virtual_time else None
            trio.run(_play, open_backend, test, clock=clock)


async def _play(open_backend: Open, test: Test) -> None:
    async with open_backend() as backend:
        with trio.fail_after(LONGEST):
            await test(Stage(backend))
