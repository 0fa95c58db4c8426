"""``trio-bus publish``: lines become messages."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from trio_bus._bus import Bus
from trio_bus._entry_id import EntryId
from trio_bus._errors import OutcomeUnknown, SerializationError, ValidationError
from trio_bus._message import Message
from trio_bus._options import PublishOptions

from .failing import FAILED, CommandError, say
from .lines import Line, LineSplitter
from .pipes import read_some, write_all
from .progress import LineProgress
from .server import add_url, open_server, server_url
from .stopping import stopped_by_signals

HELP = "publish each line of a file, or of standard input"
DESCRIPTION = (
    "Publish each line as one message: its bytes as they are, without the newline. Empty lines are "
    "messages too. A line that cannot be published is reported with its number, and the others go "
    "on; the exit code is 1 then."
)
_STDIN = 0
_STDOUT = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("topic", metavar="TOPIC", help="where to publish")
    parser.add_argument("file", metavar="FILE", nargs="?", help="standard input without it, or -")
    add_url(parser)
    parser.add_argument("--key", default="", help="what every message is about")
    parser.add_argument("--kind", default="", help="what happened")
    parser.add_argument("--source", default="", help="who says so")
    parser.add_argument("--content-type", metavar="TYPE", help="the media type of each line")
    parser.add_argument(
        "--header",
        metavar="NAME=VALUE",
        type=_header,
        action="append",
        default=[],
        help="a header for every message; may be repeated",
    )
    parser.add_argument("--ids", action="store_true", help="print the id of each message")


def run(arguments: argparse.Namespace) -> int:
    """Publish; return the exit code."""
    template = Template(
        topic=arguments.topic,
        key=arguments.key,
        kind=arguments.kind,
        source=arguments.source,
        content_type=arguments.content_type,
        headers=dict(arguments.header),
    )
    template.message(b"")  # what it refuses, it refuses before anything is sent
    url = server_url(arguments)
    with _opened(arguments.file) as fd:
        ids_to = _STDOUT if arguments.ids else None
        return trio.run(partial(_publish, url, template, fd, ids_to=ids_to))


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!a} is not NAME=VALUE")
    return name, value


@attrs.frozen(kw_only=True)
class Template:
    """What the messages have in common."""

    topic: str
    key: str = ""
    kind: str = ""
    source: str = ""
    content_type: str | None = None
    headers: dict[str, str] = attrs.field(factory=dict[str, str])

    def message(self, payload: bytes) -> Message:
        """Make one of them."""
        return Message(
            self.topic,
            payload,
            key=self.key,
            kind=self.kind,
            source=self.source,
            content_type=self.content_type,
            headers=self.headers,
        )


@contextmanager
def _opened(path: str | None) -> Generator[int]:
    """Give the descriptor to read from."""
    if path is None or path == "-":
        if sys.stdin is None or sys.stdin.isatty():  # pyright: ignore[reportUnnecessaryComparison]  # it is None when the shell closed it
            say("reading lines from the terminal; Ctrl-D ends them")
        yield _STDIN
        return
    try:
        if Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"cannot read {path!r}: {reason}") from error
    try:
        yield fd
    finally:
        os.close(fd)


async def _publish(url: str, template: Template, fd: int, *, ids_to: int | None) -> int:
    async with stopped_by_signals() as stop, open_server(url) as bus:
        publisher = Publisher(bus, template, ids_to)
        try:
            with LineProgress(fd) as progress:
                async with aclosing(_chunks(fd, bus.options.max_payload_bytes)) as chunks:
                    async for size, lines in chunks:
                        await publisher.publish(lines)
                        progress.advance(size, len(lines))
        finally:
            publisher.sum_up()
        return FAILED if publisher.refused else 0
    return stop.exit_code


async def _chunks(fd: int, limit: int) -> AsyncGenerator[tuple[int, list[Line]]]:
    """Give what there is to read, as soon as it is there: the bytes read, and whole lines."""
    splitter = LineSplitter(limit)
    try:
        while chunk := await read_some(fd):
            yield len(chunk), splitter.feed(chunk)
    except OSError as error:
        raise CommandError(f"cannot read: {error.strerror}") from error
    yield 0, splitter.finish()


@attrs.define
class Publisher:
    """Publishes lines and keeps count."""

    _bus: Bus
    _template: Template
    _ids_to: int | None
    stored: int = 0
    refused: int = 0
    _sent: list[Line] = attrs.field(factory=list[Line])
    """Those whose outcome is not known yet."""

    async def publish(self, lines: list[Line]) -> None:
        """Publish some lines; tell of those that cannot be.

        Raises:
          CommandError: the server takes no more, or nobody reads the ids.
        """
        self._sent = [line for line in lines if self._fits(line)]
        messages = [self._template.message(line.text) for line in self._sent]
        outcome = await self._bus.publish_batch(messages, PublishOptions())
        results = list(zip(self._sent, outcome.results, strict=True))
        self._sent = [line for line, result in results if isinstance(result, OutcomeUnknown)]
        stored = [result for _, result in results if isinstance(result, EntryId)]
        self.stored += len(stored)
        await self._print(stored)
        for line, result in results:
            if isinstance(result, Exception):
                self._refuse(line, result)

    def sum_up(self) -> None:
        """Say what was stored, and what may have been."""
        if self._sent:
            first, last = self._sent[0].number, self._sent[-1].number
            say(f"lines {first} to {last} may have been stored, or not")
        refused = f", refused {self.refused}" if self.refused else ""
        messages = "message" if self.stored == 1 else "messages"
        say(f"published {self.stored} {messages} to {self._template.topic!r}{refused}")

    def _fits(self, line: Line) -> bool:
        limit = self._bus.options.max_payload_bytes
        if line.size > limit:
            self._tell(line, f"{line.size} bytes, at most {limit} can be published")
        return line.size <= limit

    def _refuse(self, line: Line, error: Exception) -> None:
        if not isinstance(error, ValidationError | SerializationError):  # no line would do better
            raise CommandError(f"line {line.number}: {error}", FAILED) from error
        self._tell(line, str(error))

    def _tell(self, line: Line, reason: str) -> None:
        self.refused += 1
        say(f"line {line.number}: {reason}")

    async def _print(self, ids: list[EntryId]) -> None:
        if self._ids_to is None:
            return
        try:
            await write_all(self._ids_to, "".join(f"{entry_id}\n" for entry_id in ids).encode())
        except OSError as error:
            raise CommandError(f"cannot print ids: {error.strerror}", FAILED) from error
