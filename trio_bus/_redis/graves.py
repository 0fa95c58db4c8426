"""The dead entries on a server: reading them, and sending them back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trio_bus._backend import Buried
from trio_bus._entry_id import EntryId
from trio_bus._errors import RemoteError
from trio_bus._graves import Grave, Redriven
from trio_bus._names import own_key

from . import scripts
from .errors import to_exception
from .link import Link
from .replies import as_entry_id, as_int, as_list, as_record, as_row, as_text, checked
from .resp import ErrorReply, Reply
from .schedule import wake_channel
from .scripts import ScriptCall

_ROWS = 100
_BYTES = 1024 * 1024
_PER_CALL = 10
"""Each may be large, and is compared with what it is a dead letter of."""
_ANSWERS = {
    scripts.DONE: Redriven.DONE,
    scripts.COPIED: Redriven.COPIED,
    scripts.LOST: Redriven.LOST,
    scripts.GONE: Redriven.GONE,
    scripts.UNFINISHED: Redriven.UNFINISHED,
    scripts.GROUP_MISSING: Redriven.GROUP_MISSING,
}


def notes_key(topic: str, group: str) -> str:
    """Name the hash that keeps the context of what a group gave up, and its history."""
    return own_key(topic, "notes", group)


async def buried(
    link: Link, topic: str, group: str | None, after: EntryId | None
) -> tuple[list[Buried], EntryId | None]:
    """Read some dead ones; see `StreamBackend.buried`."""
    start = "-" if after is None else f"({after}"
    call = ScriptCall(
        "buried", (topic, notes_key(topic, group or "")), (group or "", start, _ROWS, _BYTES)
    )
    rows, following = as_row(checked(await scripts.run(link, call)), 2)
    found = [as_row(row, 2) for row in as_list(rows)]
    more = as_text(following).removeprefix("(")
    return (
        [(as_entry_id(entry_id), as_record(fields)) for entry_id, fields in found],
        EntryId.parse(more) if more else None,
    )


async def redrive(link: Link, dead: Sequence[Grave]) -> list[Redriven | RemoteError]:
    """Send dead ones back, in one write; see `StreamBackend.redrive`."""
    chunks = list(_chunks(dead))
    replies = await scripts.run_many(
        link, [_call([dead[at] for at in places]) for places in chunks]
    )
    results: list[Redriven | RemoteError] = [Redriven.LOST] * len(dead)
    for places, reply in zip(chunks, replies, strict=True):
        for place, result in zip(places, _results(reply, len(places)), strict=True):
            results[place] = result
    return results


def _chunks(dead: Sequence[Grave]) -> Iterator[Sequence[int]]:
    """Put together what one call can do."""
    alike: dict[tuple[str, str, str | None], list[int]] = {}
    for at, grave in enumerate(dead):
        alike.setdefault((grave.topic, grave.group, grave.lies_in), []).append(at)
    for places in alike.values():
        yield from (places[at : at + _PER_CALL] for at in range(0, len(places), _PER_CALL))


def _call(graves: Sequence[Grave]) -> ScriptCall:
    first = graves[0]
    keys = (first.topic, notes_key(first.topic, first.group))
    ids = [str(it) for grave in graves for it in (grave.entry_id, grave.id or EntryId(0))]
    return ScriptCall(
        "redrive",
        keys if first.lies_in is None else (*keys, first.lies_in),
        (first.group, wake_channel(first.topic), *ids),
    )


def _results(reply: Reply, count: int) -> list[Redriven | RemoteError]:
    if isinstance(reply, ErrorReply):
        return [to_exception(reply) for _ in range(count)]
    return [_result(it) for it in as_list(reply)]


def _result(answer: Reply) -> Redriven | RemoteError:
    if isinstance(answer, bytes):
        return to_exception(ErrorReply(as_text(answer).removeprefix("-")))
    return _ANSWERS[as_int(answer)]
