"""Opening one connection: transport, TLS, login, and who the server is."""

from __future__ import annotations

import re
import ssl
from importlib.metadata import version

import attrs
import trio

from trio_bus._credentials import Login
from trio_bus._errors import (
    AuthenticationFailed,
    BusError,
    ConnectionLost,
    PermissionDenied,
    RemoteError,
    Unsupported,
)
from trio_bus._exception_groups import is_group

from .address import Address
from .errors import to_exception
from .login import login_of
from .replies import as_int, as_map, as_text, checked
from .resp import (
    Command,
    ErrorReply,
    Parser,
    ProtocolError,
    Reply,
    SecretCommand,
    pack_all,
    pack_secret,
)

OLDEST = (6, 2)
_CHUNK = 65536
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))

Version = tuple[int, ...]


@attrs.frozen
class Server:
    """Who answered. ``run_id`` names one life of one server; None where it is not told."""

    name: str
    version: Version
    client_id: int
    run_id: str | None


@attrs.define(eq=False)
class Wire:
    """A byte stream that speaks RESP. One task may send while another receives."""

    stream: trio.abc.Stream
    parser: Parser = attrs.field(factory=Parser)

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of *data*.

        Raises:
          trio.BrokenResourceError: the other side is gone.
        """
        await self.stream.send_all(data)

    async def receive(self) -> list[Reply]:
        """Return the replies that the next bytes complete: none, one or many.

        Raises:
          EOFError: the other side closed the connection.
          trio.BrokenResourceError: the other side is gone.
          ProtocolError: it does not speak RESP.
        """
        data = await self.stream.receive_some(_CHUNK)
        if not data:
            raise EOFError("the server closed the connection")
        return self.parser.feed(data)

    async def exchange(self, commands: list[Command]) -> list[Reply]:
        """Send commands and wait for their replies; nothing else may use the wire meanwhile."""
        await self.send(pack_all(commands))
        return await self._receive_all(len(commands))

    async def exchange_secret(self, command: SecretCommand) -> Reply:
        """Send one command that nobody is to see, and wait for its reply."""
        await self.send(pack_secret(command))
        return (await self._receive_all(1))[0]

    async def _receive_all(self, count: int) -> list[Reply]:
        replies: list[Reply] = []
        while len(replies) < count:
            replies += await self.receive()
        return replies

    async def aclose(self) -> None:
        """Close it, at once."""
        await trio.aclose_forcefully(self.stream)


@attrs.define(eq=False)
class Session:
    """A connection that is logged in and ready."""

    wire: Wire
    server: Server


async def connect(address: Address, timeout: float) -> Session:
    """Open a connection and log in, in at most *timeout* seconds.

    Raises:
      ConnectionLost: nobody answers there, or not in time, or not now; or the credential provider
        failed.
      ValidationError: what the credential provider gave are no credentials.
      AuthenticationFailed: the credentials are wrong, or missing.
      PermissionDenied: this user may not log in like this.
      Unsupported: the server is older than 6.2.
      RemoteError: the database number does not exist.
    """
    try:
        with trio.fail_after(timeout):
            login = await login_of(address)
            stream = await _open_stream(address)
            try:
                wire = Wire(stream)
                return Session(wire, await _handshake(wire, address, login))
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
    except trio.TooSlowError:
        late = TimeoutError(f"no connection within {timeout:.2g} s")
        raise ConnectionLost(f"cannot connect to {_place(address)}: {late}") from late
    except (OSError, UnicodeError, EOFError, trio.BrokenResourceError, ProtocolError) as error:
        reason = _reason(error)
        raise ConnectionLost(f"cannot connect to {_place(address)}: {reason}") from error


def _reason(error: BaseException) -> BaseException:
    """Return what the operating system said, beneath what trio says about it."""
    inner = error.__cause__ if not is_group(error) else error.exceptions[0]
    return error if inner is None else _reason(inner)


def _place(address: Address) -> str:
    return address.path if address.path is not None else f"{address.host}:{address.port}"


async def _open_stream(address: Address) -> trio.abc.Stream:
    if address.path is not None:
        return await trio.open_unix_socket(address.path)
    plain = await trio.open_tcp_stream(address.host, address.port)
    _keep_alive(plain)  # open_tcp_stream has set TCP_NODELAY
    if address.tls is None:
        return plain
    try:
        return await _start_tls(plain, address.tls.context(), address.host)
    except BaseException:
        await trio.aclose_forcefully(plain)
        raise


def _keep_alive(stream: trio.SocketStream) -> None:
    """Let the kernel find out about a peer that vanished while nothing is owed."""
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option: int | None = getattr(trio.socket, name, None)  # not on every system
        if option is not None:
            stream.setsockopt(trio.socket.IPPROTO_TCP, option, value)


async def _start_tls(
    plain: trio.SocketStream, context: ssl.SSLContext, host: str
) -> trio.abc.Stream:
    # https_compatible: a server that just hangs up is a lost connection to us anyway.
    stream = trio.SSLStream(plain, context, server_hostname=host, https_compatible=True)
    await stream.do_handshake()
    return stream


async def _handshake(wire: Wire, address: Address, login: Login | None) -> Server:
    """Log in with RESP3, and learn who answers."""
    hello = await wire.exchange_secret(_hello(address, login))
    if isinstance(hello, ErrorReply):
        raise await _refused(wire, hello)
    told = as_map(hello)
    name, text = as_text(told.get(b"server")), as_text(told.get(b"version"))
    number = parse_version(text)
    if number < OLDEST:
        raise Unsupported(f"ERR {name} {text} is too old: 6.2 is needed at least")
    run_id = await _settle_in(wire, address)
    return Server(name, number, as_int(told.get(b"id")), run_id)


def _hello(address: Address, login: Login | None) -> SecretCommand:
    command: SecretCommand = ("HELLO", 3)
    if login is not None:
        command += ("AUTH", login.user, login.password)
    if address.client_name is not None:
        command += ("SETNAME", address.client_name)
    return command


async def _settle_in(wire: Wire, address: Address) -> str | None:
    """Choose the database, say which library this is, and ask for the life of the server."""
    commands: list[Command] = [
        ("CLIENT", "SETINFO", "LIB-NAME", "trio_bus"),
        ("CLIENT", "SETINFO", "LIB-VER", version("trio-bus")),
        ("INFO", "server"),
    ]
    if address.db:
        commands.append(("SELECT", address.db))
    replies = await wire.exchange(commands)
    # Old servers do not know SETINFO, and some users may not call INFO: both are extras.
    if address.db:
        _raise_refusal(replies[3])
    return _info_line(replies[2], b"run_id")


def _raise_refusal(reply: Reply) -> None:
    if isinstance(reply, ErrorReply) and reply.code in {"LOADING", "BUSY", "MASTERDOWN"}:
        raise _not_now(to_exception(reply))
    checked(reply)


def _info_line(reply: Reply, name: bytes) -> str | None:
    if not isinstance(reply, bytes):
        return None
    found = re.search(rb"^" + name + rb":(\S+)", reply, re.MULTILINE)
    return found[1].decode("ascii", "replace") if found else None


async def _refused(wire: Wire, hello: ErrorReply) -> BusError:
    """Return what a refused greeting means."""
    error = to_exception(hello)
    if isinstance(error, Unsupported):
        info = (await wire.exchange([("INFO", "server")]))[0]
        text = _info_line(info, b"redis_version") or "of an unknown version"
        return Unsupported(f"ERR Redis {text} is too old: 6.2 is needed at least")
    if isinstance(error, AuthenticationFailed | PermissionDenied):
        return error
    return _not_now(error)


def _not_now(error: RemoteError) -> ConnectionLost:
    """Return the error of a server that is there and not ready: loading, full, busy."""
    lost = ConnectionLost(f"the server does not take us now: {error}")
    lost.__cause__ = error
    return lost


def parse_version(text: str) -> Version:
    """Return ``(6, 2, 14)`` for ``"6.2.14"``; what is not a number ends it."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
