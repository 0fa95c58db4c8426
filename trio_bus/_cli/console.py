"""What rich writes to, for the commands that draw."""

from __future__ import annotations

import errno
import os

from rich.console import Console


class PipeConsole(Console):
    """A console whose reader may go away. rich would raise `SystemExit` then, in whatever task."""

    def on_broken_pipe(self) -> None:
        """Leave it to whoever prints."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
