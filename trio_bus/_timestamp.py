"""Instants as text, as both codecs write and read them: RFC 3339.

Writing is exact: UTC, ``Z``, and a fraction of 0, 3 or 6 digits, the fewest that lose nothing.

Reading takes what the Rust family takes: any offset with minutes (``+02:00``, ``+0200``), ``Z``,
``z`` or ``UTC``, a small ``t`` or a space for ``T``, fields of one digit, white space between
fields, and any number of fraction digits. A `datetime` cannot hold all of it:

- digits beyond the microsecond are dropped;
- a leap second, ``23:59:60``, becomes the first second of the next minute;
- an instant whose year in UTC is not 1 to 9999 is refused.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ._errors import SerializationError
from ._names import shown

_CANONICAL = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{3}(?:[0-9]{3})?)?Z"
)

# What we write, with a 0 for each digit.
_WRITTEN = frozenset(
    {b"0000-00-00T00:00:00Z", b"0000-00-00T00:00:00.000Z", b"0000-00-00T00:00:00.000000Z"}
)
_TWO, _THREE = b"23"
_ZEROS = bytes.maketrans(b"123456789", b"000000000")

# The white space of Unicode; Python's ``\s`` adds four control characters.
_SPACE = r"[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_RELAXED = re.compile(
    r"""
    _* (?P<year> [+-][0-9]+ | [0-9]{1,4}) _*-_* (?P<month> [0-9]{1,2}) _*-_* (?P<day> [0-9]{1,2})
    [tT\x20]
    _* (?P<hour> [0-9]{1,2}) _*:_* (?P<minute> [0-9]{1,2}) _*:_* (?P<second> [0-9]{1,2})
    (?: \. (?P<fraction> [0-9]+))? _*
    (?: [zZ] | [uU][tT][cC]
      | (?P<sign> [+\-\u2212]) (?P<hours> [0-9]{2}) (?: : | _)* (?P<minutes> [0-5][0-9]))
    _*
    """.replace("_", _SPACE),
    re.VERBOSE,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DIGITS = [f"{number:03}" for number in range(1000)]

# The calendar repeats itself after so many years: it lets us compute beyond its two ends.
_CYCLE = 400


def format_timestamp(instant: datetime) -> str:
    """Write an instant; *instant* must be in UTC."""
    # Most messages are published in the second of the last one: its text is kept.
    since = instant - _EPOCH
    second, micros = _second(since.days, since.seconds), since.microseconds
    if not micros:
        return f"{second}Z"
    millis, rest = _DIGITS[micros // 1000], micros % 1000
    return f"{second}.{millis}{_DIGITS[rest]}Z" if rest else f"{second}.{millis}Z"


@lru_cache(maxsize=16)
def _second(days: int, seconds: int) -> str:
    """Write a whole second, without its time zone."""
    return (_EPOCH + timedelta(days, seconds)).replace(tzinfo=None).isoformat()


def read_written(raw: bytes) -> datetime:
    """Read what `format_timestamp` writes, in half the time that `parse_timestamp` takes.

    Raises:
      ValueError: it is something else, which may be an instant all the same.
    """
    if raw.translate(_ZEROS) not in _WRITTEN or (raw[11] == _TWO and raw[12] > _THREE):
        raise ValueError("it was written by others")
    return datetime.fromisoformat(raw.decode())


def parse_timestamp(text: str) -> datetime:
    """Read an instant, in UTC.

    Raises:
      SerializationError: *text* is no such instant, or not in the years 1 to 9999.
    """
    try:
        if _CANONICAL.fullmatch(text):
            return datetime.fromisoformat(text)
        match = _RELAXED.fullmatch(text)
        if match is not None:
            return _build(match)
    except (ValueError, OverflowError) as error:
        raise SerializationError(f"timestamp {shown(text)}: {error}") from error
    raise SerializationError(f"timestamp {shown(text)} is not RFC 3339 text")


def _build(match: re.Match[str]) -> datetime:
    month, day, hour, minute, second = map(
        int, match.group("month", "day", "hour", "minute", "second")
    )
    leap = second == 60
    micros = int((match["fraction"] or "")[:6].ljust(6, "0"))
    year, shift = _year(match["year"])
    local = datetime(year, month, day, hour, minute, second - leap, micros, tzinfo=UTC)
    instant = local - _offset(match) + timedelta(seconds=leap)
    return instant.replace(year=instant.year - shift) if shift else instant


def _year(text: str) -> tuple[int, int]:
    """Return a year that `datetime` can hold, and by how much it differs from the written one."""
    if len(text.lstrip("+-0")) > 5:  # int() refuses thousands of digits in words of its own
        raise ValueError("year is out of range")
    year = int(text)
    shift = _CYCLE if year < 1 else -_CYCLE if year > 9999 else 0
    return year + shift, shift


def _offset(match: re.Match[str]) -> timedelta:
    if match["sign"] is None:
        return timedelta()
    offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
    if offset >= timedelta(days=1):
        raise ValueError("offset is out of range")
    return offset if match["sign"] == "+" else -offset
