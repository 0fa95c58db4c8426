"""What was found as a picture: bars, in SVG."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from xml.sax.saxutils import escape

from .clients import FLOOR, OURS, TRIO_FLOOR
from .report import Report, Row
from .sheets import SHEETS

_WIDTH, _LEFT, _RIGHT = 760, 210, 110
_BAR, _GAP, _TOP = 16, 34, 40
_COLOURS = {OURS.name: "#2f6f9f", TRIO_FLOOR.name: "#b9c4cc", FLOOR.name: "#d9dfe3"}
_OTHER = "#d08a4a"
_STYLE = "text { font: 12px sans-serif; fill: #333; } .work { font-weight: bold; }"


def chart(report: Report) -> str:
    """Return a bar for each rate that is compared, work by work; the longest is the fastest."""
    compared = [row for row in report.rows if row.kind in SHEETS[0].kinds]
    works = [list(rows) for _, rows in groupby(compared, key=lambda row: row.work)]
    height = _TOP + sum(_GAP + _BAR * len(rows) for rows in works)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="10" y="20">{escape(report.server)}: messages per second</text>',
        *_works(works),
        "</svg>",
    ]
    return "\n".join([*lines, ""])


def _works(works: Iterable[list[Row]]) -> Iterator[str]:
    top = _TOP
    for rows in works:
        yield f'<text class="work" x="10" y="{top + 14}">{escape(rows[0].work)}</text>'
        top += _GAP - _BAR
        fastest = max(row.figures["rate"] for row in rows)
        for row in rows:
            yield from _bar(row, top, row.figures["rate"] / fastest)
            top += _BAR
        top += _BAR


def _bar(row: Row, top: int, share: float) -> Iterator[str]:
    length = max(1, round(share * (_WIDTH - _LEFT - _RIGHT)))
    colour = _COLOURS.get(row.client, _OTHER)
    middle = top + _BAR - 4
    name = f'x="{_LEFT - 8}" y="{middle}" text-anchor="end"'
    yield f"<text {name}>{escape(row.client)}</text>"
    yield (
        f'<rect x="{_LEFT}" y="{top + 2}" width="{length}" height="{_BAR - 4}" fill="{colour}"/>'
    )
    yield f'<text x="{_LEFT + length + 6}" y="{middle}">{row.figures["rate"]:,.0f}</text>'
