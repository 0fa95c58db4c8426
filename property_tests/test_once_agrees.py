"""Records with keys: memory and every server store the same ones, and answer alike."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import Recorder
from trio_bus import BusOptions, EntryId, MemoryBackend
from trio_bus._redis import open_redis
from trio_bus._uid import new_uid
from trio_bus.abc import Once, Record, StreamBackend

LONG, SHORT = 3600.0, 0.001
LONGER_THAN_SHORT = 0.005


@attrs.frozen
class Item:
    """One record to append. A short key is met only once in a list: nobody can race the clock."""

    topic: int
    key: str | None
    window: float
    fields: int


def items() -> st.SearchStrategy[Item]:
    keys = st.sampled_from(["a", "b", "", "k" * 257, "k" * 256, "ключ", "{x}", "\0"])
    return st.builds(
        Item,
        topic=st.integers(0, 1),
        key=st.none() | keys,
        window=st.sampled_from([LONG, LONG, SHORT]),
        fields=st.sampled_from([1, 1, 1, 2, 0, 3500, 3501]),
    )


CHUNKS = st.lists(st.lists(items(), max_size=6), min_size=1, max_size=8)


def test_the_same_records_are_stored(server_url: str) -> None:
    @given(CHUNKS)
    def check(chunks: list[list[Item]]) -> None:
        trio.run(compare, server_url, [without_races(chunk) for chunk in chunks])

    check()


def without_races(chunk: list[Item]) -> list[Item]:
    """Keep the first of those whose key is used twice with a short window."""
    short = {(it.topic, it.key) for it in chunk if it.window == SHORT}
    seen: set[tuple[int, str | None]] = set()
    kept: list[Item] = []
    for item in chunk:
        name = (item.topic, item.key)
        if item.key is None or name not in seen or name not in short:
            kept.append(item)
        seen.add(name)
    return kept


async def compare(url: str, chunks: list[list[Item]]) -> None:
    topics = [f"{{{new_uid()}}}.{number}" for number in range(2)]
    async with open_redis(url, BusOptions(observer=Recorder())) as server:
        ours, theirs = Seen(MemoryBackend(), topics), Seen(server, topics)
        for chunk in chunks:
            assert await ours.append(chunk) == await theirs.append(chunk), chunks
            if any(item.window == SHORT for item in chunk):
                await trio.sleep(LONGER_THAN_SHORT)
        for topic in topics:
            lengths = [(await it.backend.info(topic)).length for it in (ours, theirs)]
            assert lengths[0] == lengths[1], chunks


@attrs.define
class Seen:
    """A backend, and the ids that it gave: two of them give different ids in the same order."""

    backend: StreamBackend
    topics: Sequence[str]
    ids: dict[tuple[int, EntryId], int] = attrs.field(factory=dict[tuple[int, EntryId], int])

    async def append(self, chunk: list[Item]) -> list[str]:
        """Append the records of a chunk, topic by topic; say what became of each."""
        found: list[str] = []
        for number, topic in enumerate(self.topics):
            part = [item for item in chunk if item.topic == number]
            records: list[Record] = [((b"f", b"v"),) * item.fields for item in part]
            once = [None if it.key is None else Once(it.key, it.window) for it in part]
            results = await self.backend.append(topic, records, once)
            found += [self.shown(number, result) for result in results]
        return found

    def shown(self, topic: int, result: EntryId | Exception) -> str:
        if isinstance(result, EntryId):
            return str(self.ids.setdefault((topic, result), len(self.ids)))
        return type(result).__name__  # Redis 6.2 tells no code of what a script did wrong
