"""``trio-bus consume``: messages become lines of JSON."""

from __future__ import annotations

import argparse
import errno

import attrs
import trio

from trio_bus._config import SubscriptionConfig
from trio_bus._delivery import Delivery
from trio_bus._entry_id import EntryId
from trio_bus._errors import ValidationError
from trio_bus._modes import StartPosition
from trio_bus._one_error import one_error
from trio_bus._subscription import PullSubscription, open_subscription

from .failing import FAILED, CommandError
from .pipes import wait_reader_gone, write_all
from .rendering import json_line
from .server import add_url, open_server, server_url
from .stopping import stopped_by_signals

HELP = "print each message that a group gets, as a line of JSON"
DESCRIPTION = (
    "Be a consumer of a group: print each message as one line of JSON, and acknowledge it once it "
    "is printed. Ctrl-C, SIGTERM, or a reader that goes away end it; what is not printed is handed "
    "back to the group at once."
)
_STDOUT = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("topic", metavar="TOPIC", help="what to read")
    parser.add_argument("group", metavar="GROUP", help="whom to share the work with")
    add_url(parser)
    parser.add_argument("--count", metavar="N", type=_count, help="end after so many messages")
    parser.add_argument(
        "--start",
        metavar="WHERE",
        type=_start,
        help="where a new group begins: oldest (the default), newest, or after an entry id",
    )
    parser.add_argument(
        "--max-in-flight", metavar="N", type=_count, default=16, help="how many to hold at a time"
    )
    parser.add_argument(
        "--dead-letter-topic", metavar="TOPIC", help="where entries go that cannot be decoded"
    )
    parser.add_argument(
        "--consumer",
        metavar="NAME",
        default="trio-bus",
        help="how the name of this consumer begins",
    )


def run(arguments: argparse.Namespace) -> int:
    """Consume; return the exit code."""
    count: int | None = arguments.count
    at_a_time: int = arguments.max_in_flight
    config = SubscriptionConfig(
        arguments.topic,
        arguments.group,
        consumer=arguments.consumer,
        start=arguments.start,
        max_in_flight=at_a_time if count is None else min(at_a_time, count),
        dead_letter_topic=arguments.dead_letter_topic,
    )
    return trio.run(_consume, server_url(arguments), config, count)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise argparse.ArgumentTypeError(f"{text!a} is not a number from 1 to 999,999,999")
    return int(text)


def _start(text: str) -> StartPosition | EntryId:
    if text in {"oldest", "newest"}:
        return StartPosition(text)
    try:
        return EntryId.parse(text)
    except ValidationError:
        raise argparse.ArgumentTypeError(
            f"{text!a} is not 'oldest', 'newest' or an entry id like 1700000000000-0"
        ) from None


async def _consume(url: str, config: SubscriptionConfig, count: int | None) -> int:
    async with (
        stopped_by_signals(),
        open_server(url) as bus,
        open_subscription(bus, config) as deliveries,
    ):
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_without_reader, nursery.cancel_scope)
                await Printer(_STDOUT).print_all(deliveries, count)
                nursery.cancel_scope.cancel("all is printed")
    return 0


async def _cancel_without_reader(scope: trio.CancelScope) -> None:
    """End it like ``tail -f`` ends: not only when there is something to print."""
    await wait_reader_gone(_STDOUT)
    scope.cancel("nobody reads")


@attrs.define
class Printer:
    """Prints deliveries, each on a line of its own."""

    _fd: int
    printed: int = 0
    _error: OSError | None = None
    _cut: bool = False
    """Whether the last line may have been cut, because its delivery was cancelled."""

    async def print_all(self, deliveries: PullSubscription, count: int | None) -> None:
        """Print what comes until *count* are printed or nobody reads.

        Raises:
          CommandError: the lines cannot be written.
        """
        async for delivery in deliveries:
            async with delivery:  # acks without another checkpoint; releases if it is cancelled
                await self._print(delivery)
            if self._error is not None and self._error.errno != errno.EPIPE:
                raise CommandError(f"cannot print: {self._error.strerror}", FAILED)
            if self._error is not None or self.printed == count:
                return

    async def _print(self, delivery: Delivery) -> None:
        line = json_line(delivery)
        if self._cut:
            line = b"\n" + line
        self._cut = True
        try:
            await write_all(self._fd, line)
        except OSError as error:
            self._error = error
            await delivery.release()
        else:
            self._cut = False
            self.printed += 1
