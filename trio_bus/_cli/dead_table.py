"""What was given up, as a table for people at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from .failing import one_line

if TYPE_CHECKING:
    from trio_bus._dead_letters import DeadMessage

COLUMNS = ("id", "group", "given up", "why", "error")

Draw = Callable[[Sequence[str], Iterable[Sequence[str]]], None]
"""Draws a table: its columns, and its rows."""


def drawer() -> Draw | None:
    """Return what draws on standard output; None if that is no terminal, or rich is not there."""
    try:
        from rich import box  # noqa: PLC0415 - an extra
        from rich.table import Table  # noqa: PLC0415 - an extra
        from rich.text import Text  # noqa: PLC0415 - an extra

        from .console import PipeConsole  # noqa: PLC0415 - it needs the extra
    except ImportError:
        return None
    console = PipeConsole(highlight=False)

    def draw(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        table = Table(*columns, box=box.SIMPLE_HEAD, header_style="dim")
        for row in rows:
            table.add_row(*(Text(one_line(cell)) for cell in row))
        console.print(table)

    return draw if console.is_terminal else None


def row_of(message: DeadMessage) -> Sequence[str]:
    """Return what a row says of one."""
    letter = message.dead_letter
    return (
        str(message.id),
        letter.group,
        f"{letter.last_received:%Y-%m-%d %H:%M:%S}",
        f"{letter.cause.value}, {letter.attempts}x",
        f"{letter.error_type}: {letter.error_text}",
    )
