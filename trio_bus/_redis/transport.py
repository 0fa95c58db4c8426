"""Opening the byte stream to a server: TCP, a unix socket, TLS; and what went wrong with it."""

from __future__ import annotations

import ssl

import attrs
import trio

from trio_bus._errors import BusError, ConnectionLost, TlsFailed
from trio_bus._exception_groups import is_group

from .address import Address
from .resp import ProtocolError

_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
_TLS_ALERT = r"\x15"  # how hiredis shows the first byte of one
# What ends a connection whose handshake may succeed the next time.
_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)

FAILURES = (OSError, UnicodeError, EOFError, trio.BrokenResourceError, ProtocolError)
"""What opening a stream and greeting a server may meet."""


@attrs.define(eq=False)
class Attempt:
    """One try to connect: knows how far it came, so that its failure can be explained."""

    address: Address
    doing: str = "the connection"

    @property
    def place(self) -> str:
        """Where the server should be."""
        address = self.address
        return address.path if address.path is not None else f"{address.host}:{address.port}"

    async def open_stream(self) -> trio.abc.Stream:
        """Open the stream; what is half open when this fails, or is cancelled, is closed."""
        if self.address.path is not None:
            return await trio.open_unix_socket(self.address.path)
        # Its files are read anew for each connection, so that they may be replaced.
        context = None if self.address.tls is None else self.address.tls.context()
        plain = await trio.open_tcp_stream(self.address.host, self.address.port)
        try:
            if self.address.keepalive:
                _keep_alive(plain)  # open_tcp_stream has set TCP_NODELAY
            return plain if context is None else await self._start_tls(plain, context)
        except BaseException:
            await trio.aclose_forcefully(plain)
            raise

    async def _start_tls(
        self, plain: trio.SocketStream, context: ssl.SSLContext
    ) -> trio.abc.Stream:
        # https_compatible: a server that just hangs up is a lost connection to us anyway.
        stream = trio.SSLStream(
            plain, context, server_hostname=self.address.host, https_compatible=True
        )
        self.doing = "the TLS handshake"
        await stream.do_handshake()
        return stream

    def late(self, timeout: float) -> BusError:
        """Return the error of an attempt that took too long."""
        cause = TimeoutError(f"no answer to {self.doing} within {timeout:.2g} s")
        hint = " (does this port speak TLS?)" if self.doing == "the TLS handshake" else ""
        return self._error(ConnectionLost, f"cannot connect to {self.place}: {cause}{hint}", cause)

    def failed(self, error: BaseException) -> BusError:
        """Return what an exception of `FAILURES` means."""
        reason = _root(error)
        tls = self.address.tls is not None
        if isinstance(reason, ssl.SSLCertVerificationError):
            text = f"the certificate of {self.place} is not trusted: {reason.verify_message}"
            return self._error(TlsFailed, text, reason)
        if isinstance(reason, ssl.SSLError) and not isinstance(reason, _ENDED):
            return self._error(TlsFailed, f"no TLS with {self.place}: {_said(reason)}", reason)
        if isinstance(reason, ProtocolError) and _TLS_ALERT in str(reason) and not tls:
            text = f"{self.place} speaks TLS: the URL must begin with rediss:// or valkeys://"
            return self._error(TlsFailed, text, reason)
        text = f"cannot connect to {self.place}: {str(reason) or type(reason).__name__}"
        if not isinstance(reason, ProtocolError) and self.doing != "the connection":
            text += self._hint(tls=tls)
        return self._error(ConnectionLost, text, reason)

    def _hint(self, *, tls: bool) -> str:
        """Say what may be wrong where a server takes a connection and ends it without a word."""
        if not tls:
            return "" if self.address.path is not None else " (does this port speak TLS?)"
        if self.address.tls is not None and self.address.tls.ssl_certfile is None:
            return " (does the server demand a client certificate?)"
        return ""

    def _error(self, kind: type[BusError], text: str, cause: BaseException) -> BusError:
        error = kind(text)
        error.__cause__ = cause
        return error


def _keep_alive(stream: trio.SocketStream) -> None:
    """Let the kernel find out about a peer that vanished while nothing is owed."""
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option: int | None = getattr(trio.socket, name, None)  # not on every system
        if option is not None:
            stream.setsockopt(trio.socket.IPPROTO_TCP, option, value)


def _root(error: BaseException) -> BaseException:
    """Return what the operating system said, beneath what trio says about it."""
    inner = error.__cause__ if not is_group(error) else error.exceptions[0]
    return error if inner is None else _root(inner)


def _said(error: ssl.SSLError) -> str:
    """Return the reason in words: OpenSSL's texts are full of numbers of its own source."""
    reason = str(error.reason or error.strerror or error).replace("_", " ").lower()
    if "wrong version number" in reason or "record layer failure" in reason:
        return f"{reason} (does this port speak TLS? without it the URL begins with redis://)"
    return reason
