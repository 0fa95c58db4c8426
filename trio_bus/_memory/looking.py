"""Looking around: what is due is appended, the group is tended, what can be taken is told."""

from __future__ import annotations

from collections.abc import Callable

from trio_bus._errors import RemoteError
from trio_bus._look import Look

from . import private
from .custody import Custody, Place
from .errors import StreamError
from .retaining import retain
from .schedule import Schedule
from .store import Store
from .stream_commands import xadd
from .takeover import claimable, tend

_MOST_DUE = 100
"""How many scheduled messages one look appends."""


def look(
    store: Store, custody: Custody, schedule: Schedule, now_ms: int, wake: Callable[[], None]
) -> Look:
    """Look around for one membership; see `GroupMember.look`. *wake* wakes the group.

    Raises:
      StreamError: NOGROUP, WRONGTYPE.
    """
    place = custody.place()
    private.keep(store, custody.membership, now_ms)
    private.remove_expired(store, custody.membership.topic, now_ms)
    refusal = _append_due(store, custody.membership.topic, schedule, now_ms)
    trimmed = retain(store, custody.membership, now_ms)
    tended = tend(custody, now_ms)
    if tended.moved:
        wake()
    return Look(
        claimable=claimable(custody, now_ms),
        due_in=_due_in(place, schedule, now_ms, stuck=refusal is not None),
        refusal=None if refusal is None else RemoteError(str(refusal)),
        gone=tuple(tended.gone),
        trimmed=trimmed,
    )


def _append_due(store: Store, topic: str, schedule: Schedule, now_ms: int) -> StreamError | None:
    """Append what is due; return why the stream does not take it: it stays then."""
    for waiting in schedule.due(now_ms, _MOST_DUE):
        try:
            xadd(store, topic, "*", waiting.record, now_ms)
        except StreamError as refusal:
            return refusal
        schedule.remove(waiting.uid)
    return None


def _due_in(place: Place, schedule: Schedule, now_ms: int, *, stuck: bool) -> float | None:
    """Return the seconds until the next is due; what is refused is no reason to look at once."""
    message = schedule.next_due(now_ms) if stuck else schedule.next_due()
    times = [at for at in (place.due.first_after(now_ms), message) if at is not None]
    return max(0.0, min(times) - now_ms) / 1000 if times else None
