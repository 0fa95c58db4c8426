"""Random sequences of stream commands that meet each other often enough to disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

from property_tests import stream_operations as operations
from property_tests import stream_operations_more as more
from property_tests.stream_operations import HOUR, Operation, PendingQuery, TrimOptions
from trio_bus._backend import Record
from trio_bus._memory.delivery_commands import Claim
from trio_bus._memory.ids import LAST, MAX_ID

STREAMS = ("s", "t")
SORTED_SET = "z"
GROUPS = ("g", "h")
CONSUMERS = ("a", "b", "c")
ODD_IDS = (
    *("", "-", "+", ">", "$", "*", "x", "1-a", "1-2-3", "-1", "1-", " 3", "+3", "007", "1-*"),
    *("(", "(1", "(0", "(-", "-*", "**", "5-+1", "3 ", str(LAST + 1), f"1-{LAST + 1}"),
)
EDGES = (f"{LAST}-{LAST}", f"({LAST}-{LAST}", f"({LAST}-{LAST - 1}", str(LAST), "(0-1")
NAMES = (b"f", b"f", b"f", b"", b"n", b"\x00\xff")
MEMBERS = ("a", "b", "c", "d", "", "1-0", "10-0", "é")
VALUES = (b"1", b"v", b"", b"\r\n", b"\xf0\x9f")


class Sequence:
    """Draws commands around the ids that it has used.

    ``_top`` guesses the milliseconds of the newest id in each stream.
    """

    def __init__(self, seed: int, now_ms: int) -> None:
        self._random = Random(seed)  # noqa: S311 - a test must be repeatable
        self._now_ms = now_ms
        self._top: dict[str, int] = dict.fromkeys(STREAMS, 0)

    def operations(self, count: int) -> list[Operation]:
        """Draw *count* commands."""
        return list(islice(self._stream_of_operations(), count))

    def _stream_of_operations(self) -> Iterator[Operation]:
        for key in STREAMS:
            yield operations.xgroup_create(key, "g", "0", make_stream=True)
        makers = list(self._weights)
        weights = list(self._weights.values())
        while True:
            if self._chance(0.004):
                yield from self._burst()
            (maker,) = self._random.choices(makers, weights)
            yield maker(self)

    def _burst(self) -> Iterator[Operation]:
        """Fill more than one block of a stream: approximate trimming works on blocks."""
        key = self._random.choice(STREAMS)
        for _ in range(self._random.randint(40, 130)):
            self._top[key] += 1
            yield operations.xadd(key, str(self._top[key]), ((b"f", b"1"),))

    def _xadd(self) -> Operation:
        key = self._key()
        trim = self._trim(key) if self._chance(0.2) else None
        entry_id = self._new_id(key)
        return operations.xadd(key, entry_id, self._record(), trim, create=self._chance(0.9))

    def _xtrim(self) -> Operation:
        key = self._key()
        return operations.xtrim(key, self._trim(key))

    def _xdel(self) -> Operation:
        key = self._key()
        return operations.xdel(key, self._ids_or_odd(key))

    def _xlen(self) -> Operation:
        return operations.xlen(self._key())

    def _delete(self) -> Operation:
        key = self._random.choice(STREAMS)
        self._top[key] = 0
        return operations.delete(key)

    def _xrange(self) -> Operation:
        key = self._key()
        start, end = self._bound(key, "-"), self._bound(key, "+")
        return operations.xrange(key, start, end, self._random.choice([None, None, 0, -1, 1, 3]))

    def _create(self) -> Operation:
        key = self._key()
        return operations.xgroup_create(
            key, self._group(), self._position(key), make_stream=self._chance(0.6)
        )

    def _setid(self) -> Operation:
        key = self._key()
        return operations.xgroup_setid(key, self._group(), self._position(key))

    def _destroy(self) -> Operation:
        return operations.xgroup_destroy(self._key(), self._group())

    def _createconsumer(self) -> Operation:
        return operations.xgroup_createconsumer(self._key(), self._group(), self._consumer())

    def _delconsumer(self) -> Operation:
        return operations.xgroup_delconsumer(self._key(), self._group(), self._consumer())

    def _read(self) -> Operation:
        keys = [self._key() for _ in range(self._random.choice([1, 1, 1, 2, 3]))]
        places = [(key, self._read_from(key)) for key in keys]
        count = self._random.choice([None, -1, 0, 1, 1, 2, 3, 5])
        return operations.xreadgroup(
            self._group(),
            self._consumer(),
            places,
            count,
            noack=self._chance(0.1),
            block=self._chance(0.003),
        )

    def _xack(self) -> Operation:
        key = self._key()
        return operations.xack(key, self._group(), self._ids_or_odd(key))

    def _summary(self) -> Operation:
        return operations.xpending_summary(self._key(), self._group())

    def _pending(self) -> Operation:
        key = self._key()
        query = PendingQuery(
            start=self._bound(key, "-"),
            end=self._bound(key, "+"),
            count=self._random.choice([-1, 0, 1, 2, 10, 1000]),
            consumer=self._consumer() if self._chance(0.6) else None,
            idle_ms=HOUR // 2 if self._chance(0.3) else 0,
        )
        return operations.xpending(key, self._group(), query)

    def _xclaim(self) -> Operation:
        key = self._key()
        ids = self._ids(key)
        return operations.xclaim(
            key,
            self._group(),
            self._consumer(),
            ids,
            min_idle=self._random.choice([-1, 0, 0, 0, HOUR // 2]),
            claim=self._claim(key),
        )

    def _autoclaim(self) -> Operation:
        key = self._key()
        return operations.xautoclaim(
            key,
            self._group(),
            self._consumer(),
            min_idle=self._random.choice([-1, 0, 0, HOUR // 2]),
            start=self._bound(key, "-"),
            count=self._random.choice([-1, 0, 1, 1, 2, 3, 100]),
            just_id=self._chance(0.3),
        )

    def _info_groups(self) -> Operation:
        return operations.xinfo_groups(self._key())

    def _info_stream(self) -> Operation:
        return more.xinfo_stream(self._key())

    def _zadd(self) -> Operation:
        key = SORTED_SET if self._chance(0.95) else self._key()
        return more.zadd(key, self._member(), self._score())

    def _zrem(self) -> Operation:
        return more.zrem(SORTED_SET, self._member())

    def _zcard(self) -> Operation:
        return more.zcard(SORTED_SET)

    def _up_to(self) -> Operation:
        return more.up_to(SORTED_SET, self._score(), self._random.choice([1, 2, 10]))

    def _first_after(self) -> Operation:
        return more.first_after(SORTED_SET, self._score())

    def _info_consumers(self) -> Operation:
        return operations.xinfo_consumers(self._key(), self._group())

    _weights: dict[Callable[[Sequence], Operation], int] = {  # noqa: RUF012 - never changed
        _xadd: 30,
        _xtrim: 3,
        _xdel: 8,
        _xlen: 3,
        _delete: 1,
        _xrange: 4,
        _create: 8,
        _setid: 2,
        _destroy: 1,
        _createconsumer: 2,
        _delconsumer: 2,
        _read: 30,
        _xack: 10,
        _summary: 5,
        _pending: 12,
        _xclaim: 14,
        _autoclaim: 10,
        _info_groups: 8,
        _info_stream: 4,
        _zadd: 3,
        _zrem: 1,
        _zcard: 1,
        _up_to: 2,
        _first_after: 1,
        _info_consumers: 8,
    }

    def _claim(self, key: str) -> Claim:
        now = self._now_ms
        idle, time = None, None
        if self._chance(0.5):
            idle = self._random.choice([0, HOUR, HOUR, HOUR, -HOUR, 2 * now])
        elif self._chance(0.3):
            time = self._random.choice([0, now - HOUR, now + 9 * HOUR])
        return Claim(
            idle=idle,
            time=time,
            retry_count=self._random.choice([-1, 0, 1, 7]) if self._chance(0.3) else None,
            last_id=self._id(key) if self._chance(0.1) else "0",
            force=self._chance(0.2),
            just_id=self._chance(0.3),
        )

    def _trim(self, key: str) -> TrimOptions:
        maxlen, minid = None, None
        if self._chance(0.5):
            maxlen = self._random.choice([0, 1, 3, 8, 8, 20, 20, 90, 150, -1])
        if maxlen is None or self._chance(0.05):
            minid = str(max(0, self._top.get(key, 0) - self._random.randint(-1, 150)))
        approximate = self._chance(0.5)
        limit = None
        if self._chance(0.3 if approximate else 0.05):
            limit = self._random.choice([-1, 0, 1, 99, 100, 150, 1000])
        return TrimOptions(maxlen=maxlen, minid=minid, approximate=approximate, limit=limit)

    def _record(self) -> Record:
        size = self._random.choice([0, 1, 1, 1, 1, 1, 2, 3])
        choose = self._random.choice
        return tuple((choose(NAMES), choose(VALUES)) for _ in range(size))

    def _new_id(self, key: str) -> str:
        kind = self._random.random()
        top = self._top.get(key, 0)
        if kind < 0.1:
            return self._random.choice(ODD_IDS)
        if kind < 0.115:
            return self._random.choice(
                [str(MAX_ID), f"{LAST}-{LAST - 1}", f"{LAST}-*", f"{top}-{LAST}"]
            )
        if kind < 0.15:
            return "*"
        ms = max(0, top + self._random.choice([-1, 0, 0, 1, 1, 1, 2]))
        if key in self._top:
            self._top[key] = max(top, ms)
        return f"{ms}{self._random.choice(['', '-*', '-*', '-0', '-1', '-2', '-5'])}"

    def _ids(self, key: str) -> list[str]:
        return [self._id(key) for _ in range(self._random.choice([1, 1, 2, 4]))]

    def _ids_or_odd(self, key: str) -> list[str]:
        odd = [self._random.choice(ODD_IDS)] if self._chance(0.03) else []
        return self._ids(key) + odd

    def _id(self, key: str) -> str:
        ms = max(0, self._top.get(key, 0) - self._random.randint(-2, 8))
        return f"{ms}{self._random.choice(['', '-0', '-0', '-0', '-1', '-1', '-2', '-3'])}"

    def _bound(self, key: str, widest: str) -> str:
        kind = self._random.random()
        if kind < 0.5:
            return widest
        if kind < 0.55:
            return self._random.choice(ODD_IDS)
        if kind < 0.56:
            return self._random.choice(EDGES)
        return self._random.choice(["", "", "("]) + self._id(key)

    def _position(self, key: str) -> str:
        return self._random.choice(
            ["0", "$", self._id(key), self._id(key), self._random.choice(ODD_IDS)]
        )

    def _read_from(self, key: str) -> str:
        kind = self._random.random()
        if kind < 0.75:
            return ">"
        if kind < 0.755:
            return self._random.choice(EDGES)
        return (
            self._random.choice(ODD_IDS)
            if kind < 0.78
            else self._random.choice(["0", self._id(key)])
        )

    def _key(self) -> str:
        kind = self._random.random()
        if kind < 0.02:
            return SORTED_SET
        return self._random.choice(STREAMS) if kind < 0.98 else "missing"

    def _group(self) -> str:
        return self._random.choice(("g", "g", "g", *GROUPS)) if self._chance(0.98) else "none"

    def _consumer(self) -> str:
        return self._random.choice(CONSUMERS)

    def _member(self) -> str:
        return self._random.choice(MEMBERS)

    def _score(self) -> int:
        return self._random.randint(-1, 4)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability
