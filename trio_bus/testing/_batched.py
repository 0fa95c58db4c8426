"""A delivery that is settled by its batch."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import attrs

from trio_bus._batch import Batch
from trio_bus._decision import Reason
from trio_bus._delivery import Delivery
from trio_bus._transaction import Transaction

from ._stand_in import stand_in


def batched(batch: Batch, delivery: Delivery) -> Delivery:
    """Return the same delivery, whose verbs are those of its batch."""
    return stand_in(delivery, BatchedVerbs(batch, delivery))


@attrs.frozen
class BatchedVerbs:
    """What a batch does with one of its deliveries."""

    _batch: Batch
    _delivery: Delivery

    async def ack(self) -> None:
        """See `Batch.ack`."""
        await self._batch.ack(self._delivery)

    async def retry(self, reason: Reason, delay: float | None = None) -> None:
        """See `Batch.retry`."""
        await self._batch.retry(self._delivery, reason, delay)

    async def reject(self, reason: Reason) -> None:
        """See `Batch.reject`."""
        await self._batch.reject(self._delivery, reason)

    async def release(self, delay: float | None = None) -> None:
        """See `Batch.release`."""
        await self._batch.release(self._delivery, delay)

    async def renew(self) -> None:
        """Do it for that one."""
        await self._delivery.renew()

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Do it for that one."""
        return self._delivery.transaction()
