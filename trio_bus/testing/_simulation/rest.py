"""Whether everything on a topic is finished."""

# pyright: reportPrivateUsage=false
# What is pending for whom is told by no public call.

from __future__ import annotations

from collections.abc import Iterable

from trio_bus._memory import MemoryBackend
from trio_bus._memory.group import Consumer
from trio_bus._memory.retaining import end_of
from trio_bus._names import DEAD
from trio_bus._retention import Retention


def is_at_rest(streams: MemoryBackend, topic: str, groups: Iterable[str]) -> bool:
    """Say whether these groups are there and have finished every entry, and none is scheduled."""
    server = streams._server  # noqa: SLF001 - see above
    stream = server.store.find_stream(topic)
    if len(server.schedule(topic)) or stream is None:
        return False
    return all(name in stream.groups for name in groups) and not any(
        stream.undelivered(group, 1) or any(_is_busy(it) for it in group.consumers.values())
        for group in stream.groups.values()
    )


def is_trimmed(streams: MemoryBackend, topic: str, retentions: Iterable[Retention | None]) -> bool:
    """Say whether nothing is left that any of these would remove."""
    server = streams._server  # noqa: SLF001 - see above
    stream = server.store.find_stream(topic)
    first = None if stream is None else stream.entries.first()
    if stream is None or first is None:
        return True
    now_ms = server.clock.now_ms()
    return not any(it and end_of(stream, it, now_ms) > first for it in retentions)


def _is_busy(consumer: Consumer) -> bool:
    return consumer.name != DEAD and len(consumer.pending) > 0
