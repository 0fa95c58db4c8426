"""Whether everything on a topic is finished."""

# pyright: reportPrivateUsage=false
# What is pending for whom is told by no public call.

from __future__ import annotations

from collections.abc import Iterable

from trio_bus._memory import MemoryBackend
from trio_bus._memory.group import Consumer
from trio_bus._names import DEAD


def is_at_rest(streams: MemoryBackend, topic: str, groups: Iterable[str]) -> bool:
    """Say whether these groups exist, all have finished every entry, and nothing is scheduled."""
    server = streams._server  # noqa: SLF001 - see above
    stream = server.store.find_stream(topic)
    if len(server.schedule(topic)):
        return False
    if stream is None or not stream.groups.keys() >= set(groups):
        return False
    return not any(
        stream.undelivered(group, 1) or any(_is_busy(it) for it in group.consumers.values())
        for group in stream.groups.values()
    )


def _is_busy(consumer: Consumer) -> bool:
    return consumer.name != DEAD and len(consumer.pending) > 0
