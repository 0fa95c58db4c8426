"""A repeated attempt never outlasts the window in which it would find the first one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pytest
import trio
from trio.testing import MockClock

from tests.faults import FlakyBackend
from tests.harness import Recorder
from trio_bus import Bus, BusOptions, EntryId, Message, OutcomeUnknown
from trio_bus.abc import Once, Record
from trio_bus.testing import Done

pytestmark = pytest.mark.any_python

WINDOW = 1.0


class SlowToReconnect(FlakyBackend):
    """After the first call, one waits for a connection before the server hears of it."""

    def __init__(self, waits: float = 3.0) -> None:
        super().__init__()
        self.waits = waits
        self.tries = 0

    async def append(
        self, topic: str, records: Sequence[Record], once: Sequence[Once | None] = ()
    ) -> list[EntryId | Exception]:
        """Append, after the wait."""
        await self._wait()
        return await super().append(topic, records, once)

    async def schedule(
        self,
        topic: str,
        record: Record,
        uid: str,
        when: float | datetime,
        once: float | None = None,
    ) -> str:
        """Schedule, after the wait."""
        await self._wait()
        return await super().schedule(topic, record, uid, when, once)

    async def _wait(self) -> None:
        self.tries += 1
        await trio.sleep(self.waits if self.tries > 1 else 0.0)


def opened(backend: FlakyBackend) -> Bus:
    return Bus(backend, BusOptions(observer=Recorder(), dedup_window=WINDOW))


async def test_an_attempt_that_would_come_after_the_window_is_not_sent(
    autojump_clock: MockClock,
) -> None:
    """The mark of the first one is gone by then: it would be stored twice."""
    backend = SlowToReconnect()
    backend.fail("append", OutcomeUnknown("lost"), done=Done.EVERYTHING)
    with pytest.raises(OutcomeUnknown):
        await opened(backend).publish(Message("t", b"x", idempotency_key="k"))
    assert trio.current_time() == pytest.approx(WINDOW)
    assert (await backend.inner.info("t")).length == 1
    assert backend.tries == 2


async def test_nothing_is_scheduled_after_the_window(autojump_clock: MockClock) -> None:
    """The same for what is to be published later."""
    backend = SlowToReconnect()
    backend.fail("schedule", OutcomeUnknown("lost"), done=Done.EVERYTHING)
    with pytest.raises(OutcomeUnknown):
        await opened(backend).schedule(Message("t", b"x", idempotency_key="k"), delay=60)
    assert trio.current_time() == pytest.approx(WINDOW)
    assert backend.tries == 2


async def test_within_the_window_the_first_one_is_found(autojump_clock: MockClock) -> None:
    """However long the server was away."""
    backend = SlowToReconnect(waits=0.5)
    backend.fail("append", OutcomeUnknown("lost"), done=Done.EVERYTHING)
    await opened(backend).publish(Message("t", b"x", idempotency_key="k"))
    assert (await backend.inner.info("t")).length == 1
