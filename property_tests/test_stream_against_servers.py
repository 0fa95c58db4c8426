"""The pure stream is the server: the same commands, the same replies, on every server there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from property_tests.stream_operations import Operation
from property_tests.stream_sequences import SORTED_SET, Sequence
from property_tests.stream_servers import Reply, Wire, connect
from tests.server_kinds import real_version
from tests.servers import run_server
from trio_bus._entry_id import EntryId
from trio_bus._memory.dialect import Dialect
from trio_bus._memory.dialects import dialect_of
from trio_bus._memory.store import Store

pytestmark = pytest.mark.every_server

LENGTH = 1_000
FLOOR = 200_000
"""How many replies of each server are compared at least, in the quick profile too."""

SEEDS = st.integers(min_value=0, max_value=2**32)


@pytest.fixture
def wire(server_kind: str) -> Iterator[Wire]:
    """Connect to a server of each kind."""
    with run_server(server_kind) as url, connect(url) as wire:
        yield wire


@pytest.mark.long
@pytest.mark.bulk
@pytest.mark.guards("the fake is unlike the real stream")
def test_every_reply_is_the_same(
    server_kind: str, wire: Wire, record_property: Callable[[str, object], None]
) -> None:
    """Whatever this server answers, the pure stream answers too, in the dialect of its version."""
    dialect = dialect_of(real_version(server_kind))
    seeds: set[int] = set()

    # A few more, because Hypothesis may try a seed twice.
    @settings(max_examples=max(settings().max_examples, FLOOR // LENGTH + 10))
    @given(SEEDS)
    def check(seed: int) -> None:
        now_ms = int(time.time() * 1000)
        compare(wire, dialect, Sequence(seed, now_ms).operations(LENGTH), now_ms)
        seeds.add(seed)

    check()
    compared = len(seeds) * LENGTH
    record_property("measured", f"{compared:,} replies of the pure stream compared, all the same")
    assert compared >= FLOOR


def compare(wire: Wire, dialect: Dialect, operations: list[Operation], now_ms: int) -> None:
    """Run all on the server and on the pure stream, each of them empty before."""
    store = Store(dialect)
    store.sorted_set(SORTED_SET).add("m", 1)
    wire.call([(b"FLUSHALL",), (b"ZADD", SORTED_SET.encode(), b"1", b"m")])
    replies = wire.call([operation.arguments for operation in operations])
    for number, (operation, reply) in enumerate(zip(operations, replies, strict=True)):
        theirs = operation.on_server(reply)
        ours = operation.on_fake(store, time_of(operation, reply, now_ms))
        same = ours == theirs or [theirs, ours] == [*reversed(dialect.no_sequence_left)]
        assert same, story(operations[: number + 1], replies, ours)


def time_of(operation: Operation, reply: Reply, now_ms: int) -> int:
    """Return the time for the pure stream: where the server chose an id by its clock, that."""
    if operation.takes_time_from_reply and isinstance(reply, bytes):
        return EntryId.parse(reply).ms
    return now_ms


def story(operations: list[Operation], replies: list[Reply], ours: Reply) -> str:
    """Show what led to a difference."""
    lines = [
        f"{b' '.join(operation.arguments)!r} -> {reply!r}"
        for operation, reply in zip(operations, replies, strict=False)
    ]
    return "\n".join([*lines[-60:], f"but the pure stream: {ours!r}"])
