"""What ``trio-bus bench`` measures: the ways to publish, and who does it."""

from __future__ import annotations

from enum import Enum, unique

import attrs

TASKS = 64
BATCH = 1000


@unique
class Client(Enum):
    """Who publishes."""

    OURS = "trio_bus"
    FLOOR = "trio floor"
    """The same on a bare trio socket with hiredis: one connection, nothing that can fail."""
    SHARED = "redis.asyncio, default client"
    """One client that all tasks share; it opens a connection for each task that waits."""
    SINGLE = "redis.asyncio, single_connection_client"
    """One client that all tasks share, with one connection."""
    PIPELINE = "redis.asyncio, pipeline"
    """Batches in a pipeline without a transaction."""


@attrs.frozen
class Work:
    """Publish *batch* messages at a time, *turns* times, in each of *tasks* tasks."""

    name: str
    clients: tuple[Client, ...]
    tasks: int
    batch: int
    turns: int

    @property
    def count(self) -> int:
        """How many messages that are."""
        return self.tasks * self.batch * self.turns


@attrs.frozen
class Order:
    """What another process is asked to measure."""

    url: str
    topic: str
    client: Client
    work: Work
    size: int


@attrs.frozen
class Answer:
    """How many messages per second it measured, or why it could not."""

    rate: float = 0.0
    error: str = ""


def works(messages: int) -> tuple[Work, ...]:
    """Return what there is to measure, each with about so many messages.

    One task alone waits for every reply, so it gets a fifth.
    """
    one_by_one = (Client.OURS, Client.FLOOR, Client.SHARED, Client.SINGLE)
    batches = (Client.OURS, Client.FLOOR, Client.PIPELINE)
    return (
        Work("one task", one_by_one, 1, 1, max(1, messages // 5)),
        Work(f"{TASKS} tasks", one_by_one, TASKS, 1, max(1, messages // TASKS)),
        Work(f"batches of {BATCH:,}", batches, 1, BATCH, max(1, messages // BATCH)),
    )
