"""The server that ``publish`` and ``consume`` work on."""

from __future__ import annotations

import argparse
import os
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit

from trio_bus._bus import Bus
from trio_bus._connect import open_bus
from trio_bus._observer import ErrorEvent, Event, Scope, Transition, TransitionEvent
from trio_bus._options import BusOptions

from .failing import CommandError, say

VARIABLE = "TRIO_BUS_URL"
_CONNECT_TIMEOUT = 3.0
_LOAD_TIMEOUT = 60.0  # an embedded server reads its append-only file first

_LOSSES = {
    Transition.DEAD_LETTERED,
    Transition.LEASE_LOST,
    Transition.VANISHED,
    Transition.GROUP_RECREATED,
}


def add_url(parser: argparse.ArgumentParser) -> None:
    """Let a command be told its server."""
    parser.add_argument(
        "--url",
        help=f"redis://, rediss://, valkey://, valkeys://, unix:// or embedded:///directory; "
        f"{VARIABLE} where it is not given (a better place for a password: others can see the "
        f"arguments of a command)",
    )


def server_url(arguments: argparse.Namespace) -> str:
    """Return the URL of a server that outlives the command.

    Raises:
      CommandError: there is none, or it names a server that would die with the command.
    """
    url = str(arguments.url or os.environ.get(VARIABLE) or "")
    if not url:
        raise CommandError(f"which server? give --url or set {VARIABLE}")
    scheme = url.partition(":")[0]
    if scheme == "memory":
        raise CommandError("url: memory: would end with this command; name a server")
    if scheme == "embedded":
        _check_embedded(url)
    return url


def open_server(url: str) -> AbstractAsyncContextManager[Bus]:
    """Open a bus that tells of its troubles on standard error."""
    timeout = _LOAD_TIMEOUT if url.startswith("embedded:") else _CONNECT_TIMEOUT
    return open_bus(url, BusOptions(observer=_Complaints(), connect_timeout=timeout))


def _check_embedded(url: str) -> None:
    """Refuse without showing the URL: someone may have put a password there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise CommandError("url: this is not like embedded:///directory") from None
    if parts.netloc or parts.query or parts.fragment:
        raise CommandError("url: this is not like embedded:///directory")
    if not parts.path:
        raise CommandError(
            "url: embedded: would end with this command, and its events with it; "
            "embedded:///directory keeps them"
        )


class _Complaints:
    """Tells the user of errors and losses; of failed publishes the command tells by itself."""

    def on_error(self, event: ErrorEvent, /) -> None:
        """Say what failed."""
        if event.scope is not Scope.PUBLISH:
            say(f"{event.scope.value}{_place(event)}: {event.error}")

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Say what was lost, and what is well again."""
        if event.transition in _LOSSES:
            reason = f": {event.reason}" if event.reason else ""
            say(f"{event.transition.value}{_place(event)}{reason}")
        elif event.transition is Transition.RECONNECTED:
            say("connected again")


def _place(event: Event) -> str:
    """Say what an event is about; a connection is about nothing in particular."""
    entry = "" if event.entry_id is None else f" of entry {event.entry_id}"
    topic = f" of topic {event.topic!a}" if event.topic else ""
    group = f", group {event.group!a}" if event.group else ""
    return f"{entry}{topic}{group}"
