"""Reading and writing what the shell gave us, without blocking trio.

The descriptors are shared with other processes: they are never switched to non-blocking, which
those would notice. We wait until one is ready, then read or write what cannot block.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat

import trio

_READ_SIZE = 256 * 1024
_WRITE_SIZE = min(select.PIPE_BUF, 4096)  # a pipe that is writable has room for this


async def read_some(fd: int) -> bytes:
    """Wait for bytes and return them; none at the end."""
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return await trio.to_thread.run_sync(os.read, fd, _READ_SIZE)
    while True:
        try:
            await trio.lowlevel.wait_readable(fd)
        except PermissionError:  # a device that is always ready, like /dev/null
            await trio.lowlevel.checkpoint()
        with contextlib.suppress(BlockingIOError):  # another process was faster
            return os.read(fd, _READ_SIZE)


async def write_all(fd: int, data: bytes) -> None:
    """Write bytes where the other end may read slowly, or not at all.

    Cancellation: a part of *data* may have been written.

    Raises:
      OSError: as ``os.write`` does; `BrokenPipeError` when nobody reads.
    """
    rest = memoryview(data)
    while rest:
        try:
            await trio.lowlevel.wait_writable(fd)
        except PermissionError:  # a file, which is always ready
            await trio.lowlevel.checkpoint()
        with contextlib.suppress(BlockingIOError):  # another process was faster
            rest = rest[os.write(fd, rest[:_WRITE_SIZE]) :]


async def wait_reader_gone(fd: int) -> None:
    """Wait until nobody reads the pipe *fd* any more; for ever where that cannot be told."""
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        try:
            await trio.lowlevel.wait_readable(fd)  # our end becomes "readable" with its error
        except OSError:
            await trio.sleep_forever()
    else:
        await trio.sleep_forever()
