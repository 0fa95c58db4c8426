"""What a blocked read gets, or does not, when something happens to its streams and groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from random import Random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from property_tests import stream_operations as operations
from property_tests import stream_operations_more as more
from property_tests.blocked_reads import BlockedRead
from property_tests.stream_operations import Operation, PendingQuery, TrimOptions
from property_tests.stream_servers import Reply, Wire, connect
from tests.server_kinds import real_version
from tests.servers import run_server
from trio_bus._memory.dialect import Dialect
from trio_bus._memory.dialects import dialect_of
from trio_bus._memory.store import Store

pytestmark = pytest.mark.every_server

KEYS = ("s", "t")
GROUPS = ("g", "g", "g", "h")
RECORD = ((b"f", b"1"),)
UNBLOCKED = "UNBLOCKED client unblocked via CLIENT UNBLOCK"
ROUNDS = 30
FLOOR = 600
"""How many blocked reads each server ends at least."""

MOST_LOOKS = 20_000


@attrs.frozen
class Wires:
    """The connection that blocks, and the one that does things to it."""

    reader: Wire
    writer: Wire


@pytest.fixture
def wires(server_kind: str) -> Iterator[Wires]:
    """Connect twice to a server of each kind."""
    with run_server(server_kind) as url, connect(url) as reader, connect(url) as writer:
        yield Wires(reader, writer)


@pytest.mark.long
@pytest.mark.bulk
def test_a_blocked_read_ends_as_the_dialect_says(
    server_kind: str, wires: Wires, record_property: Callable[[str, object], None]
) -> None:
    """Transactions around it: appended, deleted again, key or group gone, come back, or another."""
    dialect = dialect_of(real_version(server_kind))
    ended = 0

    @settings(max_examples=max(settings().max_examples, FLOOR // ROUNDS * 4))
    @given(st.integers(min_value=0, max_value=2**32))
    def check(seed: int) -> None:
        nonlocal ended
        random = Random(seed)  # noqa: S311 - a test must be repeatable
        ended += sum(Round(wires, dialect, random).run() for _ in range(ROUNDS))

    check()
    record_property("measured", f"{ended:,} blocked reads ended as the dialect says")
    assert ended >= FLOOR


class Round:
    """One blocked read on fresh streams, and one transaction that may end it."""

    def __init__(self, wires: Wires, dialect: Dialect, random: Random) -> None:
        self._wires = wires
        self._store = Store(dialect)
        self._random = random
        self._now_ms = int(time.time() * 1000)
        self._top = 0
        self._changed: dict[str, None] = {}  # in the order in which servers look at them
        self._told: list[str] = []

    def run(self) -> bool:
        """Say whether the read was blocked, and ended by the transaction."""
        self._wires.writer.call([(b"FLUSHALL",)])
        setting = [operations.xgroup_create(key, "g", "0", make_stream=True) for key in KEYS]
        places = [(key, ">") for key in KEYS]
        read_all = operations.xreadgroup("g", "other", places, None, noack=False)
        caught_up = [read_all] if self._random.random() < 0.8 else []
        for operation in [*setting, *self._draw(3), *caught_up]:
            (reply,) = self._wires.writer.call([operation.arguments])
            self._same(operation, reply)
        self._store.take_changed()
        keys = self._random.choice([("s",), ("s",), ("s", "t")])
        read = BlockedRead("g", "reader", keys, self._random.choice([1, 10]))
        where = operations.words(*keys, *[">" for _ in keys])
        head = ("XREADGROUP", "GROUP", "g", "reader", "COUNT", read.count, "BLOCK", 20_000)
        words = operations.words(*head, "STREAMS") + where
        self._told.append(f"{words!r}")
        at_once = read.look(self._store, self._now_ms)
        if at_once is not None:
            (reply,) = self._wires.reader.call([words])
            assert reply == at_once, self._story()
            return False
        (me,) = self._wires.reader.call([(b"CLIENT", b"ID")])
        assert isinstance(me, int)
        self._wires.reader.send(words)
        self._await_blocked()
        self._transact()
        return self._end(read, me)

    def _end(self, read: BlockedRead, me: int) -> bool:
        ours: Reply = None
        for key in self._changed:
            ours = ours or read.wake(self._store, key, self._now_ms)
        unblock = operations.words("CLIENT", "UNBLOCK", me, "ERROR")
        (waited,) = self._wires.writer.call([unblock])
        theirs = self._wires.reader.receive()
        self._told.append(f"-> {theirs!r}, but the pure stream: {ours!r}")
        assert waited == (ours is None), self._story()
        assert theirs == (UNBLOCKED if ours is None else ours), self._story()
        for operation in self._questions():
            (reply,) = self._wires.writer.call([operation.arguments])
            self._same(operation, reply)
        return ours is not None

    def _transact(self) -> None:
        chosen = self._draw(self._random.randint(1, 4))
        commands = [operation.arguments for operation in chosen]
        *_, replies = self._wires.writer.call([(b"MULTI",), *commands, (b"EXEC",)])
        assert isinstance(replies, list)
        for operation, reply in zip(chosen, replies, strict=True):
            self._same(operation, reply)
            changed = self._store.take_changed()
            # Servers that let a reader wait on do not even look when a key is deleted.
            if operation.arguments[0] != b"DEL" or self._store.dialect.deletion_wakes_reads:
                self._changed.update(dict.fromkeys(changed))

    def _same(self, operation: Operation, reply: Reply) -> None:
        self._told.append(f"{operation.arguments!r} -> {reply!r}")
        ours = operation.on_fake(self._store, self._now_ms)
        assert ours == operation.on_server(reply), self._story()

    def _draw(self, count: int) -> list[Operation]:
        return [self._operation() for _ in range(count)]

    def _operation(self) -> Operation:
        key, group = self._random.choice(("s", "s", "t")), self._random.choice(GROUPS)
        kind = self._random.randint(0, 13)
        if kind < 6:
            self._top += 1
            return operations.xadd(key, f"{self._top}-1", RECORD)
        entry_id = f"{max(1, self._top - self._random.randint(0, 1))}-1"
        return [
            operations.xdel(key, [entry_id]),
            operations.delete(key),
            operations.xgroup_destroy(key, group),
            operations.xgroup_create(key, group, "0", make_stream=True),
            operations.xgroup_setid(key, group, "0"),
            operations.xtrim(key, TrimOptions(maxlen=0)),
            operations.xreadgroup("g", "other", [(key, ">")], 1, noack=False),
            more.zadd(key, "m", 1),
        ][kind - 6]

    def _questions(self) -> Iterator[Operation]:
        """Ask whether who was created and given what is the same."""
        query = PendingQuery(start="-", end="+", count=100, consumer=None, idle_ms=0)
        for key in KEYS:
            yield operations.xinfo_groups(key)
            yield operations.xinfo_consumers(key, "g")
            yield operations.xpending(key, "g", query)

    def _await_blocked(self) -> None:
        for _ in range(MOST_LOOKS):
            (told,) = self._wires.writer.call([(b"INFO", b"clients")])
            assert isinstance(told, bytes)
            if b"blocked_clients:1\r" in told:
                return
        raise AssertionError("the read does not block")

    def _story(self) -> str:
        return "\n".join(self._told)
