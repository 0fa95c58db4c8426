"""Opening one connection: transport, TLS, login, and who the server is."""

from __future__ import annotations

import re
from enum import Enum, unique

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

from .address import Address
from .errors import to_exception
from .login import login_of
from .replies import as_int, as_map, as_text, checked
from .resp import Command, ErrorReply, ProtocolError, Reply, SecretCommand
from .transport import FAILURES, Attempt
from .wire import Wire

__all__ = ["Capability", "Server", "Session", "Wire", "connect"]

OLDEST = (6, 2)
_UNKNOWN_SHA = "0" * 40
_NOT_NOW = {"LOADING", "BUSY", "MASTERDOWN"}

Version = tuple[int, ...]


@unique
class Capability(Enum):
    """What this user may do on this server, beyond what every use of it needs."""

    UNBLOCK = "CLIENT UNBLOCK"
    """End a blocked read at once."""
    SCRIPTS = "EVALSHA"
    """Run the scripts, which subscriptions need and publishing without a key does not."""


@attrs.frozen
class Server:
    """Who answered. ``run_id`` names one life of one server; None where it is not told."""

    name: str
    version: Version
    client_id: int
    run_id: str | None
    role: str = "master"
    mode: str = "standalone"
    capabilities: frozenset[Capability] = frozenset(Capability)


@attrs.define(eq=False)
class Session:
    """A connection that is logged in and ready."""

    wire: Wire
    server: Server


async def connect(address: Address, timeout: float, *, any_role: bool = False) -> Session:
    """Open a connection and log in, in at most *timeout* seconds.

    A replica is not what we want, and neither is a server that still loads its data: after a
    failover an address may lead to one for a while. With *any_role* both will do.

    Raises:
      ConnectionLost: nobody answers there, or not in time, or not now; or the credential provider
        failed.
      TlsFailed: the certificate is not trusted, or TLS cannot be agreed on.
      ValidationError: what the credential provider gave are no credentials, or a file that the TLS
        options name cannot be used.
      AuthenticationFailed: the credentials are wrong, or missing.
      PermissionDenied: this user may not log in like this.
      Unsupported: the server is older than 6.2, or a Sentinel.
      RemoteError: the database number does not exist.
    """
    attempt = Attempt(address)
    limit = min(timeout, address.connect_timeout)
    try:
        with trio.fail_after(limit):
            return await _connect(attempt, any_role=any_role)
    except trio.TooSlowError:
        failure = attempt.late(limit)
    except FAILURES as error:
        failure = attempt.failed(error)
    raise failure


async def _connect(attempt: Attempt, *, any_role: bool) -> Session:
    attempt.doing = "the question for credentials"
    login = await login_of(attempt.address)
    attempt.doing = "the connection"
    stream = await attempt.open_stream()
    try:
        attempt.doing = "the greeting"
        wire = Wire(stream)
        server = await _handshake(wire, attempt.address, login, any_role=any_role)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return Session(wire, server)


async def _handshake(
    wire: Wire, address: Address, login: Login | None, *, any_role: bool
) -> Server:
    """Log in with RESP3, and learn who answers."""
    hello = _without_echo(await wire.exchange_secret(_hello(address, login)), login)
    if isinstance(hello, ErrorReply):
        raise await _refused(wire, hello)
    if hello is None:
        raise ProtocolError("what answers HELLO does not say who it is")
    told = as_map(hello)
    server = Server(
        name=_told(told, b"server"),
        version=parse_version(_told(told, b"version")),
        client_id=as_int(told.get(b"id")),
        run_id=None,
        role=_told(told, b"role"),
        mode=_told(told, b"mode"),
    )
    if server.version < OLDEST:
        version = _told(told, b"version")
        raise Unsupported(f"ERR {server.name} {version} is too old: 6.2 is needed at least")
    if server.mode == "sentinel":
        raise Unsupported("ERR this is a Sentinel; the URL must name a server that holds data")
    if server.role != "master" and not any_role:
        raise ConnectionLost("the server does not take us now: it is a replica, not the primary")
    return await _settle_in(wire, address, server, any_role=any_role)


def _hello(address: Address, login: Login | None) -> SecretCommand:
    command: SecretCommand = ("HELLO", 3)
    if login is not None:
        command += ("AUTH", login.user, login.password)
    if address.client_name is not None:
        command += ("SETNAME", address.client_name)
    return command


def _told(told: dict[bytes, Reply], name: bytes) -> str:
    value = told.get(name)
    return as_text(value) if isinstance(value, bytes) else ""


async def _settle_in(wire: Wire, address: Address, server: Server, *, any_role: bool) -> Server:
    """Choose the database, say which library this is, and ask what we can do here.

    Nothing here changes anything but this connection. Users with few rights may be refused all
    but SELECT; old servers do not know SETINFO.
    """
    commands: list[Command] = [
        ("CLIENT", "SETINFO", "LIB-NAME", address.lib_name),
        ("CLIENT", "SETINFO", "LIB-VER", address.lib_version),
        ("INFO", "server"),
        ("INFO", "persistence"),
        ("CLIENT", "UNBLOCK", 0, "ERROR"),  # no client has this number
        ("EVALSHA", _UNKNOWN_SHA, 0),
    ]
    if address.db:
        commands.append(("SELECT", address.db))
    replies = await wire.exchange(commands)
    _, _, info, persistence, unblocked, unknown, *selected = replies
    if not any_role:
        _check_ready(replies, persistence)
    for reply in selected:
        checked(reply)
    may = {Capability.UNBLOCK: isinstance(unblocked, int), Capability.SCRIPTS: _runs(unknown)}
    return attrs.evolve(
        server,
        run_id=info_line(info, b"run_id"),
        capabilities=frozenset(capability for capability, allowed in may.items() if allowed),
    )


def _runs(reply: Reply) -> bool:
    return isinstance(reply, ErrorReply) and reply.code == "NOSCRIPT"


def _check_ready(replies: list[Reply], persistence: Reply) -> None:
    """Raise `ConnectionLost` if the server says that it will take us later."""
    for reply in replies:
        if isinstance(reply, ErrorReply) and reply.code in _NOT_NOW:
            raise _not_now(to_exception(reply))
    if info_line(persistence, b"loading") == "1":
        raise ConnectionLost("the server does not take us now: it loads its data")


def info_line(reply: Reply, name: bytes) -> str | None:
    """Return what INFO says of *name*; None if it says nothing, or was refused."""
    if not isinstance(reply, bytes):
        return None
    found = re.search(rb"^" + name + rb":([^\r\n]*)", reply, re.MULTILINE)
    return found[1].decode("utf-8", "backslashreplace") if found else None


def _without_echo(hello: Reply, login: Login | None) -> Reply:
    """Take out of the answer what repeats the password; None if that is no answer at all.

    A server that does not know HELLO repeats it, and so does who is no server.
    """
    if isinstance(hello, ErrorReply):
        text = hello.text.partition(", with args beginning with")[0]
        password = "" if login is None else login.password.reveal()
        if password and password in text:
            return ErrorReply(f"{hello.code} (what else it says is not shown)")
        return ErrorReply(text)
    is_map = isinstance(hello, dict) or (isinstance(hello, list) and len(hello) % 2 == 0)
    return hello if is_map else None


async def _refused(wire: Wire, hello: ErrorReply) -> BusError:
    """Return what a refused greeting means."""
    error = to_exception(hello)
    if isinstance(error, Unsupported):
        info = (await wire.exchange([("INFO", "server")]))[0]
        text = info_line(info, b"redis_version") or "of an unknown version"
        return Unsupported(f"ERR Redis {text} is too old: 6.2 is needed at least")
    if error.code == "NOAUTH":
        return AuthenticationFailed(
            "NOAUTH the server demands a password: give it in the URL, as in "
            "redis://user:password@host, or as BusOptions(credential_provider=...)"
        )
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
