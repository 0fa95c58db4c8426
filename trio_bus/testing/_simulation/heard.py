"""A delivery whose verbs the journal hears."""

# pyright: reportPrivateUsage=false
# Two deliveries of one holding are one and the same.

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Protocol

import attrs

from trio_bus._decision import Reason
from trio_bus._delivery import Delivery
from trio_bus._transaction import Transaction


class Telling(Protocol):
    """Called with the name of a verb, and its delay: its block is the call of that verb."""

    def __call__(self, verb: str, *, delay: float | None = None) -> AbstractContextManager[None]:
        """Say that it is called."""
        ...


def heard(delivery: Delivery, telling: Telling) -> Delivery:
    """Return the same delivery, with verbs that are heard."""
    return HeardDelivery(delivery._holding, telling)  # noqa: SLF001 - see above


@attrs.define(eq=False, repr=False)
class HeardDelivery(Delivery):  # type: ignore[misc]  # final for users; only we have to listen
    """A delivery like any other, which says what its handler calls."""

    _telling: Telling

    async def ack(self) -> None:
        """Say so, and do it."""
        with self._telling("ack"):
            await super().ack()

    async def retry(self, reason: Reason, delay: float | None = None) -> None:
        """Say so, and do it."""
        with self._telling("retry", delay=delay):
            await super().retry(reason, delay)

    async def reject(self, reason: Reason) -> None:
        """Say so, and do it."""
        with self._telling("reject"):
            await super().reject(reason)

    async def release(self, delay: float | None = None) -> None:
        """Say so, and do it."""
        with self._telling("release", delay=delay):
            await super().release(delay)

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Do it, and say how it ends."""
        return self._transact(super().transaction())

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
            await super().renew()
