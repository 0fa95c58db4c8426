"""How what was found is laid out: which figures stand beside each other, and what they are."""

from __future__ import annotations

import attrs

from .works import Kind


@attrs.frozen
class Column:
    """One figure of all rows."""

    figure: str
    title: str
    decimals: int = 0

    def text(self, value: float) -> str:
        """Return a figure as it is shown."""
        return f"{value:,.{self.decimals}f}"


@attrs.frozen
class Sheet:
    """A table of works whose figures are the same."""

    title: str
    kinds: tuple[Kind, ...]
    columns: tuple[Column, ...]
    """The first is the main one: by it clients are compared."""
    compared: bool = True
    """Whether others do that too."""


_PEAK = Column("peak_mib", "peak MiB")
SHEETS = (
    Sheet(
        "throughput",
        (Kind.PUBLISH, Kind.CONSUME, Kind.BATCHES),
        (Column("rate", "messages/s"), Column("cpu_us", "CPU µs each", 1), _PEAK),
    ),
    Sheet(
        "latency, µs",
        (Kind.LATENCY,),
        (
            Column("p50_us", "p50"),
            Column("p95_us", "p95"),
            Column("p99_us", "p99"),
            Column("p999_us", "p99.9"),
        ),
    ),
    Sheet(
        "growth",
        (Kind.SUBSCRIPTIONS, Kind.BACKLOG),
        (Column("rate", "messages/s"), Column("cpu_us", "CPU µs each", 1), _PEAK),
        compared=False,
    ),
    Sheet(
        "nothing to do",
        (Kind.IDLE,),
        (Column("cpu_s_per_min", "CPU s per minute", 2), _PEAK),
        compared=False,
    ),
    Sheet(
        "both ends",
        (Kind.LIFE,),
        (Column("start_ms", "start, ms", 1), Column("shutdown_ms", "shutdown, ms", 1)),
        compared=False,
    ),
)
MAIN = {kind: sheet.columns[0].figure for sheet in SHEETS for kind in sheet.kinds}
