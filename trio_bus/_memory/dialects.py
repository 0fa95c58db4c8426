"""Which server has which dialect: all versions that this library supports."""

from __future__ import annotations

import attrs

from .dialect import Dialect

Version = tuple[int, int, int]

_TOO_SMALL = "ERR The ID specified in XADD is equal or smaller than the target stream top item"
_TOO_LARGE = "ERR Elements are too large to be stored"
_AS_A_READ = "NOGROUP No such key 'k' or consumer group 'g' in XREADGROUP with GROUP option"

REDIS_6_2 = Dialect(
    auto_sequence=False,
    no_sequence_left=(_TOO_SMALL,),
    too_few_fields="ERR wrong number of arguments for XADD",
    drops_deleted=False,
    eager_consumers=False,
    meaningless=("$",),
    counts_read=False,
    lag_minds_tombstones=False,
    lag_minds_trimming=False,
    recounts_trimmed=False,
    deletion_wakes_reads=False,
    reruns_reads=False,
    without_stream="",
    without_group="NOGROUP the consumer group this client was blocked on no longer exists",
)
REDIS_7_0 = attrs.evolve(
    REDIS_6_2,
    auto_sequence=True,
    no_sequence_left=(_TOO_LARGE, _TOO_SMALL),
    too_few_fields="ERR wrong number of arguments for 'xadd' command",
    drops_deleted=True,
    counts_read=True,
    deletion_wakes_reads=True,
    without_stream="UNBLOCKED the stream key no longer exists",
)
REDIS_7_2 = attrs.evolve(
    REDIS_7_0,
    no_sequence_left=(_TOO_SMALL,),
    eager_consumers=True,
    reruns_reads=True,
    without_stream=_AS_A_READ,
    without_group=_AS_A_READ,
)
REDIS_7_2_7 = attrs.evolve(REDIS_7_2, lag_minds_tombstones=True, lag_minds_trimming=True)
REDIS_7_4 = attrs.evolve(REDIS_7_2, meaningless=("$", "+"))
REDIS_7_4_2 = attrs.evolve(REDIS_7_2_7, meaningless=("$", "+"))
REDIS_8 = attrs.evolve(REDIS_7_4_2, recounts_trimmed=True)
VALKEY_8_0 = REDIS_7_4
VALKEY = attrs.evolve(VALKEY_8_0, lag_minds_tombstones=True, recounts_trimmed=True)

SINCE: tuple[tuple[str, Version, Dialect], ...] = (
    ("Redis", (6, 2, 0), REDIS_6_2),
    ("Redis", (7, 0, 0), REDIS_7_0),
    ("Redis", (7, 2, 0), REDIS_7_2),
    ("Redis", (7, 2, 7), REDIS_7_2_7),
    ("Redis", (7, 4, 0), REDIS_7_4),
    ("Redis", (7, 4, 2), REDIS_7_4_2),
    ("Redis", (8, 0, 0), REDIS_8),
    ("Valkey", (8, 0, 0), VALKEY_8_0),
    ("Valkey", (8, 0, 3), VALKEY),
    ("Valkey", (8, 1, 0), VALKEY_8_0),
    ("Valkey", (8, 1, 1), VALKEY),
)
"""From which version on a server speaks which dialect, until the next row of that product."""


def dialect_of(version: str) -> Dialect:
    """Return the dialect of a server like ``Redis 6.2.14``.

    Raises:
      LookupError: this product, or a version that old, is not supported.
    """
    product, _, numbers = version.partition(" ")
    wanted = tuple(int(number) for number in numbers.split("."))
    found = [it for name, since, it in SINCE if name == product and since <= wanted]
    if not found:
        raise LookupError(f"no dialect of {version}: it is not supported")
    return found[-1]
