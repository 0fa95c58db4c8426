"""Fixtures for pytest: a bus in memory, one on a server of its own, an observer that records.

pytest finds them by itself where trio_bus is installed; ``-p no:trio_bus`` leaves them out. One is
asynchronous: ``trio_bus_embedded`` needs ``pytest-trio``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import trio
from trio.testing import MockClock

from trio_bus._bus import Bus
from trio_bus._connect import open_bus
from trio_bus._embedded import find_server
from trio_bus._errors import EmbeddedServerError
from trio_bus._memory import MemoryBackend
from trio_bus._options import BusOptions

from ._recording_observer import RecordingObserver


@pytest.fixture
def trio_bus_observer() -> RecordingObserver:
    """Give an observer that keeps what it hears; the other fixtures use it."""
    return RecordingObserver()


@pytest.fixture
def trio_bus_options(trio_bus_observer: RecordingObserver) -> BusOptions:
    """Give the options with which the buses are opened; override it to have others."""
    return BusOptions(observer=trio_bus_observer)


@pytest.fixture
def trio_bus_memory(trio_bus_options: BusOptions) -> Iterator[Bus]:
    """Give a bus on empty streams inside this process; it works in virtual time."""
    bus = Bus(MemoryBackend(), trio_bus_options)
    yield bus
    bus.close()


async def embedded(options: BusOptions) -> AsyncIterator[Bus]:
    """Open a bus on a server of its own; see `trio_bus_embedded`."""
    if isinstance(trio.lowlevel.current_clock(), MockClock):
        raise pytest.UsageError("trio_bus_embedded is a real server: it has no mock clock")
    try:
        find_server()
    except EmbeddedServerError as error:
        pytest.skip(str(error))
    async with open_bus("embedded:", options) as bus:
        yield bus


@pytest.fixture
async def trio_bus_embedded(trio_bus_options: BusOptions) -> AsyncIterator[Bus]:
    """Give a bus on a Valkey server that is started for this test, and ends with it.

    Without the ``embedded`` extra the test is skipped. The server lives in real time: with a mock
    clock it is an error.
    """
    async for bus in embedded(trio_bus_options):
        yield bus
