"""What an operator does with dead letters: read them, and send them back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, cast, final

import attrs
import trio

from ._dead_letter import DeadLetter, dead_letter_of, history_of, without_context
from ._entry_id import EntryId
from ._errors import BusError, ValidationError
from ._graves import Grave, Redriven
from ._names import check_text, shown

if TYPE_CHECKING:
    from ._backend import Buried, Record, StreamBackend
    from ._gate import Gate
    from ._message import Message

_PER_CALL = 100
SENT_BACK = frozenset({Redriven.DONE, Redriven.COPIED})


@attrs.frozen
class DeadMessage:
    """One entry that a group gave up, where it lies."""

    id: EntryId
    """Its id where it lies; `Bus.redrive` takes it."""
    dead_letter_topic: str | None
    """The topic that it lies in; None if the group itself keeps it, under the id it always had."""
    dead_letter: DeadLetter
    """Where it comes from, and why it was given up."""
    history: tuple[DeadLetter, ...]
    """How it was given up before, the first time first: it was sent back since."""
    record: Record = attrs.field(repr=False)
    """Its fields and bytes, as they were published."""
    message: Message | None = attrs.field(repr=False)
    """What it decodes to; None if it cannot be decoded."""
    error: BusError | None = None
    """Why it cannot be decoded."""


@attrs.frozen
class RedriveResult:
    """What became of one dead letter: one of `Redriven`, its own error, or None if not tried."""

    id: EntryId
    """Where it lay."""
    dead_letter: DeadLetter
    result: Redriven | Exception | None


@attrs.frozen
class RedriveOutcome:
    """What became of each dead letter that was chosen, in the order in which they are listed."""

    results: tuple[RedriveResult, ...]
    missing: tuple[EntryId, ...] = ()
    """The ids that were asked for, and that no dead letter there has."""

    @property
    def redriven(self) -> int:
        """How many were sent back."""
        return sum(it.result in SENT_BACK for it in self.results)


@final
class DeadLetters:
    """The dead letters of a topic: iterate over it with ``async for``, as often as you like."""

    __slots__ = ("_backend", "_check_open", "_gate", "_group", "_topic")

    def __init__(
        self,
        backend: StreamBackend,
        gate: Gate,
        check_open: Callable[[], None],
        topic: str,
        group: str | None,
    ) -> None:
        self._backend = backend
        self._gate = gate
        self._check_open = check_open
        self._topic = topic
        self._group = group

    def __aiter__(self) -> AsyncIterator[DeadMessage]:
        """Begin with the first."""
        return _Walk(self)

    async def places(self) -> list[str | None]:
        """Return the groups that keep dead ones, and None for the topic itself."""
        self._check_open()
        info = await self._backend.info(self._topic)
        kept = [it.name for it in info.groups if it.dead]
        wanted: list[str | None] = [it for it in kept if self._group in {None, it}]
        return [*wanted, None]

    async def portion(
        self, group: str | None, after: EntryId | None
    ) -> tuple[list[DeadMessage], EntryId | None]:
        """Return some of one place, and where to go on."""
        self._check_open()
        rows, following = await self._backend.buried(self._topic, group, after)
        return list(self._messages(rows, group)), following

    def _messages(self, rows: Sequence[Buried], group: str | None) -> Iterator[DeadMessage]:
        for entry_id, record in rows:
            letter = dead_letter_of(record)
            if letter is not None and self._group in {None, letter.group}:
                lies_in = self._topic if group is None else None
                yield self._message(entry_id, lies_in, letter, record)

    def _message(
        self, entry_id: EntryId, lies_in: str | None, letter: DeadLetter, record: Record
    ) -> DeadMessage:
        own, history = without_context(record), history_of(record)[:-1]
        try:
            message = self._gate.decode(own)
        except BusError as error:
            return DeadMessage(entry_id, lies_in, letter, history, own, None, error)
        return DeadMessage(entry_id, lies_in, letter, history, own, message)


class _Walk:
    """One way through them, a portion at a time. There is nothing in it that needs closing."""

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters
        self._places: list[str | None] | None = None
        self._after: EntryId | None = None
        self._ready: Iterator[DeadMessage] = iter(())

    def __aiter__(self) -> AsyncIterator[DeadMessage]:
        return self

    async def __anext__(self) -> DeadMessage:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._places is None:
            self._places = await self._letters.places()
        while (message := next(self._ready, None)) is None:
            if not self._places:
                raise StopAsyncIteration
            portion, self._after = await self._letters.portion(self._places[0], self._after)
            if self._after is None:
                del self._places[0]
            self._ready = iter(portion)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return message


@attrs.frozen(kw_only=True)
class Choice:
    """Which dead letters are meant."""

    ids: Collection[EntryId] | None
    error_type: str | None
    everything: bool

    def __attrs_post_init__(self) -> None:
        """Check that one choice was made."""
        made = (self.ids is not None, self.error_type is not None, self.everything)
        if sum(made) != 1:
            raise ValidationError("redrive: give one of ids, error_type and everything")
        if self.ids is not None:
            _check_ids(self.ids)
        if self.error_type is not None:
            check_text(self.error_type, "error_type")

    def means(self, message: DeadMessage) -> bool:
        """Tell whether this is one of them."""
        if self.ids is not None:
            return message.id in self.ids
        return self.everything or message.dead_letter.error_type == self.error_type


def _check_ids(ids: object) -> None:
    if isinstance(ids, str | bytes) or not isinstance(ids, Collection):
        raise ValidationError(f"ids: {shown(ids)} is no collection of EntryId")
    for entry_id in cast("Collection[object]", ids):
        if not isinstance(entry_id, EntryId):
            raise ValidationError(f"ids: {shown(entry_id)} is no EntryId; see EntryId.parse")


async def redrive(
    backend: StreamBackend, letters: DeadLetters, choice: Choice, *, dry_run: bool
) -> RedriveOutcome:
    """Choose first, then send back: what dies again meanwhile is not met a second time."""
    chosen = [_light(message) async for message in letters if choice.means(message)]
    results: list[RedriveResult] = []
    for at in range(0, len(chosen), _PER_CALL):
        part = chosen[at : at + _PER_CALL]
        outcomes = [None] * len(part) if dry_run else await backend.redrive([it[0] for it in part])
        results += [
            RedriveResult(entry_id, letter, outcome)
            for (_, entry_id, letter), outcome in zip(part, outcomes, strict=True)
        ]
    found = {it.id for it in results}
    missing = sorted(set(choice.ids or ()) - found)
    return RedriveOutcome(tuple(results), tuple(missing))


def _light(message: DeadMessage) -> tuple[Grave, EntryId, DeadLetter]:
    """Keep of it what is needed: it may be large, and there may be many."""
    letter = message.dead_letter
    lies_in = message.dead_letter_topic
    grave = Grave(letter.topic, letter.group, letter.entry_id, lies_in, message.id)
    return grave, message.id, letter
