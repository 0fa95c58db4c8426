"""Instants as text."""

from datetime import UTC, datetime

import pytest

from trio_bus._errors import SerializationError
from trio_bus._timestamp import format_timestamp, parse_timestamp

BASE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "2026-01-02T03:04:05Z"),
        (120_000, "2026-01-02T03:04:05.120Z"),
        (1_000, "2026-01-02T03:04:05.001Z"),
        (123_450, "2026-01-02T03:04:05.123450Z"),
        (1, "2026-01-02T03:04:05.000001Z"),
    ],
)
def test_the_fewest_digits_that_lose_nothing(micros: int, text: str) -> None:
    """In groups of three."""
    instant = BASE.replace(microsecond=micros)
    assert format_timestamp(instant) == text
    assert parse_timestamp(text) == instant


def test_years_have_four_digits() -> None:
    """The first and the last instant that fit."""
    for instant in datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC):
        assert parse_timestamp(format_timestamp(instant)) == instant
    assert format_timestamp(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-01-02T03:04:05.000000999Z", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05.9999999999999Z", "2026-01-02T03:04:05.999999"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000"),
        (" 2026-1-2T3:4:5 Z ", "2026-01-02T03:04:05"),
        ("2026 - 01 - 02T03 : 04 : 05 utc", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:05\u221202:00", "2026-01-02T05:04:05"),
        ("2026-01-02T03:04:05+02 00", "2026-01-02T01:04:05"),
        ("+2026-01-02T03:04:05Z", "2026-01-02T03:04:05"),
        ("+002026-01-02T03:04:05Z", "2026-01-02T03:04:05"),
        ("2026-01-02T03:04:60.5Z", "2026-01-02T03:05:00.500000"),
        ("+10000-01-01T00:30:00+01:00", "9999-12-31T23:30:00"),
        ("0000-12-31T23:30:00-01:00", "0001-01-01T00:30:00"),
        ("2024-02-29T23:59:60-23:59", "2024-03-01T23:59:00"),
    ],
)
def test_what_the_rust_family_reads(text: str, iso: str) -> None:
    """Every relaxation, and what becomes of what a datetime cannot hold."""
    instant = parse_timestamp(text)
    assert instant == datetime.fromisoformat(iso).replace(tzinfo=UTC)
    assert instant.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Z",
        "20260102T030405Z",
        "2026-W01-1T00:00:00Z",
        "2026-01-02",
        "2026-01-02T03:04Z",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:60:00Z",
        "2026-01-02T03:04:61Z",
        "2026-02-30T03:04:05Z",
        "2026-13-01T03:04:05Z",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+02",
        "2026-01-02T03:04:05+02:60",
        "2026-01-02T03:04:05Zx",
        "12026-01-02T03:04:05Z",
        "+12026-01-02T03:04:05Z",
        "-0001-01-02T03:04:05Z",
        "0000-01-02T03:04:05Z",
        "+" + "9" * 5000 + "-01-02T03:04:05Z",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00+00:01",
        "1767323045",
        "٢٠٢٦-01-02T03:04:05Z",
        "2026-01-02T03:04:05Z\n2",
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_the_rest_is_refused(text: str) -> None:
    """With our error, and with the beginning of the text."""
    with pytest.raises(SerializationError, match=r"^timestamp "):
        parse_timestamp(text)
