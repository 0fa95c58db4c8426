"""How far ``publish`` is, for somebody who watches."""

from __future__ import annotations

import os
import stat
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress


class LineProgress:
    """A bar on standard error, if that is a terminal, rich is there and the input is not typed."""

    def __init__(self, fd: int) -> None:
        self._progress = None if os.isatty(fd) or not sys.stderr.isatty() else _bars()
        self._lines = 0
        if self._progress is not None:
            self._progress.add_task("published", total=_size(fd), lines=0)

    def advance(self, size: int, lines: int) -> None:
        """Count bytes and lines that were dealt with."""
        self._lines += lines
        if self._progress is not None:
            task = self._progress.task_ids[0]
            self._progress.update(task, advance=size, lines=self._lines)
            self._progress.refresh()

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()


def _bars() -> Progress | None:
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[lines]:,} lines"),
        console=Console(stderr=True),
        auto_refresh=False,  # rich would start a thread
        transient=True,
    )


def _size(fd: int) -> int | None:
    status = os.fstat(fd)
    return status.st_size if stat.S_ISREG(status.st_mode) else None
