"""The table of dialects: every supported server has one, and every difference in it can be seen."""

from __future__ import annotations

from itertools import pairwise

import attrs
import pytest

from property_tests import stream_operations as operations
from property_tests.blocked_reads import BlockedRead
from property_tests.stream_operations import Operation
from property_tests.stream_sequences import SORTED_SET, Sequence
from property_tests.stream_servers import Reply
from tests.server_kinds import KNOWN, find_binary, real_version
from trio_bus._memory.dialect import Dialect
from trio_bus._memory.dialects import REDIS_6_2, REDIS_7_0, REDIS_7_2, SINCE, VALKEY, dialect_of
from trio_bus._memory.store import Store

LENGTH = 1_000
MOST_SEEDS = 60
FIELDS = {field.name for field in attrs.fields(Dialect)}
NOW_MS = 1_700_000_000_000

# What each field is changed to; from whom does not matter.
_OTHERWISE: dict[str, object] = {
    "too_few_fields": "ERR something else",
    "no_sequence_left": ("ERR something else",),
    "meaningless": ("$",),
}


# What only a blocked read can see: below, and in test_blocked_reads_against_servers.
_OF_BLOCKED_READS = {"deletion_wakes_reads", "reruns_reads", "without_stream", "without_group"}


def answers(dialect: Dialect, seed: int) -> list[Reply]:
    store = Store(dialect)
    store.sorted_set(SORTED_SET).add("m", 1)
    operations = Sequence(seed, NOW_MS).operations(LENGTH)
    return [operation.on_fake(store, NOW_MS) for operation in operations]


@pytest.mark.parametrize("name", sorted(FIELDS - _OF_BLOCKED_READS))
def test_the_sequences_see_every_difference(name: str) -> None:
    """A server that differs from its dialect in one field only would be noticed."""
    was: object = getattr(VALKEY, name)
    otherwise = _OTHERWISE.get(name, not was)
    other = attrs.evolve(VALKEY, **{name: otherwise})  # type: ignore[arg-type] # any of them
    seeds = range(MOST_SEEDS)
    assert any(answers(VALKEY, seed) != answers(other, seed) for seed in seeds)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (older, newer)
        for (product, _, older), (other, _, newer) in pairwise(SINCE)
        if product == other
    ],
)
def test_neighbours_differ(older: Dialect, newer: Dialect) -> None:
    assert any(answers(older, seed) != answers(newer, seed) for seed in range(MOST_SEEDS))


def test_every_server_that_a_test_can_have_speaks_one() -> None:
    for kind in KNOWN:
        if find_binary(kind) is not None:
            assert dialect_of(real_version(kind)) in [dialect for _, _, dialect in SINCE]


def test_a_version_has_the_dialect_of_the_last_row_before_it() -> None:
    for product, (major, minor, patch), dialect in SINCE:
        assert dialect_of(f"{product} {major}.{minor}.{patch}") is dialect
        assert dialect_of(f"{product} {major}.{minor}.{patch}.9") is dialect
    assert dialect_of("Redis 8.10.2") is dialect_of("Redis 8.0.0")
    assert dialect_of("Redis 7.2.6") is not dialect_of("Redis 7.2.7")
    assert dialect_of("Valkey 9.1.2") is VALKEY
    for version in ("Redis 6.0.20", "Valkey 7.2.5", "KeyDB 6.3.4"):
        with pytest.raises(LookupError, match="not supported"):
            dialect_of(version)


NOGROUP = "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"
ENTRY: Reply = [b"1-1", [b"f", b"1"]]
NOTHING: Reply = [[b"s", []]]
FROM_ONE: Reply = [[b"s", [ENTRY]]]
FROM_BOTH: Reply = [[b"s", [ENTRY]], [b"t", [ENTRY]]]
H = operations.xgroup_create("s", "h", "0", make_stream=False)
GONE = REDIS_7_0.without_stream
NO_LONGER = REDIS_6_2.without_group


@pytest.mark.parametrize(
    ("dialect", "deleted", "destroyed", "added_and_removed", "added_to_both"),
    [
        (REDIS_6_2, None, NO_LONGER, NOTHING, FROM_ONE),
        (REDIS_7_0, GONE, NO_LONGER, NOTHING, FROM_ONE),
        (REDIS_7_2, NOGROUP, NOGROUP, None, FROM_BOTH),
        (VALKEY, NOGROUP, NOGROUP, None, FROM_BOTH),
    ],
)
def test_what_ends_a_blocked_read(
    dialect: Dialect,
    deleted: Reply,
    destroyed: Reply,
    added_and_removed: Reply,
    added_to_both: Reply,
) -> None:
    add = [operations.xadd(key, "1-1", ((b"f", b"1"),)) for key in ("s", "t")]
    assert woken(dialect, operations.delete("s")) == deleted
    assert woken(dialect, operations.xgroup_destroy("s", "g")) == destroyed
    assert woken(dialect, add[0], operations.xdel("s", ["1-1"])) == added_and_removed
    assert woken(dialect, *add) == added_to_both


def test_what_changes_nothing_wakes_nobody() -> None:
    """Nor does moving a group back; the read would find something, but does not look."""
    before = (
        operations.xadd("s", "1-1", ((b"f", b"1"),)),
        operations.xreadgroup("g", "other", [("s", ">")], None, noack=False),
    )
    back = operations.xgroup_setid("s", "g", "0")
    assert woken(VALKEY, back, before=before) is None
    assert woken(VALKEY, back, operations.xgroup_destroy("s", "none"), before=before) is None
    assert woken(VALKEY, back, operations.delete("none"), before=before) is None
    assert woken(VALKEY, back, operations.xgroup_destroy("s", "h"), before=(*before, H)) == FROM_ONE


def woken(dialect: Dialect, *transaction: Operation, before: tuple[Operation, ...] = ()) -> Reply:
    """Return what a read of two streams gets that waits while this transaction is done."""
    store = Store(dialect)
    for key in ("s", "t"):
        operations.xgroup_create(key, "g", "0", make_stream=True).on_fake(store, NOW_MS)
    for operation in before:
        operation.on_fake(store, NOW_MS)
    store.take_changed()
    for operation in transaction:
        operation.on_fake(store, NOW_MS)
    read = BlockedRead("g", "reader", ("s", "t"), 10)
    for key in store.take_changed():
        answer = read.wake(store, key, NOW_MS)
        if answer is not None:
            return answer
    return None
