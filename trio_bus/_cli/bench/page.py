"""The part of a page of the manual that shows what was found: tables in reStructuredText."""

from __future__ import annotations

from collections.abc import Sequence

from .report import Report, Row
from .sheets import SHEETS, Sheet

_HEAD = """\
.. Written by ``trio-bus bench --save``: not by hand.

{server}, {python}, {machine}; payloads of {size:,} bytes; medians of {rounds} rounds.
{missing}
"""


def page(report: Report) -> str:
    """Return a table for each sheet that has rows, below what they were measured on."""
    missing = f"Not installed: {', '.join(report.missing)}.\n" if report.missing else ""
    head = _HEAD.format(
        server=report.server,
        python=report.python,
        machine=report.machine,
        size=report.size,
        rounds=report.rounds,
        missing=missing,
    )
    sheets = [(sheet, [it for it in report.rows if it.kind in sheet.kinds]) for sheet in SHEETS]
    return head + "\n".join(_table(sheet, rows) for sheet, rows in sheets if rows)


def _table(sheet: Sheet, rows: list[Row]) -> str:
    titles = [sheet.title, *(column.title for column in sheet.columns)]
    if sheet.compared:
        titles = [titles[0], "with", *titles[1:], "trio_bus is"]
    lines = [".. list-table::", "   :header-rows: 1", "", *_line(titles)]
    shown = ""
    for row in rows:
        lines += _line(_cells(sheet, row, row.work if row.work != shown else ""))
        shown = row.work
    return "\n".join([*lines, ""])


def _cells(sheet: Sheet, row: Row, name: str) -> list[str]:
    figures = [column.text(row.figures[column.figure]) for column in sheet.columns]
    if not sheet.compared:
        return [name, *figures]
    return [name, row.client, *figures, f"{row.ours:.2f} x"]


def _line(cells: Sequence[str]) -> list[str]:
    first, *others = cells
    return [f"   * - {first}".rstrip(), *(f"     - {cell}" for cell in others)]
