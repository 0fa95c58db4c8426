"""What ``trio-bus bench`` found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import attrs

from .clients import OURS, Client
from .order import Figures
from .sheets import MAIN
from .works import Kind, Work

Found = Mapping[tuple[Work, Client], Sequence[Figures]]
"""The figures of each round."""


@attrs.frozen(kw_only=True)
class Row:
    """What one client reached in one kind of work."""

    work: str
    kind: Kind
    client: str
    figures: Figures
    """The median of all rounds, of each."""
    ours: float
    """The main figure of trio_bus divided by this one."""


@attrs.frozen(kw_only=True)
class Report:
    """What the command found."""

    server: str
    python: str
    machine: str
    size: int
    rounds: int
    missing: list[str]
    """Peers that were asked for and are not installed here."""
    rows: list[Row]


def rows(found: Found) -> list[Row]:
    """Return a row for each pair, in their order."""
    medians = {pair: _medians(rounds) for pair, rounds in found.items()}
    return [
        Row(
            work=work.name,
            kind=work.kind,
            client=client.name,
            figures=figures,
            ours=medians[work, OURS][MAIN[work.kind]] / max(figures[MAIN[work.kind]], 1e-9),
        )
        for (work, client), figures in medians.items()
    ]


def _medians(rounds: Sequence[Figures]) -> Figures:
    return {name: median(figures[name] for figures in rounds) for name in rounds[0]}
