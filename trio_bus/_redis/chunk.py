"""Some records that are sent one behind the other, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator

import trio

from trio_bus._entry_id import EntryId

from .appending import Part, Refused, results
from .owed import Owed
from .pipeline import Pipeline

_MOST = 1000
_LARGEST = 1024 * 1024


@trio.lowlevel.enable_ki_protection
async def append_chunk(
    pipeline: Pipeline, parts: Iterator[Part]
) -> tuple[list[EntryId | Exception], BaseException | None]:
    """Send the next parts, each while the following one is packed, and wait for all answers.

    Return an id, or an error of its own, for each record; and why the connection was lost, if it
    was. Cancelled, what is not written yet is not sent.
    """
    sent: list[tuple[Owed, Refused]] = []
    found: list[EntryId | Exception] = []
    try:
        await _send(pipeline, parts, sent)
        for number, (owed, refused) in enumerate(sent):
            if not (number and owed.arrived):  # the first in any case: that is a checkpoint
                await owed.wait()
            found += results(owed, refused)
    except BaseException:
        for owed, _ in sent:
            pipeline.leave(owed)
        raise
    return found, sent[-1][0].cause


async def _send(
    pipeline: Pipeline, parts: Iterator[Part], sent: list[tuple[Owed, Refused]]
) -> None:
    count = size = 0
    for data, commands, refused in parts:
        sent.append((await pipeline.begin(data, commands), refused))
        count += commands
        size += len(data)
        if count >= _MOST or size >= _LARGEST:
            return
