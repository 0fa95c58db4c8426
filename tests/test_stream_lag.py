"""How far a group is behind, as each generation of servers reckons it."""

from __future__ import annotations

import pytest

from trio_bus._backend import Record
from trio_bus._memory.delivery_commands import xreadgroup
from trio_bus._memory.dialect import Dialect
from trio_bus._memory.dialects import REDIS_7_0, REDIS_7_2_7, REDIS_8, VALKEY, dialect_of
from trio_bus._memory.errors import StreamError
from trio_bus._memory.group_commands import xgroup_create, xinfo_groups
from trio_bus._memory.store import Store
from trio_bus._memory.stream_commands import make_trim, xadd, xdel, xlen, xtrim

RECORD: Record = ((b"f", b"v"),)
NOW = 1_000_000
FIVE = ("1-0", "2-0", "3-0", "4-0", "5-0")


def filled(dialect: Dialect, start: str = "0") -> Store:
    """Return a server with five entries, and a group that begins behind *start*."""
    store = Store(dialect)
    for entry_id in FIVE:
        xadd(store, "s", entry_id, RECORD, NOW)
    xgroup_create(store, "s", "g", start)
    return store


def lag(store: Store) -> int | None:
    (group,) = xinfo_groups(store, "s")
    return group.lag


def read(store: Store, count: int) -> None:
    assert xreadgroup(store, "g", "c", [("s", ">")], NOW, count=count)


@pytest.mark.parametrize("dialect", [REDIS_7_0, REDIS_7_2_7, VALKEY, REDIS_8])
def test_who_has_read_nothing_is_behind_by_what_is_left(dialect: Dialect) -> None:
    store = filled(dialect)
    xtrim(store, "s", make_trim(maxlen=2))
    assert lag(store) == 2


@pytest.mark.parametrize("dialect", [REDIS_7_0, VALKEY])
def test_what_was_deleted_before_the_first_is_no_gap(dialect: Dialect) -> None:
    """The oldest ones count as read: as many as are left are behind."""
    store = filled(dialect)
    read(store, 2)
    xdel(store, "s", ["1-0"])
    assert lag(store) == 3
    xdel(store, "s", ["4-0"])
    assert lag(store) is None


@pytest.mark.parametrize("dialect", [REDIS_7_0, VALKEY, REDIS_8])
def test_nobody_is_behind_in_a_stream_that_was_emptied(dialect: Dialect) -> None:
    """Not even who began in the middle, so that the server never counted what it read."""
    store = filled(dialect, "2-0")
    assert lag(store) is None
    xdel(store, "s", list(FIVE))
    assert lag(store) == 0


@pytest.mark.parametrize(
    ("version", "dialect"),
    [("Redis 7.0.0", REDIS_7_0), ("Redis 8.10.2", REDIS_8), ("Valkey 9.1.2.3", VALKEY)],
)
def test_the_latest_rules_up_to_a_version_are_its_own(version: str, dialect: Dialect) -> None:
    assert dialect_of(version) == dialect


@pytest.mark.parametrize("version", ["Redis 6.0.16", "KeyDB 7.0.0"])
def test_what_is_not_supported_has_no_dialect(version: str) -> None:
    with pytest.raises(LookupError, match=f"no dialect of {version}: it is not supported"):
        dialect_of(version)


def test_an_entry_says_something() -> None:
    """Options count as arguments, and do not help."""
    store = Store(VALKEY)
    for trim in (None, make_trim(maxlen=9)):
        with pytest.raises(StreamError, match="wrong number of arguments"):
            xadd(store, "s", "*", (), NOW, trim=trim)
    assert not xlen(store, "s")
