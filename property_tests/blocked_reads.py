"""A read that waits on the pure stream, woken by the rules of each generation of servers."""

from __future__ import annotations

import attrs

from property_tests.stream_operations import shown_row
from property_tests.stream_servers import Reply
from trio_bus._memory.delivery_commands import xreadgroup
from trio_bus._memory.errors import StreamError
from trio_bus._memory.store import Store
from trio_bus._memory.stream import Stream


@attrs.frozen
class BlockedRead:
    """An ``XREADGROUP`` of new entries that found nothing yet."""

    group: str
    consumer: str
    keys: tuple[str, ...]
    count: int

    def look(self, store: Store, now_ms: int, keys: tuple[str, ...] = ()) -> Reply:
        """Read without waiting; an error becomes its text, None says that there is nothing."""
        places = [(key, ">") for key in keys or self.keys]
        try:
            answer = xreadgroup(store, self.group, self.consumer, places, now_ms, count=self.count)
        except StreamError as error:
            return str(error)
        if answer is None:
            return None
        return [[key.encode(), [shown_row(row) for row in rows]] for key, rows in answer]

    def wake(self, store: Store, key: str, now_ms: int) -> Reply:
        """Return what it gets when *key* changes; None if it waits on."""
        if key not in self.keys:
            return None
        if store.dialect.reruns_reads:
            return self.look(store, now_ms)
        return self._serve(store, key, now_ms)

    def _serve(self, store: Store, key: str, now_ms: int) -> Reply:
        try:
            stream = store.find_stream(key)
        except StreamError:
            stream = None
        if stream is None:
            return store.dialect.without_stream or None
        if self.group not in stream.groups:
            return store.dialect.without_group
        if stream.last_id <= stream.groups[self.group].last_delivered:
            return None
        return self.look(store, now_ms, (key,)) or self._nothing(stream, key, now_ms)

    def _nothing(self, stream: Stream, key: str, now_ms: int) -> Reply:
        """Answer with what was added and is gone again: the consumer is created even so."""
        stream.groups[self.group].consumer(self.consumer, now_ms)
        return [[key.encode(), []]]
