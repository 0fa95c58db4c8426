"""TLS before a server that has none: the wheels do not speak it."""

# pyright: reportPrivateUsage=false, reportUnknownMemberType=false

from __future__ import annotations

import hashlib
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import cast

import attrs
import trio
import trustme
from cryptography import x509

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.define(eq=False)
class TlsRelay:
    """Hands on what comes over TLS, or over plain TCP where `context` is None."""

    path: str
    """The unix socket of the server."""
    context: ssl.SSLContext | None
    port: int = 0
    opened: int = 0
    """Connections that came."""
    alive: dict[trio.CancelScope, None] = attrs.field(factory=dict[trio.CancelScope, None])

    def url(self, *options: str, scheme: str = "rediss", host: str = "localhost") -> str:
        """Return where clients find the server."""
        return f"{scheme}://{host}:{self.port}" + (f"?{'&'.join(options)}" if options else "")

    def kill(self) -> None:
        """Cut all connections, without a word of farewell."""
        for scope in self.alive:
            scope.cancel()

    async def serve(self, client: trio.SocketStream) -> None:
        """Serve one client until one of both sides ends."""
        self.opened += 1
        with trio.CancelScope() as scope:
            self.alive[scope] = None
            try:
                await self._serve(client)
            finally:
                del self.alive[scope]
                await trio.aclose_forcefully(client)

    async def _serve(self, client: trio.SocketStream) -> None:
        outer: trio.abc.Stream = client
        if self.context is not None:
            tls = trio.SSLStream(client, self.context, server_side=True, https_compatible=True)
            outer = tls
            try:
                await tls.do_handshake()
            except trio.BrokenResourceError:
                # trio does not send the alert that OpenSSL has written. What the client still says
                # is read, or its bytes would reset what we told it.
                with suppress(*_BROKEN), trio.move_on_after(1):
                    await client.send_all(tls._outgoing.read())
                    await client.send_eof()
                    async for _ in client:
                        pass
                return
        async with await trio.open_unix_socket(self.path) as inner, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, outer, inner, nursery.cancel_scope)
            nursery.start_soon(_pump, inner, outer, nursery.cancel_scope)


async def _pump(source: trio.abc.Stream, sink: trio.abc.Stream, end: trio.CancelScope) -> None:
    with suppress(*_BROKEN):
        async for data in source:
            await sink.send_all(data)
    end.cancel()


@asynccontextmanager
async def tls_relay(
    server_url: str, context: ssl.SSLContext | None = None
) -> AsyncGenerator[TlsRelay]:
    """Run a relay before this server."""
    relay = TlsRelay(server_url.removeprefix("unix://"), context)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    relay.port = cast("tuple[str, int]", listener.socket.getsockname())[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, relay.serve, [listener]))
        try:
            yield relay
        finally:
            nursery.cancel_scope.cancel()


def server_context(cert: trustme.LeafCert) -> ssl.SSLContext:
    """Return what a server shows that has this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    cert.configure_cert(context)
    return context


def write_ca_directory(ca: trustme.CA, directory: Path) -> None:
    """Write a CA under the name by which OpenSSL looks for it in a directory.

    That is a hash of its name, in lower case and without the outermost header.
    """
    subject = x509.load_pem_x509_certificate(ca.cert_pem.bytes()).subject
    lower = [x509.NameAttribute(part.oid, str(part.value).lower()) for part in subject]
    digest = hashlib.sha1(x509.Name(lower).public_bytes()[2:], usedforsecurity=False).digest()
    name = f"{int.from_bytes(digest[:4], 'little'):08x}.0"
    ca.cert_pem.write_to_path(str(directory / name))
