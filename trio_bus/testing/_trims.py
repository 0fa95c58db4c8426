"""What a look removes from a topic, told to a journal."""

# pyright: reportPrivateUsage=false
# Which entries there are, and the time of the server, is told by no public call.

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import cast

from trio_bus._backend import Membership, StreamBackend
from trio_bus._entry_id import EntryId
from trio_bus._look import Look
from trio_bus._memory import MemoryBackend

from ._ears import Witness


async def looked(
    look: Callable[[], Coroutine[object, object, Look]],
    backend: StreamBackend,
    membership: Membership,
    witness: Witness,
) -> Look:
    """Look, and let the journal hear what that removed: each entry, if those can be seen."""
    if membership.retention is None:
        return await look()
    topic = membership.topic
    if not isinstance(backend, MemoryBackend):
        found = await look()
        witness.trimmed(found.trimmed)
        return found
    before: list[EntryId] = []
    found = await _stepwise(look(), lambda: before.__setitem__(slice(None), _ids(backend, topic)))
    after = _ids(backend, topic) if found.trimmed else before
    left, now_ms = frozenset(after), backend._server.clock.now_ms()  # noqa: SLF001 - see above
    removed = [entry_id for entry_id in before if entry_id not in left]
    for place, entry_id in enumerate(removed, 1):
        newer = len(left) + len(removed) - place
        witness.removed(entry_id, newer, (now_ms - entry_id.ms) / 1000)
    return found


@types.coroutine
def _stepwise(
    look: Coroutine[object, object, Look], note: Callable[[], None]
) -> Generator[object, object, Look]:
    """Look, and take note each time before it goes on: others may have appended meanwhile.

    Trio sends what a task waited for, a cancellation too; it throws nothing in.
    """
    sent: object = None
    while True:
        note()
        try:
            waits = look.send(sent)
        except StopIteration as end:
            return cast("Look", end.value)
        sent = yield waits


def _ids(backend: MemoryBackend, topic: str) -> list[EntryId]:
    stream = backend._server.store.find_stream(topic)  # noqa: SLF001 - see above
    return [] if stream is None else list(stream.entries)
