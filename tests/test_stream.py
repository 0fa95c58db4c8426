"""The pure stream, by the lines of the specification that its tests are named after."""

from __future__ import annotations

import time

import pytest

from trio_bus._backend import Record
from trio_bus._entry_id import EntryId
from trio_bus._memory.delivery_commands import Claim, xack, xautoclaim, xclaim, xreadgroup
from trio_bus._memory.dialects import REDIS_6_2
from trio_bus._memory.errors import StreamError
from trio_bus._memory.group_commands import (
    PendingRow,
    PendingSummary,
    xgroup_create,
    xgroup_createconsumer,
    xgroup_delconsumer,
    xgroup_destroy,
    xgroup_setid,
    xinfo_consumers,
    xinfo_groups,
    xpending,
    xpending_summary,
)
from trio_bus._memory.id_map import IdMap
from trio_bus._memory.ids import LAST, MAX_ID, MIN_ID
from trio_bus._memory.sorted_set import SortedSet
from trio_bus._memory.store import Store
from trio_bus._memory.stream_commands import (
    delete,
    make_trim,
    xadd,
    xdel,
    xlen,
    xrange,
    xtrim,
)

RECORD: Record = ((b"f", b"v"),)
NOW = 1_000_000


@pytest.fixture
def store() -> Store:
    return Store()


def fill(store: Store, *ids: str, group: str = "g") -> None:
    """Make the stream ``s`` with these entries and a group before them."""
    xgroup_create(store, "s", group, "0", make_stream=True)
    for entry_id in ids:
        xadd(store, "s", entry_id, RECORD, NOW)


def read(store: Store, consumer: str, start: str = ">", count: int = 0) -> list[str]:
    answer = xreadgroup(store, "g", consumer, [("s", start)], NOW, count=count)
    return [str(entry_id) for entry_id, _ in answer[0][1]] if answer else []


def held(store: Store, consumer: str | None = None) -> list[tuple[str, str, int]]:
    rows = xpending(store, "s", "g", start="-", end="+", count=99, now_ms=NOW, consumer=consumer)
    return [(str(row.id), row.consumer, row.count) for row in rows]


def ids(store: Store) -> list[str]:
    return [str(entry_id) for entry_id, _ in xrange(store, "s", "-", "+") or []]


def refusal(text: str) -> pytest.RaisesExc[StreamError]:
    return pytest.RaisesExc(StreamError, match=text)


# XADD


@pytest.mark.parametrize("entry_id", ["5-1", "5-0", "4-9", "5", "4-*", "0-1"])
def test_xa1_an_id_that_is_not_greater_is_refused(store: Store, entry_id: str) -> None:
    xadd(store, "s", "5-1", RECORD, NOW)
    with refusal("^ERR The ID specified in XADD is equal or smaller"):
        xadd(store, "s", entry_id, RECORD, NOW)
    assert ids(store) == ["5-1"]


def test_xa2_zero_is_refused_and_creates_no_key(store: Store) -> None:
    for entry_id in ("0-0", "0"):
        with refusal("must be greater than 0-0"):
            xadd(store, "s", entry_id, RECORD, NOW)
    assert store.find_stream("s") is None


@pytest.mark.parametrize("entry_id", ["", "x", "-", ">", "1-a", "1-", str(LAST + 1), "-*"])
def test_xa3_what_is_no_id_is_refused(store: Store, entry_id: str) -> None:
    with refusal("^ERR Invalid stream ID specified as stream command argument$"):
        xadd(store, "s", entry_id, RECORD, NOW)
    assert xadd(store, "s", "7", RECORD, NOW) == EntryId(7, 0)


def test_xa4_automatic_ids_grow_even_when_the_clock_goes_back(store: Store) -> None:
    added = [xadd(store, "s", "*", RECORD, now_ms) for now_ms in (9, 9, 4, 10)]
    assert added == [(9, 0), (9, 1), (9, 2), (10, 0)]
    xadd(store, "s", f"10-{LAST}", RECORD, NOW)
    assert xadd(store, "s", "*", RECORD, 10) == (11, 0)


def test_xa5_automatic_sequence_numbers(store: Store) -> None:
    added = [xadd(store, "s", entry_id, RECORD, NOW) for entry_id in ("0-*", "0-*", "7-*", "7-*")]
    assert added == [(0, 1), (0, 2), (7, 0), (7, 1)]
    xadd(store, "s", f"7-{LAST}", RECORD, NOW)
    with refusal("equal or smaller"):
        xadd(store, "s", "7-*", RECORD, NOW)
    with refusal("Invalid stream ID"):
        xadd(Store(REDIS_6_2), "s", "7-*", RECORD, NOW)


def test_xa6_after_the_last_id_nothing_fits(store: Store) -> None:
    xadd(store, "s", str(MAX_ID), RECORD, NOW)
    for entry_id in ("*", "1", str(MAX_ID)):
        with refusal("exhausted the last possible ID"):
            xadd(store, "s", entry_id, RECORD, NOW)


def test_xa7_the_last_id_never_falls_until_the_key_is_deleted(store: Store) -> None:
    xadd(store, "s", "9-9", RECORD, NOW)
    xdel(store, "s", ["9-9"])
    assert xadd(store, "s", "*", RECORD, 5) == (9, 10)
    assert delete(store, "s") == 1
    assert delete(store, "s") == 0
    assert xadd(store, "s", "1-1", RECORD, NOW) == (1, 1)


def test_xa8_nomkstream_wrong_type_and_missing_fields(store: Store) -> None:
    assert xadd(store, "s", "*", RECORD, NOW, create=False) is None
    assert store.find_stream("s") is None
    with refusal("^ERR wrong number of arguments"):
        xadd(store, "s", "*", (), NOW)
    store.sorted_set("z")
    with refusal("^WRONGTYPE"):
        xadd(store, "z", "*", RECORD, NOW)
    xadd(store, "s", "*", RECORD, NOW)
    with refusal("^WRONGTYPE"):
        store.sorted_set("s")


def test_xa9_fields_keep_order_and_duplicates(store: Store) -> None:
    record = ((b"b", b"1"), (b"a", b"\x00\xff"), (b"b", b""), (b"", b"1"))
    added = xadd(store, "s", "1", record, NOW)
    assert xrange(store, "s", "-", "+") == [(added, record)]


def test_xa10_trimming_while_adding(store: Store) -> None:
    for n in range(1, 6):
        xadd(store, "s", str(n), RECORD, NOW, trim=make_trim(maxlen=3))
    assert ids(store) == ["3-0", "4-0", "5-0"]
    assert xadd(store, "s", "6", RECORD, NOW, trim=make_trim(minid="5")) == (6, 0)
    assert ids(store) == ["5-0", "6-0"]
    assert xadd(store, "s", "7", RECORD, NOW, trim=make_trim(maxlen=0)) == (7, 0)
    assert (ids(store), store.find_stream("s") is None) == ([], False)


def test_xa11_approximate_trimming_removes_whole_blocks_within_its_limit(store: Store) -> None:
    for n in range(1, 251):
        xadd(store, "s", str(n), RECORD, NOW)
    assert xtrim(store, "s", make_trim(maxlen=3, approximate=True, limit=99)) == 0
    assert xtrim(store, "s", make_trim(maxlen=3, approximate=True, limit=199)) == 100
    assert xtrim(store, "s", make_trim(minid="200", approximate=True)) == 0
    assert xtrim(store, "s", make_trim(minid="201", approximate=True)) == 100
    assert xtrim(store, "s", make_trim(maxlen=3, approximate=True)) == 0
    assert xlen(store, "s") == 50
    assert xtrim(store, "s", make_trim(maxlen=0, approximate=True, limit=0)) == 50


@pytest.mark.parametrize(
    ("maxlen", "minid", "limit", "text"),
    [
        (-1, None, None, "MAXLEN argument must be >= 0"),
        (1, "1", None, "not compatible"),
        (1, None, -1, "LIMIT argument must be >= 0"),
        (1, None, 1, "without the special ~ option"),
    ],
)
def test_xa12_trimming_options_that_do_not_fit(
    store: Store, maxlen: int, minid: str | None, limit: int | None, text: str
) -> None:
    with refusal(text):
        xtrim(store, "s", make_trim(maxlen=maxlen, minid=minid, limit=limit))


# XTRIM, XDEL, XRANGE


def test_xt1_xt2_what_is_removed_stays_pending_without_a_body(store: Store) -> None:
    fill(store, "1", "2", "3")
    read(store, "a")
    assert xtrim(store, "s", make_trim(maxlen=2)) == 1
    assert xdel(store, "s", ["2", "2", "9"]) == 1
    assert held(store) == [("1-0", "a", 1), ("2-0", "a", 1), ("3-0", "a", 1)]
    assert xack(store, "s", "g", ["1", "2"]) == 2
    assert (xtrim(store, "no", make_trim(maxlen=0)), xdel(store, "no", ["1"])) == (0, 0)
    with refusal("Invalid stream ID"):
        xdel(store, "s", ["3", "x"])
    assert ids(store) == ["3-0"]


def test_xt3_what_is_trimmed_before_delivery_is_skipped_silently(store: Store) -> None:
    fill(store, "1", "2", "3")
    xtrim(store, "s", make_trim(maxlen=1))
    assert read(store, "a") == ["3-0"]


@pytest.mark.parametrize(
    ("start", "end", "count", "expected"),
    [
        ("-", "+", None, ["1-0", "1-5", "2-0", "3-1"]),
        ("1", "1", None, ["1-0", "1-5"]),
        ("(1", "(3-1", None, ["1-5", "2-0"]),
        ("(1-0", "(2", None, ["1-5", "2-0"]),  # without a number, an end is the end of its ms
        ("2", "+", 1, ["2-0"]),
        ("3", "1", None, []),
    ],
)
def test_xrange_bounds(
    store: Store, start: str, end: str, count: int | None, expected: list[str]
) -> None:
    fill(store, "1-0", "1-5", "2-0", "3-1")
    rows = xrange(store, "s", start, end, count) or []
    assert [str(entry_id) for entry_id, _ in rows] == expected


def test_xrange_refuses_bounds_beyond_the_ends(store: Store) -> None:
    with refusal("^ERR invalid start ID for the interval"):
        xrange(store, "s", f"({MAX_ID}", "+")
    with refusal("^ERR invalid end ID for the interval"):
        xrange(store, "s", "-", "(0-0")
    assert xrange(store, "s", "-", "(1-0") == []
    fill(store)
    assert xrange(store, "s", "-", "+", 0) is None


# XGROUP


def test_xg1_without_a_key_there_is_no_group(store: Store) -> None:
    for call in (
        lambda: xgroup_create(store, "s", "g", "$"),
        lambda: xgroup_setid(store, "s", "g", "0"),
        lambda: xgroup_destroy(store, "s", "g"),
        lambda: xgroup_createconsumer(store, "s", "g", "c", NOW),
        lambda: xgroup_delconsumer(store, "s", "g", "c"),
    ):
        with refusal("^ERR The XGROUP subcommand requires the key to exist"):
            call()


def test_xg2_xg3_where_a_group_begins(store: Store) -> None:
    xadd(store, "s", "5", RECORD, NOW)
    for name, start, position in (("a", "$", (5, 0)), ("b", "0", (0, 0)), ("c", "3-3", (3, 3))):
        xgroup_create(store, "s", name, start)
        with refusal("^BUSYGROUP Consumer Group name already exists$"):
            xgroup_create(store, "s", name, "9")
        assert {row.name: row.last_delivered for row in xinfo_groups(store, "s")}[name] == position
    xgroup_create(store, "new", "g", "$", make_stream=True)
    assert xinfo_groups(store, "new")[0].last_delivered == MIN_ID


def test_xg4_setid_back_delivers_again_with_the_count_reset(store: Store) -> None:
    fill(store, "1", "2")
    read(store, "a")
    read(store, "a", "0")
    assert held(store) == [("1-0", "a", 2), ("2-0", "a", 2)]
    xgroup_setid(store, "s", "g", "1")
    assert read(store, "b") == ["2-0"]
    assert held(store) == [("1-0", "a", 2), ("2-0", "b", 1)]
    xgroup_setid(store, "s", "g", "0")
    xgroup_setid(store, "s", "g", "$")
    assert read(store, "b") == []
    with refusal("^NOGROUP No such consumer group 'x' for key name 's'$"):
        xgroup_setid(store, "s", "x", "0")


def test_xg5_destroying_a_group_takes_what_is_pending_along(store: Store) -> None:
    fill(store, "1")
    read(store, "a")
    assert (xgroup_destroy(store, "s", "g"), xgroup_destroy(store, "s", "g")) == (1, 0)
    assert xack(store, "s", "g", ["1"]) == 0


def test_xg6_deleting_a_consumer_throws_its_entries_away(store: Store) -> None:
    fill(store, "1", "2", "3")
    assert xgroup_createconsumer(store, "s", "g", "a", NOW) == 1
    assert xgroup_createconsumer(store, "s", "g", "a", NOW) == 0
    read(store, "a", count=2)
    read(store, "b")
    assert xgroup_delconsumer(store, "s", "g", "a") == 2
    assert xgroup_delconsumer(store, "s", "g", "a") == 0
    assert held(store) == [("3-0", "b", 1)]
    assert read(store, "c") == []


# XREADGROUP


def test_xr1_one_missing_group_and_nothing_is_delivered(store: Store) -> None:
    fill(store, "1")
    with refusal(
        "^NOGROUP No such key 'no' or consumer group 'g' in XREADGROUP with GROUP option$"
    ):
        xreadgroup(store, "g", "a", [("s", ">"), ("no", ">")], NOW)
    assert held(store) == []


def test_xr2_xr3_new_entries_in_order_and_at_most_count(store: Store) -> None:
    fill(store, "1", "2", "3")
    assert (read(store, "a", count=2), read(store, "b", count=-1)) == (["1-0", "2-0"], ["3-0"])
    assert xreadgroup(store, "g", "a", [("s", ">")], NOW) is None
    xadd(store, "s", "4", RECORD, NOW)
    xgroup_create(store, "t", "g", "0", make_stream=True)
    answer = xreadgroup(store, "g", "a", [("t", ">"), ("s", ">")], NOW)
    assert answer == [("s", [(EntryId(4), RECORD)])]


def test_xr4_xr5_history_is_our_own_and_counts(store: Store) -> None:
    fill(store, "1", "2", "3")
    read(store, "a", count=2)
    read(store, "b")
    xdel(store, "s", ["2"])
    answer = xreadgroup(store, "g", "a", [("s", "0")], NOW + 5)
    assert answer == [("s", [(EntryId(1), RECORD), (EntryId(2), None)])]
    assert held(store, "a") == [("1-0", "a", 2), ("2-0", "a", 1)]
    assert read(store, "a", "2") == []
    assert xreadgroup(store, "g", "new", [("s", "9")], NOW) == [("s", [])]


def test_xr4_the_last_id_there_is_says_what_is_new(store: Store) -> None:
    """Servers keep ``>`` as that id."""
    fill(store, "1")
    answer = xreadgroup(store, "g", "a", [("s", str(MAX_ID))], NOW)
    assert answer == [("s", [(EntryId(1), RECORD)])]
    assert xreadgroup(store, "g", "a", [("s", str(MAX_ID))], NOW) is None


@pytest.mark.parametrize("start", ["$", "+"])
def test_xr6_ids_without_a_meaning_here(store: Store, start: str) -> None:
    fill(store, "1")
    with refusal("^ERR The . ID is meaningless in the context of XREADGROUP"):
        read(store, "a", start)


def test_xr7_the_same_key_twice_goes_on_after_the_first(store: Store) -> None:
    fill(store, "1", "2")
    answer = xreadgroup(store, "g", "a", [("s", ">"), ("s", ">")], NOW, count=1)
    assert answer == [("s", [(EntryId(1), RECORD)]), ("s", [(EntryId(2), RECORD)])]


def test_xr8_noack_leaves_nothing_pending(store: Store) -> None:
    fill(store, "1")
    assert xreadgroup(store, "g", "a", [("s", ">")], NOW, noack=True) is not None
    assert (held(store), read(store, "a")) == ([], [])


def test_xr9_who_is_created_by_an_empty_read() -> None:
    for dialect, expected in ((None, ["a"]), (REDIS_6_2, [])):
        store = Store(dialect) if dialect else Store()
        fill(store)
        read(store, "a")
        assert [row.name for row in xinfo_consumers(store, "s", "g", NOW)] == expected


# XACK, XPENDING


def test_xk1_xk2_what_was_pending_is_counted(store: Store) -> None:
    fill(store, "1", "2")
    assert xack(store, "s", "g", ["1"]) == 0  # before its delivery: it is delivered all the same
    assert read(store, "a") == ["1-0", "2-0"]
    assert xack(store, "s", "g", ["1", "1", "7"]) == 1
    with refusal("Invalid stream ID"):
        xack(store, "s", "g", ["2", "x"])
    assert held(store) == [("2-0", "a", 1)]
    assert xack(store, "no", "g", ["x"]) == 0


def test_xp1_the_summary(store: Store) -> None:
    fill(store, "1", "2", "3")
    assert xpending_summary(store, "s", "g") == PendingSummary(0, None, None, ())
    read(store, "b", count=2)
    read(store, "a")
    read(store, "idle")
    summary = xpending_summary(store, "s", "g")
    assert summary == PendingSummary(3, EntryId(1), EntryId(3), (("a", 1), ("b", 2)))


def test_xp2_xp3_rows_by_range_consumer_and_idle_time(store: Store) -> None:
    fill(store, "1", "2", "3")
    read(store, "a")
    xclaim(store, "s", "g", "b", entry_ids=["2"], now_ms=NOW, claim=Claim(idle=100))

    def rows(start: str, count: int, consumer: str | None = None, idle: int = 0) -> list[int]:
        found = xpending(
            store,
            "s",
            "g",
            start=start,
            end="+",
            count=count,
            now_ms=NOW + 7,
            consumer=consumer,
            idle_ms=idle,
        )
        return [row.id.ms for row in found]

    assert (rows("-", 2), rows("(1", 9), rows("-", 0)) == ([1, 2], [2, 3], [])
    assert (rows("-", 9, "b"), rows("-", 9, "nobody")) == ([2], [])
    assert (rows("-", 9, idle=107), rows("-", 9, idle=108)) == ([2], [])
    (row,) = xpending(store, "s", "g", start="2", end="2", count=1, now_ms=NOW + 7)
    assert row == PendingRow(EntryId(2), "b", 107, 2)
    with refusal("^NOGROUP No such key 's' or consumer group 'x'$"):
        xpending_summary(store, "s", "x")


@pytest.mark.bulk
@pytest.mark.any_python
def test_one_consumer_is_looked_at_without_looking_at_the_others(store: Store) -> None:
    """Reading and asking cost the same with 200 and with 200,000 entries."""

    def cost(size: int) -> float:
        store = Store()
        fill(store, *map(str, range(1, size)))
        read(store, "big", count=size - 20)
        read(store, "small", count=5)
        began = time.process_time()
        for _ in range(200):
            held(store, "small")
            read(store, "small", ">", 1)
        return time.process_time() - began

    small = min(cost(200) for _ in range(3))
    assert cost(200_000) < 40 * small + 0.01  # a scan would make it about 1,000 times as much


# XCLAIM


def claim(
    store: Store, consumer: str, *ids: str, min_idle: int = 0, options: Claim | None = None
) -> list[int]:
    wanted = list(ids)
    given = options or Claim()
    rows = xclaim(
        store, "s", "g", consumer, entry_ids=wanted, now_ms=NOW, min_idle=min_idle, claim=given
    )
    return [entry_id.ms for entry_id, _ in rows]


def test_xc1_xc2_only_idle_entries_change_hands(store: Store) -> None:
    fill(store, "1", "2")
    read(store, "a")
    assert claim(store, "b", "2", "1", min_idle=1) == []
    assert claim(store, "a", "1", "2", options=Claim(idle=50)) == [1, 2]
    assert claim(store, "b", "2", "1", min_idle=50) == [2, 1]
    assert claim(store, "c", "2", "1", min_idle=50) == []
    assert held(store) == [("1-0", "b", 3), ("2-0", "b", 3)]
    assert claim(store, "c", "1", options=Claim(just_id=True)) == [1]
    assert held(store) == [("1-0", "c", 3), ("2-0", "b", 3)]


def test_xc3_force_makes_entries_pending_that_are_not(store: Store) -> None:
    fill(store, "1", "2")
    assert claim(store, "a", "1", "2", "3") == []
    assert claim(store, "a", "1", "3", options=Claim(force=True)) == [1]
    assert claim(store, "a", "2", options=Claim(force=True, just_id=True)) == [2]
    assert held(store) == [("1-0", "a", 2), ("2-0", "a", 1)]
    assert read(store, "b") == ["1-0", "2-0"]


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        (Claim(idle=30), 30),
        (Claim(idle=-30), 0),
        (Claim(idle=2 * NOW), 0),
        (Claim(time=0), NOW),
        (Claim(time=NOW - 5), 5),
        (Claim(time=NOW + 5), 0),
    ],
)
def test_xc4_the_delivery_time_can_be_given(store: Store, options: Claim, idle: int) -> None:
    fill(store, "1")
    read(store, "a")
    claim(store, "a", "1", options=options)
    (row,) = xpending(store, "s", "g", start="-", end="+", count=1, now_ms=NOW)
    assert row.idle_ms == idle


def test_xc5_the_count_can_be_given(store: Store) -> None:
    fill(store, "1")
    read(store, "a")
    counts: list[int] = []
    for count in (7, 0, -1):
        claim(store, "a", "1", options=Claim(retry_count=count))
        counts.append(held(store)[0][2])
    assert counts == [7, 0, 1]


def test_xc6_a_deleted_entry_is_dropped_or_stays_with_an_old_server() -> None:
    for dialect, rows, left in ((None, [], 0), (REDIS_6_2, [1], 1)):
        store = Store(dialect) if dialect else Store()
        fill(store, "1")
        read(store, "a")
        xdel(store, "s", ["1"])
        assert claim(store, "b", "1") == rows
        assert len(held(store)) == left


def test_xc7_lastid_only_raises_the_position(store: Store) -> None:
    fill(store, "1", "2", "3")
    for last_id in ("2", "1"):
        xclaim(store, "s", "g", "a", entry_ids=[], now_ms=NOW, claim=Claim(last_id=last_id))
    assert read(store, "a") == ["3-0"]
    with refusal("^NOGROUP No such key 's' or consumer group 'x'$"):
        xclaim(store, "s", "x", "a", entry_ids=["1"], now_ms=NOW)


# XAUTOCLAIM


def test_xo1_xo2_an_empty_page_with_a_cursor_is_not_the_end(store: Store) -> None:
    fill(store, *map(str, range(1, 61)))
    read(store, "a")
    found = xautoclaim(store, "s", "g", "b", start="-", now_ms=NOW, min_idle=9, count=2)
    assert (found.cursor, found.rows, found.deleted) == ((21, 0), [], [])
    found = xautoclaim(store, "s", "g", "b", start="(58", now_ms=NOW, count=2)
    assert ([entry_id.ms for entry_id, _ in found.rows], found.cursor) == ([59, 60], MIN_ID)
    found = xautoclaim(store, "s", "g", "b", start="58", now_ms=NOW, count=2)
    assert ([entry_id.ms for entry_id, _ in found.rows], found.cursor) == ([58, 59], (60, 0))


def test_xo3_xo4_deleted_entries_are_listed_and_count(store: Store) -> None:
    fill(store, "1", "2", "3")
    read(store, "a")
    xdel(store, "s", ["1", "2"])
    found = xautoclaim(store, "s", "g", "b", start="0", now_ms=NOW, min_idle=9, count=2)
    assert (found.cursor, found.rows, found.deleted) == ((3, 0), [], [(1, 0), (2, 0)])
    xack(store, "s", "g", ["3"])
    found = xautoclaim(store, "s", "g", "b", start="3", now_ms=NOW)
    assert (found.cursor, found.rows, found.deleted) == (MIN_ID, [], [])


def test_xo5_own_entries_count_and_errors(store: Store) -> None:
    fill(store, "1")
    read(store, "a")
    xautoclaim(store, "s", "g", "a", start="0", now_ms=NOW, just_id=True)
    assert held(store) == [("1-0", "a", 1)]
    xautoclaim(store, "s", "g", "a", start="0", now_ms=NOW)
    assert held(store) == [("1-0", "a", 2)]
    with refusal("^ERR COUNT must be > 0$"):
        xautoclaim(store, "s", "g", "a", start="0", now_ms=NOW, count=0)
    with refusal("^NOGROUP No such key 'no' or consumer group 'g'$"):
        xautoclaim(store, "no", "g", "a", start="0", now_ms=NOW)


# XINFO


def test_xi1_xi2_what_is_known_of_groups_and_consumers(store: Store) -> None:
    with refusal("^ERR no such key$"):
        xinfo_groups(store, "s")
    fill(store, "1", "2")
    read(store, "b", count=1)
    xgroup_createconsumer(store, "s", "g", "a", NOW + 4)
    (group,) = xinfo_groups(store, "s")
    assert (group.consumers, group.pending, group.lag) == (2, 1, 1)
    first, second = xinfo_consumers(store, "s", "g", NOW + 5)
    assert (first.name, first.pending, first.idle_ms, first.inactive_ms) == ("a", 0, 1, -1)
    assert (second.name, second.pending, second.idle_ms, second.inactive_ms) == ("b", 1, 5, 5)
    assert xreadgroup(store, "g", "b", [("s", "9")], NOW + 3) == [("s", [])]
    _, second = xinfo_consumers(store, "s", "g", NOW + 5)
    assert (second.idle_ms, second.inactive_ms) == (2, 5)
    with refusal("^NOGROUP No such consumer group 'x' for key name 's'$"):
        xinfo_consumers(store, "s", "x", NOW)


# The containers


def test_an_id_map_keeps_its_order_whatever_goes_in_and_out() -> None:
    found: IdMap[int] = IdMap()
    model: dict[EntryId, int] = {}
    for step in range(4000):
        entry_id = EntryId(step * 7919 % 211, step % 3)
        if step % 5 < 2 + (step // 1000) % 2:
            found[entry_id] = model[entry_id] = step
        else:
            assert found.pop(entry_id) == model.pop(entry_id, None)
        assert (entry_id in found) == (entry_id in model)
        assert len(found) == len(model)
        if step % 50 == 0:
            assert list(found) == sorted(model)
            assert list(found.ids(EntryId(50), EntryId(90))) == [
                key for key in sorted(model) if EntryId(50) <= key <= EntryId(90)
            ]
            assert found.count_after(EntryId(99)) == sum(key > EntryId(99) for key in model)
            assert (found.first(), found.last()) == (
                min(model, default=None),
                max(model, default=None),
            )


def test_a_sorted_set_is_in_the_order_of_its_scores() -> None:
    found = SortedSet()
    for member, score in (("a", 3), ("b", 1), ("c", 2), ("d", 1), ("a", 1.5)):
        found.add(member, score)
    assert (found.up_to(2, 9), found.up_to(2, 1), len(found)) == (["b", "d", "a", "c"], ["b"], 4)
    assert (found.remove("b"), found.remove("b"), "b" in found) == (True, False, False)
