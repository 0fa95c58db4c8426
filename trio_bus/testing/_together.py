"""Writes into a journal what becomes of deliveries that are handled together."""

# pyright: reportPrivateUsage=false
# Which of them a batch that fails concerns is told by no public call.

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from ._journal import Handler, Journal
from ._line import Line, What
from ._wording import headers_of, is_cancelled, kind_of

if TYPE_CHECKING:
    from trio_bus._batch import Batch
    from trio_bus._config import SubscriptionConfig
    from trio_bus._delivery import Delivery


@attrs.frozen
class Together:
    """Writes about the batches of one consumer."""

    journal: Journal
    actor: str
    config: SubscriptionConfig
    consumer: str

    def asked(self, max_size: int | None, max_wait: float, number: int) -> None:
        """Say that its program asks for a batch of that size, which waits for so long."""
        most = self.config.max_in_flight if max_size is None else max_size
        self._write(What.BATCHING, count=most, seconds=max_wait, batch=number)

    def got(self, deliveries: Sequence[Delivery], number: int) -> None:
        """Say that these are a batch, which has a number that no other batch has."""
        for delivery in deliveries:
            self._write(What.BATCHED, delivery, count=len(deliveries), batch=number)

    @contextmanager
    def handling(
        self,
        deliveries: Sequence[Delivery],
        details: Sequence[str] | None = None,
        *,
        yields: bool = False,
    ) -> Generator[None, None, None]:
        """Say that a handler starts with each, and, when the block is left, how it ended.

        An error is that of those that are open; where none is, that of the first.
        """
        about = (self.journal, self.actor, self.config, self.consumer)
        handlers = [Handler(*about, delivery) for delivery in deliveries]
        words = details or [""] * len(handlers)
        for handler, delivery, detail in zip(handlers, deliveries, words, strict=True):
            headers = headers_of(delivery.message)
            handler.say(What.STARTED, detail, yields=yields, headers=headers)
        try:
            yield
        except BaseException as error:
            _tell(handlers, deliveries, error)
            raise
        for handler in handlers:
            handler.say(What.SUCCEEDED)

    def _write(
        self,
        what: What,
        delivery: Delivery | None = None,
        *,
        count: int,
        seconds: float | None = None,
        batch: int | None = None,
    ) -> None:
        line = Line(
            time=self.journal.now(),
            actor=self.actor,
            what=what,
            topic=self.config.topic,
            group=self.config.group,
            consumer=self.consumer,
            entry_id=None if delivery is None else delivery.entry_id,
            delivery=None if delivery is None else delivery._holding.number,  # noqa: SLF001 - see above
            count=count,
            seconds=seconds,
            batch=batch,
        )
        self.journal.write(line)


@attrs.frozen
class Asking:
    """Iterates over batches, and says when each is asked for and what it is."""

    _together: Together
    _batches: AsyncIterator[Batch]
    _max_size: int | None
    _max_wait: float
    _number: Callable[[], int]

    def __aiter__(self) -> Asking:
        return self

    async def __anext__(self) -> Batch:
        number = self._number()
        self._together.asked(self._max_size, self._max_wait, number)
        batch = await anext(self._batches)
        self._together.got(batch.deliveries, number)
        return batch


def _tell(
    handlers: Sequence[Handler], deliveries: Sequence[Delivery], error: BaseException
) -> None:
    """Write how each handler of a batch ended that this ended."""
    ended = What.CANCELLED if is_cancelled(error) else What.FAILED
    concerned = [it._holding.open for it in deliveries]  # noqa: SLF001 - see above
    if ended is What.CANCELLED:
        concerned = [True] * len(handlers)
    elif not any(concerned):
        concerned[:1] = [True]
    for handler, is_concerned in zip(handlers, concerned, strict=True):
        if is_concerned:
            handler.say(ended, kind_of(error))
        else:
            handler.say(What.SUCCEEDED)
