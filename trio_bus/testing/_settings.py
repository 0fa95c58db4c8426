"""The settings that tests change."""

from __future__ import annotations

from typing import TypedDict

from trio_bus._backoff import Backoff
from trio_bus._modes import AckMode, BalanceMode, OrderingMode
from trio_bus._retention import Retention


class Settings(TypedDict, total=False):
    """Some of the settings of a subscription, by name."""

    ack_mode: AckMode | None
    balance_mode: BalanceMode
    fan_out_expiry: float
    max_in_flight: int
    max_in_flight_bytes: int | None
    max_pending_acks: int | None
    max_retry: int
    retry_backoff: Backoff
    retry_on: tuple[type[Exception], ...]
    reject_on: tuple[type[Exception], ...]
    failure_threshold: int | None
    dead_letter_topic: str | None
    handler_timeout: float | None
    claim_idle_timeout: float
    reclaim_interval: float
    block_timeout: float
    ack_batch_size: int
    drain_timeout: float
    shutdown_timeout: float
    retention: Retention | None
    output_topics: tuple[str, ...]
    ordering_mode: OrderingMode
    max_parked: int
