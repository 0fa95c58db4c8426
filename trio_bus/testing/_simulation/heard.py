"""A delivery whose verbs the journal hears."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Protocol

import attrs

from trio_bus._decision import Reason
from trio_bus._delivery import Delivery
from trio_bus._transaction import Transaction
from trio_bus.testing._stand_in import Verbs, stand_in


class Telling(Protocol):
    """Called with the name of a verb, and its delay: its block is the call of that verb."""

    def __call__(self, verb: str, *, delay: float | None = None) -> AbstractContextManager[None]:
        """Say that it is called."""
        ...


def heard(delivery: Delivery, telling: Telling) -> Delivery:
    """Return the same delivery, with verbs that are heard."""
    return stand_in(delivery, HeardVerbs(delivery, telling))


@attrs.frozen
class HeardVerbs:
    """Says what a handler calls."""

    _inner: Verbs
    _telling: Telling

    async def ack(self) -> None:
        """Say so, and do it."""
        with self._telling("ack"):
            await self._inner.ack()

    async def retry(self, reason: Reason, delay: float | None = None) -> None:
        """Say so, and do it."""
        with self._telling("retry", delay=delay):
            await self._inner.retry(reason, delay)

    async def reject(self, reason: Reason) -> None:
        """Say so, and do it."""
        with self._telling("reject"):
            await self._inner.reject(reason)

    async def release(self, delay: float | None = None) -> None:
        """Say so, and do it."""
        with self._telling("release", delay=delay):
            await self._inner.release(delay)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Do it, and say how it ends."""
        return self._transact(self._inner.transaction())

    @asynccontextmanager
    async def _transact(
        self, whole: AbstractAsyncContextManager[Transaction]
    ) -> AsyncGenerator[Transaction, None]:
        transaction = await whole.__aenter__()
        try:
            yield transaction
        except BaseException as error:
            await whole.__aexit__(type(error), error, error.__traceback__)
            raise
        with self._telling("commit"):
            await whole.__aexit__(None, None, None)

    async def renew(self) -> None:
        """Say so, and do it."""
        with self._telling("renew"):
            await self._inner.renew()
