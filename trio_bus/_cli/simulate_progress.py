"""How far ``simulate`` is, for somebody who watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

Advance = Callable[[float, int], None]
"""Called with the part that is done, from 0 to 1, and the number of runs."""


@contextmanager
def progress() -> Generator[Advance]:
    """Show a bar on standard error inside the block, if that is a terminal and rich is there."""
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - an extra
        from rich.progress import TimeElapsedColumn as Elapsed  # noqa: PLC0415 - an extra
    except ImportError:
        yield lambda _done, _runs: None
        return
    bars = Progress(
        TextColumn("simulated"),
        BarColumn(),
        TextColumn("{task.fields[runs]:,} runs"),
        Elapsed(),
        console=Console(stderr=True),
        auto_refresh=False,  # rich would start a thread
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    task = bars.add_task("", total=1.0, runs=0)
    with bars:
        yield lambda done, runs: bars.update(task, completed=done, runs=runs, refresh=True)
