"""What ``trio-bus bench`` shows: a bar while it measures, tables at the end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from trio_bus._cli.console import PipeConsole

from .report import Report, Row
from .sheets import SHEETS, Sheet


@final
class Display:
    """Draws the bar on standard error, if that is a terminal, and tables on standard output."""

    @contextmanager
    def progress(self, total: int) -> Generator[Callable[[], None]]:
        """Show a bar inside the block; each call of what it gives is one step."""
        console = Console(stderr=True)
        progress = Progress(
            TextColumn("measuring"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,  # rich would start a thread, and it would be measured
            transient=True,
            disable=not console.is_terminal,
        )
        bar = progress.add_task("", total=total)
        with progress:
            yield lambda: progress.update(bar, advance=1, refresh=True)

    def tables(self, report: Report) -> None:
        """Show all medians, and what trio_bus is of each."""
        console = PipeConsole(highlight=False)
        if not console.is_terminal:
            console.width = 110
        console.print(
            f"{report.server}, {report.python}, payloads of {report.size:,} bytes, "
            f"medians of {report.rounds} rounds"
        )
        for name in report.missing:
            console.print(f"{name} is not installed: not measured")
        for sheet in SHEETS:
            if rows := [row for row in report.rows if row.kind in sheet.kinds]:
                console.print(_table(sheet, rows, fancy=console.is_terminal))


def _table(sheet: Sheet, rows: list[Row], *, fancy: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD if fancy else box.ASCII2, header_style="dim")
    table.add_column(sheet.title)
    if sheet.compared:
        table.add_column("with")
    for column in sheet.columns:
        table.add_column(column.title, justify="right")
    if sheet.compared:
        table.add_column("trio_bus is", justify="right")
    shown = ""
    for row in rows:
        if sheet.compared and shown and row.work != shown:
            table.add_section()
        table.add_row(*_cells(sheet, row, row.work if row.work != shown else ""))
        shown = row.work
    return table


def _cells(sheet: Sheet, row: Row, name: str) -> list[str]:
    figures = [column.text(row.figures[column.figure]) for column in sheet.columns]
    if not sheet.compared:
        return [name, *figures]
    return [name, row.client, *figures, f"{row.ours:.2f} x"]
