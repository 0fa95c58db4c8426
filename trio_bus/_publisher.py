"""Storing records: attempts, until they are stored or there is no more time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, final

import attrs
import trio

from ._backoff import Backoff
from ._chance import chance
from ._entry_id import EntryId
from ._errors import ConnectionLost, NotPersisted, OutcomeUnknown, RemoteError
from ._observer import Scope
from ._once import Append

if TYPE_CHECKING:
    from ._backend import Record, StreamBackend
    from ._notifier import Notifier
    from ._options import BusOptions

Outcome = EntryId | Exception

_IDS = {EntryId}

_BACKOFF = Backoff(first=0.05, factor=2.0, cap=5.0, jitter=1.0)
_SHORTEST = 0.01
"""Seconds: full jitter may say zero, and an error loop must never run hot."""

TRANSIENT = frozenset(
    {
        *("LOADING", "BUSY", "TRYAGAIN"),  # it says itself that this is a matter of time
        *("READONLY", "MASTERDOWN", "CLUSTERDOWN"),  # a failover is under way
        *("NOREPLICAS", "MISCONF"),  # its replicas, or its disk, may come back
    }
)
"""Refusals that heal by themselves. All of them come before anything is executed.

A full server (OOM) is not among them: whoever publishes should know, and not press on.
"""


@attrs.define(eq=False)
class _Item:
    """One record on its way."""

    append: Append
    outcome: Outcome
    doubt: OutcomeUnknown | NotPersisted | None = None
    """What an attempt said that may have stored it; it is not forgotten when a later one fails."""

    def __attrs_post_init__(self) -> None:
        self._remember()

    def take(self, outcome: Outcome) -> None:
        """Take what another attempt said."""
        self.outcome = outcome
        self._remember()

    def _remember(self) -> None:
        known = isinstance(self.doubt, NotPersisted)
        if isinstance(self.outcome, OutcomeUnknown | NotPersisted) and not known:
            self.doubt = self.outcome

    def conclude(self) -> Outcome:
        """Return the last word: the last outcome, unless that says less than one before it."""
        outcome, doubt = self.outcome, self.doubt
        if doubt is None or isinstance(outcome, EntryId) or type(outcome) is type(doubt):
            return outcome
        final = (
            NotPersisted(doubt.entry_id, doubt.local, doubt.replicas, doubt.wanted)
            if isinstance(doubt, NotPersisted)
            else OutcomeUnknown(f"an earlier attempt may have stored it; the last one: {outcome}")
        )
        final.__cause__ = outcome
        return final


@final
class Publisher:
    """Appends by way of a backend, and tries again what may be tried again.

    What certainly did not happen may be tried again for any record, and what may have happened
    only for one that is stored `Once`, within its window. A record is not tried again where that
    would put it behind one that stands after it in the list and is, or may be, stored.
    """

    def __init__(
        self,
        backend: StreamBackend,
        options: BusOptions,
        notifier: Notifier,
        check_open: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._timeout = options.publish_timeout
        self._notifier = notifier
        self._check_open = check_open

    async def store(
        self, appends: Sequence[Append], replicas: int | None = None
    ) -> Sequence[Outcome]:
        """Append in order; an id, or the error of the last attempt, for each.

        Args:
          appends: What to store.
          replicas: None, or how many replicas must have it on disk besides the server itself.

        Cancellation: some or all of them may have been stored; while it waits between two attempts,
        nothing more is sent.
        """
        began = trio.current_time()
        outcomes = await self._attempt(appends, replicas, began)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                return await self.go_on(appends, outcomes, began, replicas)
        return outcomes

    async def store_plain(self, topic: str, records: Sequence[Record]) -> Sequence[Outcome]:
        """Append records without a key to one topic; otherwise like `store`.

        Nothing is made that only a failure needs.
        """
        began = trio.current_time()
        outcomes = await self._backend.append(topic, records)
        if set(map(type, outcomes)) == _IDS:
            return outcomes
        return await self.go_on([Append(topic, record) for record in records], outcomes, began)

    async def go_on(
        self,
        appends: Sequence[Append],
        outcomes: Sequence[Outcome],
        began: float,
        replicas: int | None = None,
    ) -> Sequence[Outcome]:
        """Do what is left to `store` after a first attempt, which began then and has failed."""
        items = [_Item(*pair) for pair in zip(appends, outcomes, strict=True)]
        left = items
        tries = 0
        while True:
            tries += 1
            pause = self._pause(tries, began)
            left = _to_try_again(left, None if pause is None else self._age(began) + pause)
            if pause is None or not left:
                break
            self._tell_of_attempt(left)
            await trio.sleep(pause)
            self._check_open()
            with trio.move_on_at(began + _shortest_window(left)) as scope:
                again = await self._attempt([item.append for item in left], replicas, began)
                for item, outcome in zip(left, again, strict=True):
                    item.take(outcome)
            if scope.cancelled_caught:
                _give_up(left)
                break
        return [self._conclude(item) for item in items]

    def _pause(self, tries: int, began: float) -> float | None:
        """Return how long to wait before the next attempt; None if there is none.

        The last one is made when the time is up.
        """
        return pause_within(tries, began + self._timeout)

    def _age(self, began: float) -> float:
        return trio.current_time() - began

    async def _attempt(
        self, appends: Sequence[Append], replicas: int | None, began: float
    ) -> Sequence[Outcome]:
        if replicas is not None:
            return await self._backend.append_persisted(appends, replicas)
        if len(appends) == 1:  # the way of most messages
            (one,) = appends
            once = () if one.once is None else (one.once,)
            return await self._backend.append(one.topic, (one.record,), once)
        return await self._append_many(appends, began)

    async def _append_many(self, appends: Sequence[Append], began: float) -> Sequence[Outcome]:
        """Append to each topic in turn; once the connection and the time are lost, to no more."""
        topics: dict[str, list[int]] = {}
        for place, append in enumerate(appends):
            topics.setdefault(append.topic, []).append(place)
        outcomes: dict[int, Outcome] = {}
        lost: Exception | None = None
        for topic, places in topics.items():
            if lost is not None and self._age(began) >= self._timeout:
                outcomes.update((place, _not_tried(lost)) for place in places)
                continue
            once = [appends[place].once for place in places]
            found = await self._backend.append(
                topic,
                [appends[place].record for place in places],
                once if any(once) else (),
            )
            outcomes.update(zip(places, found, strict=True))
            lost = found[-1] if type(found[-1]) is ConnectionLost else None
        return [outcomes[place] for place in range(len(appends))]

    def _tell_of_attempt(self, left: list[_Item]) -> None:
        """Tell the observer of an attempt that is not the last: once for each topic."""
        first = {item.append.topic: item.outcome for item in reversed(left)}
        for topic, error in reversed(first.items()):
            assert isinstance(error, Exception)
            self._notifier.at(topic).error(Scope.PUBLISH, error)

    def _conclude(self, item: _Item) -> Outcome:
        outcome = item.conclude()
        if isinstance(outcome, Exception):
            self._notifier.at(item.append.topic).error(Scope.PUBLISH, outcome)
        return outcome


def _to_try_again(items: list[_Item], age: float | None) -> list[_Item]:
    """Return those that may be tried again, so many seconds after the first attempt began."""
    if age is None:
        return []
    again: list[_Item] = []
    overtaken: set[str] = set()  # topics in which something behind is stored, or may be
    for item in reversed(items):
        topic, once = item.append.topic, item.append.once
        if isinstance(item.outcome, EntryId):
            overtaken.add(topic)
            continue
        if item.doubt is None:
            possible = topic not in overtaken
        else:
            # Past its window it might be stored twice. Overtaken it is not: a connection executes
            # in order, so that if something sent behind it was stored, this one was before.
            possible = once is not None and age < once.window
            overtaken.add(topic)
        if possible and is_transient(item.outcome):
            again.append(item)
    again.reverse()
    return again


def _shortest_window(items: list[_Item]) -> float:
    """Return how long an attempt may be under way: a later one might be stored twice."""
    windows = [
        item.append.once.window
        for item in items
        if item.doubt is not None and item.append.once is not None
    ]
    return min(windows, default=inf)


def _give_up(items: list[_Item]) -> None:
    """Note that an attempt was cancelled: what was not in doubt before it is now."""
    for item in items:
        if item.doubt is None:
            item.take(OutcomeUnknown("the attempt was given up; it may have been stored"))


def pause_after(tries: int) -> float:
    """Choose the seconds to wait after so many failures in a row."""
    return max(_SHORTEST, _BACKOFF.delay_after(tries, chance.random))


def pause_within(tries: int, until: float) -> float | None:
    """Choose the seconds to wait as `pause_after` does, at most until then; None: it is past.

    A rest is reckoned from the end: a timeout less an age may leave one that is too small for the
    clock to show, and that would never pass.
    """
    pause = min(pause_after(tries), until - trio.current_time())
    return pause if pause > 0 else None


def is_transient(error: Exception) -> bool:
    """Tell whether another attempt may go better."""
    if isinstance(error, RemoteError):
        return error.code in TRANSIENT
    return isinstance(error, ConnectionLost | NotPersisted)


def _not_tried(cause: Exception) -> ConnectionLost:
    error = ConnectionLost(f"not tried, since there was no connection: {cause}")
    error.__cause__ = cause
    return error
