"""Opening a bus by its URL."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import unquote

import attrs

from ._backend import StreamBackend
from ._bus import Bus
from ._credentials import Secret
from ._embedded import open_embedded
from ._errors import ValidationError
from ._memory import MemoryBackend
from ._options import BusOptions
from ._redis import open_secretly, read_address


@asynccontextmanager
async def open_bus(
    url: str = "embedded:", options: BusOptions | None = None
) -> AsyncGenerator[Bus, None]:
    """Connect to a server, or bring one, for the length of an ``async with`` block.

    Args:
      url: ``redis://``, ``rediss://``, ``valkey://``, ``valkeys://`` or ``unix://`` with redis-py's
        options; ``embedded:`` for a Valkey server that lives and dies with the block, or
        ``embedded:///dir`` for one that keeps its events in that directory; ``memory:`` for streams
        inside this process that nobody else sees.
      options: How to reach the server, and what the bus carries. What the URL says about timeouts
        goes before it.

    Raises:
      ValidationError: the URL, or an option in it, is not one of these.
      EmbeddedServerError: the ``embedded`` extra is missing, or its server does not start.
      ConnectionLost: no answer within ``connect_timeout``.
      AuthenticationFailed: the server refuses the credentials.
      TlsFailed: its certificate is not trusted, or TLS cannot be agreed on.
      Unsupported: the server is older than Redis 6.2.

    Cancellation: leaving sends what `Bus.publish_nowait` has queued, for up to ``command_timeout``,
    then closes the connections, and ends an embedded server after everything that used it, also
    when cancelled.
    """
    secret = Secret(url)  # it may hold a password: no traceback shows it among our locals
    del url
    chosen = _refined(secret, BusOptions() if options is None else options)
    async with _opened(secret, chosen) as backend:
        bus = Bus(backend, chosen)
        try:
            yield bus
        finally:
            bus.close()


def open_backend(url: str, options: BusOptions) -> AbstractAsyncContextManager[StreamBackend]:
    """Open what *url* names; see `open_bus`."""
    return _opened(Secret(url), options)


def _scheme(url: Secret) -> str:
    return url.reveal().partition(":")[0]


def _refined(url: Secret, options: BusOptions) -> BusOptions:
    """Return *options* with what the URL says about them."""
    if _scheme(url) in {"memory", "embedded"}:
        return options
    return read_address(url, options).refine(options)


def _opened(url: Secret, options: BusOptions) -> AbstractAsyncContextManager[StreamBackend]:
    if _scheme(url) == "memory":
        return _open_memory(url)
    if _scheme(url) == "embedded":
        return _open_embedded(url, options)
    return open_secretly(url, options)


@asynccontextmanager
async def _open_memory(url: Secret) -> AsyncGenerator[StreamBackend, None]:
    if url != Secret("memory:"):
        raise ValidationError("url: memory: takes nothing behind the colon")
    yield MemoryBackend()


@asynccontextmanager
async def _open_embedded(url: Secret, options: BusOptions) -> AsyncGenerator[StreamBackend, None]:
    nobody = attrs.evolve(options, credential_provider=None)  # it has no users to log in as
    async with (
        open_embedded(_directory(url), start_timeout=options.connect_timeout) as server,
        open_secretly(Secret(server.url), nobody) as backend,
    ):
        yield backend


def _directory(url: Secret) -> str | None:
    """Return the directory of ``embedded:///dir``, None for ``embedded:``."""
    if url == Secret("embedded:"):
        return None
    if not _names_a_directory(url.reveal()):
        raise ValidationError(
            "url: embedded: is followed by nothing, or by a directory from the root: "
            "embedded:///var/lib/events (a '?' or '#' in it must be percent-encoded)"
        )
    return unquote(url.reveal().removeprefix("embedded://"))


def _names_a_directory(url: str) -> bool:
    # A relative directory would be another one wherever the program is started.
    path = url.removeprefix("embedded://")
    return path.startswith("/") and len(path) > 1 and not {"?", "#"} & set(path)
