"""What was queued and nobody waits for: it is answered, or lost, before the connection closes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from trio_bus._backend import Record
from trio_bus._entry_id import EntryId
from trio_bus._once import Once, too_many_fields

from .appending import pack, results
from .link import Link
from .owed import Owed

_LONGEST_FLUSH = 10.0
"""Seconds: a command may be allowed to take for ever, and leaving a block may not."""

OnResult = Callable[[EntryId | Exception], None]


class Unconfirmed:
    """Appends that are queued at once, on the connection that all share.

    Invariant: ``_count`` is the number of those whose caller was not told yet.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._count = 0
        self._empty = trio.Event()

    @trio.lowlevel.enable_ki_protection
    def append(self, topic: str, record: Record, once: Once | None, on_result: OnResult) -> None:
        """Queue a record; see `StreamBackend.append_nowait`."""
        pipeline = self._link.connected()
        if once is not None and (error := too_many_fields(record)):
            on_result(error)
            return
        self._count += 1
        try:
            pipeline.queue_now(pack(topic, record, once), 1, partial(self._tell, on_result))
        except trio.WouldBlock:
            self._count -= 1
            raise

    async def flush(self, patience: float) -> None:
        """Wait until all are answered or lost, in at most *patience* seconds, cancelled or not."""
        if self._count:
            with trio.move_on_after(min(patience, _LONGEST_FLUSH), shield=True):
                self._empty = trio.Event()
                await self._empty.wait()

    def _tell(self, on_result: OnResult, owed: Owed) -> None:
        self._count -= 1
        if not self._count:
            self._empty.set()
        on_result(results(owed)[0])
