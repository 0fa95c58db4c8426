"""Opening a bus by its URL."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import unquote, urlsplit

import attrs

from ._backend import StreamBackend
from ._bus import Bus
from ._config import BusOptions
from ._embedded import open_embedded
from ._errors import ValidationError
from ._memory import MemoryBackend
from ._redis import open_redis


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
      options: How to reach the server, and what the bus carries.

    Raises:
      ValidationError: the URL, or an option in it, is not one of these.
      EmbeddedServerError: the ``embedded`` extra is missing, or its server does not start.
      ConnectionLost: no answer within ``connect_timeout``.
      AuthenticationFailed: the server refuses the credentials.
      Unsupported: the server is older than Redis 6.2.

    Cancellation: leaving closes the connections, and ends an embedded server after everything
    that used it, also when cancelled.
    """
    chosen = BusOptions() if options is None else options
    async with open_backend(url, chosen) as backend:
        bus = Bus(backend, chosen)
        try:
            yield bus
        finally:
            bus.close()


def open_backend(url: str, options: BusOptions) -> AbstractAsyncContextManager[StreamBackend]:
    """Open what *url* names; see `open_bus`."""
    scheme = url.partition(":")[0]
    if scheme == "memory":
        return _open_memory(url)
    if scheme == "embedded":
        return _open_embedded(_directory(url), options)
    return open_redis(url, options)


@asynccontextmanager
async def _open_memory(url: str) -> AsyncGenerator[StreamBackend, None]:
    if url != "memory:":
        raise ValidationError(f"url: {url!r}: memory: takes nothing behind the colon")
    yield MemoryBackend()


@asynccontextmanager
async def _open_embedded(
    directory: str | None, options: BusOptions
) -> AsyncGenerator[StreamBackend, None]:
    nobody = attrs.evolve(options, credential_provider=None)  # it has no users to log in as
    async with (
        open_embedded(directory, start_timeout=options.connect_timeout) as server,
        open_redis(server.url, nobody) as backend,
    ):
        yield backend


def _directory(url: str) -> str | None:
    """Return the directory of ``embedded:///dir``, None for ``embedded:``."""
    parts = urlsplit(url)
    if parts.netloc or parts.query or parts.fragment:
        raise ValidationError(f"url: {url!r} is neither 'embedded:' nor 'embedded:///directory'")
    return unquote(parts.path) or None
