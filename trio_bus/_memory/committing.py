"""Committing: outputs and the end of an entry, in one step."""

from __future__ import annotations

from trio_bus._backend import Commit
from trio_bus._entry_id import EntryId
from trio_bus._once import Append
from trio_bus._settled import Settled

from .appending import append_once
from .custody import Custody
from .errors import StreamError
from .server import Server
from .stream_commands import xdel


def commit(server: Server, custody: Custody, word: Commit, now_ms: int) -> Settled:
    """Append all outputs and finish the entry if it is ours; otherwise do nothing.

    Raises:
      StreamError: an output is refused, and none is there any more; WRONGTYPE.
    """
    why = custody.why_not_ours(word.receipt)
    if why is None:
        _append_all(server, word.outputs, now_ms)
        custody.place().group.acknowledge(word.receipt.id)
        return Settled.DONE
    if why is Settled.LOST and custody.is_finished(word.receipt.id):
        return Settled.FINISHED
    return why


def _append_all(server: Server, outputs: tuple[Append, ...], now_ms: int) -> None:
    added: list[tuple[Append, EntryId]] = []
    try:
        for output in outputs:
            earlier = output.once and server.marks.find(output.topic, output.once.key, now_ms)
            if earlier is None:
                entry_id = append_once(server, output.topic, output.record, output.once, now_ms)
                added.append((output, entry_id))
    except StreamError:
        for output, entry_id in added:
            xdel(server.store, output.topic, [str(entry_id)])
            if output.once is not None:
                server.marks.remove(output.topic, output.once.key)
        raise
