"""What the demo shows: notes and bars while it runs, tables at the end."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import TextIO, final

import trio
from rich import box
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from .console import PipeConsole
from .failing import hush
from .verdict import Check

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WARMTH = ((4, "#5f87d7"), (8, "#5fafaf"), (12, "#87af87"), (16, "#d7af5f"), (99, "#d7875f"))


@final
class Display:
    """Writes to standard output: with colours and bars to a terminal, plain text elsewhere.

    When nobody reads that any more it calls ``on_unread``, and writes nothing from then on.
    """

    def __init__(self, *, plain: bool) -> None:
        self.on_unread: Callable[[], object] = _nothing
        output: TextIO = sys.stdout
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")  # it may be a terminal that knows ASCII only
        self._console = PipeConsole(
            highlight=False,
            no_color=True if plain else None,
            force_terminal=False if plain else None,
        )
        self._fancy = self._console.is_terminal
        self._progress = Progress(
            TextColumn("  {task.description:<9}"),
            BarColumn(bar_width=40, complete_style="cyan", finished_style="green"),
            MofNCompleteColumn(),
            console=self._console,
            auto_refresh=False,  # rich would start a thread
            disable=not self._fancy,
        )
        self._bars: dict[str, TaskID] = {}

    def note(self, text: str) -> None:
        """Say what happened."""
        self._print(f"[dim]·[/] {escape(text)}" if self._fancy else text, soft_wrap=True)

    def move(self, name: str, done: int) -> None:
        """Set a bar; it is drawn with the next frame."""
        self._progress.update(self._bars[name], completed=done)

    async def draw(
        self,
        total: int,
        *names: str,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Show a bar for each name and draw them ten times a second, until cancelled."""
        self._bars = {name: self._progress.add_task(name, total=total) for name in names}
        with self._progress:
            task_status.started()
            while True:
                self._progress.refresh()
                await trio.sleep(0.1)

    def means(self, means: dict[str, Fraction]) -> None:
        """Show the mean of each month: a row for each year."""
        table = Table(
            title="Seattle, mean temperature in degrees Celsius",
            title_justify="left",
            title_style="dim",
            box=None,
            padding=(0, 1, 0, 0),
        )
        table.add_column("", style="dim")
        for name in _MONTHS:
            table.add_column(name, justify="right", header_style="dim")
        for year in sorted({month[:4] for month in means}):
            cells = [means.get(f"{year}/{month:02}") for month in range(1, 13)]
            table.add_row(year, *map(_temperature, cells))
        self._print("")
        self._print(table)

    def proof(self, checks: list[Check]) -> None:
        """Show the checks, and whether they hold."""
        table = Table(box=box.SIMPLE_HEAD if self._fancy else box.ASCII2, header_style="dim")
        table.add_column("what was counted")
        table.add_column("found", justify="right")
        table.add_column("expected", justify="right", style="dim")
        table.add_column("")
        for check in checks:
            verdict = Text("ok", style="green") if check.ok else Text("WRONG", style="bold red")
            table.add_row(check.what, f"{check.found:,}", check.expected, verdict)
        self._print("")
        self._print(table)

    def _print(self, shown: str | Table, *, soft_wrap: bool = False) -> None:
        try:
            self._console.print(shown, soft_wrap=soft_wrap)
        except BrokenPipeError:
            hush()
            self._console.quiet = True
            self.on_unread()


def _nothing() -> None:
    """Go on."""


def _temperature(mean: Fraction | None) -> Text:
    if mean is None:
        return Text("-")
    style = next(style for limit, style in _WARMTH if mean < limit)
    return Text(f"{float(mean):.1f}", style=style)
