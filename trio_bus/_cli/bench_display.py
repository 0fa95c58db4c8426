"""What ``trio-bus bench`` shows: a bar while it measures, a table at the end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .console import PipeConsole

if TYPE_CHECKING:
    from .bench import Report


@final
class Display:
    """Draws the bar on standard error, if that is a terminal, and the table on standard output."""

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

    def table(self, report: Report) -> None:
        """Show all medians, and what trio_bus reaches of each."""
        console = PipeConsole(highlight=False)
        fancy = console.is_terminal
        if not fancy:
            console.width = 100
        table = Table(
            title=f"{report.server}, payloads of {report.size:,} bytes, "
            f"medians of {report.rounds} rounds",
            title_justify="left",
            title_style="dim",
            box=box.SIMPLE_HEAD if fancy else box.ASCII2,
            header_style="dim",
        )
        table.add_column("publish")
        table.add_column("with")
        table.add_column("messages/s", justify="right")
        table.add_column("trio_bus is", justify="right")
        shown = ""
        for result in report.results:
            if shown and result.work != shown:
                table.add_section()
            work = result.work if result.work != shown else ""
            shown = result.work
            table.add_row(work, result.client, f"{result.rate:,.0f}", f"{result.ours:.2f} x")
        console.print(table)
