"""What a server owes for what was sent to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import final

import trio

from trio_bus._errors import ConnectionLost, OutcomeUnknown

from .resp import Reply


class Owed:
    """Replies that the server owes for some bytes: one request, from the queue to the answer.

    Invariant: it is in exactly one place. In the outbox (not written), in the queue of owed ones
    (written), or arrived: with all replies, or with the cause of their loss and those that came.

    One task at a time may `wait`. It is no `trio.Event`, which any number of tasks may wait for:
    there is one of these for every command, and so it is plain as well.
    """

    __slots__ = (
        "_waiting", "abandoned", "arrived", "cause", "data", "expected", "patience", "replies",
        "written",
    )  # fmt: skip

    def __init__(self, data: bytes, expected: int, patience: float) -> None:
        self.data: bytes = data
        self.expected: int = expected
        # Seconds from writing to the last reply; then the connection is given up.
        self.patience: float = patience
        self.replies: list[Reply] = []
        self.arrived: bool = False
        self.cause: BaseException | None = None
        self.written: float | None = None
        # Nobody waits any more. Written ones stay as tombstones: their replies still come.
        self.abandoned: bool = False
        self._waiting: trio.lowlevel.Task | None = None

    def wait(self) -> Awaitable[object]:
        """Wait until it has arrived. It may have arrived all the same when this is cancelled.

        To be awaited at once. It is not ``async`` itself: that would be one more coroutine for
        each command.
        """
        if self.arrived:
            return trio.lowlevel.checkpoint()  # noqa: ASYNC105 - who calls this awaits it
        assert self._waiting is None, "two tasks wait for one answer"
        self._waiting = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._stop_waiting)  # noqa: ASYNC105 - as above

    def arrive(self, cause: BaseException | None) -> None:
        """Say that it is answered, or lost from *cause*; wake who waits."""
        self.cause = cause
        self.arrived = True
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED

    def lost(self) -> ConnectionLost:
        """Return a new exception that says what is known about the missing replies."""
        if self.written is None:
            error = ConnectionLost(f"the connection was lost before this was sent: {self.cause}")
        else:
            error = OutcomeUnknown(f"the connection was lost before the answer: {self.cause}")
        error.__cause__ = self.cause
        return error

    def answers(self) -> Sequence[Reply | ConnectionLost]:
        """Return what came, and an exception of its own for each reply that did not."""
        if self.cause is None:
            return self.replies
        missing = self.expected - len(self.replies)
        return [*self.replies, *(self.lost() for _ in range(missing))]

    def unwrap(self) -> list[Reply]:
        """Return all replies.

        Raises:
          OutcomeUnknown: it was written, and some replies did not come.
          ConnectionLost: it was not written.
        """
        if self.cause is not None:
            raise self.lost()
        return self.replies


@final
class Told(Owed):
    """What nobody waits for: it calls somebody when it has arrived."""

    __slots__ = ("_on_arrival",)

    def __init__(
        self, data: bytes, expected: int, patience: float, on_arrival: Callable[[Owed], None]
    ) -> None:
        super().__init__(data, expected, patience)
        self._on_arrival = on_arrival

    def arrive(self, cause: BaseException | None) -> None:
        """Say that it is answered, or lost from *cause*; call who wants to know."""
        super().arrive(cause)
        self._on_arrival(self)
