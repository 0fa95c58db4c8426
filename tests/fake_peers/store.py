"""Where the libraries that are played keep what is published: what their servers would do."""

from __future__ import annotations

from collections import defaultdict

STREAMS: defaultdict[str, list[bytes]] = defaultdict(list)
PENDING: defaultdict[str, set[int]] = defaultdict(set)
READ: defaultdict[str, int] = defaultdict(int)
LOSES: set[str] = set()
"""What goes wrong: ``publish``, ``ack``."""


def publish(stream: str, payload: bytes) -> None:
    """Keep it."""
    if "publish" not in LOSES:
        STREAMS[stream].append(payload)


def read(stream: str, count: int) -> list[tuple[int, bytes]]:
    """Give the next ones, which are pending from then on."""
    first = READ[stream]
    found = list(enumerate(STREAMS[stream]))[first : first + count]
    READ[stream] += len(found)
    PENDING[stream].update(number for number, _ in found)
    return found


def ack(stream: str, number: int) -> None:
    """Forget that it is pending."""
    if "ack" not in LOSES:
        PENDING[stream].discard(number)


def forget() -> None:
    """Begin anew."""
    for kept in (STREAMS, PENDING, READ, LOSES):
        kept.clear()
