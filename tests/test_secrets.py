"""No secret reaches a log, a repr, an error with all its tracebacks and locals, or an output."""

from __future__ import annotations

import gc
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import cast
from urllib.parse import quote

import attrs
import pytest
import trio
import trustme

import trio_bus
from tests.harness import Recorder, config, publish, until
from tests.servers import command
from tests.test_tls import Authority
from tests.tls_relay import tls_relay
from tests.unmeasured import unmeasured
from trio_bus import (
    AuthenticationFailed,
    BusError,
    BusOptions,
    ConnectionLost,
    Delivery,
    Scope,
    ValidationError,
    open_bus,
    open_redis,
    open_subscription,
)
from trio_bus._observer import ErrorEvent, LoggingObserver, TransitionEvent

pytestmark = [pytest.mark.any_python, pytest.mark.any_server]

MARK = "s3cr3t"
"""A part of every password here, and of nothing else; no encoding changes it."""
RIGHT, NEXT, WRONG = f"{MARK}-@/one", f"{MARK}-two", f"{MARK}-wrong"
PACKAGE = str(Path(trio_bus.__file__).parent)
TESTS = str(Path(__file__).parent)
WAYS = ["user", "query", "provider"]


class Telling(Recorder):
    """Remembers what the observer hears, and logs it as the default one does."""

    def on_error(self, event: ErrorEvent, /) -> None:
        """Remember and log."""
        super().on_error(event)
        LoggingObserver().on_error(event)

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Remember and log."""
        super().on_transition(event)
        LoggingObserver().on_transition(event)


@attrs.define
class Giver:
    """A provider whose password changes. Its own repr is its own affair, and shows all."""

    password: str

    def get_credentials(self) -> tuple[str, str]:
        return ("rotated", self.password)


@pytest.fixture(autouse=True)
def every_log(caplog: pytest.LogCaptureFixture) -> None:
    """Log all that anybody has to say."""
    caplog.set_level(logging.DEBUG)


@pytest.fixture
def acl_url(server_url: str) -> Generator[str]:
    """Give a server with a user whose password a test may change."""
    set_password(server_url, RIGHT)
    yield server_url
    assert command(server_url, "ACL DELUSER rotated") == ":1"


def set_password(url: str, password: str) -> None:
    """Change the password of the user; connections that are open stay open."""
    assert command(url, f"ACL SETUSER rotated reset on >{password} ~* &* +@all") == "+OK"


def with_password(url: str, way: str, password: str, giver: Giver) -> str:
    """Return the URL that gives this password in this way."""
    scheme, _, rest = url.partition("://")
    giver.password = password
    if way == "user":
        return f"{scheme}://rotated:{quote(password, safe='')}@{rest}"
    if way == "query":
        return f"{url}?username=rotated&password={quote(password, safe='')}"
    return url


def options(way: str, giver: Giver, recorder: Recorder | None = None) -> BusOptions:
    """Return settings for tests."""
    return BusOptions(
        credential_provider=giver if way == "provider" else None,
        observer=recorder or Telling(),
        connect_timeout=0.3 if recorder is None else 5.0,
    )


def family(error: BaseException) -> Iterator[BaseException]:
    """Give an error with its causes, its contexts also where suppressed, and members of groups."""
    seen, todo = set[int](), [error]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [other for other in (one.__cause__, one.__context__) if other is not None]
        if isinstance(one, BaseExceptionGroup):
            todo += cast("BaseExceptionGroup[BaseException]", one).exceptions


def shown(error: BaseException) -> str:
    """Return all that a crash reporter may show of an error.

    Not the locals of these tests, who hold the passwords: every caller of `open_bus` has to look
    after its own.
    """
    lines = list[str]()
    for one in family(error):
        told = traceback.TracebackException.from_exception(one, capture_locals=True)
        lines += [str(one), repr(one), *getattr(one, "__notes__", []), repr(vars(one))]
        for frame in told.stack:
            if not frame.filename.startswith(TESTS):
                lines += [f"{frame.filename} {frame.name} {frame.locals}"]
    return "\n".join(lines)


def alive() -> str:
    """Return the reprs of all objects of the package, and the locals of its frames that wait."""
    lines = list[str]()
    for thing in gc.get_objects():
        if type(thing).__module__.startswith("trio_bus"):
            lines.append(f"{thing!r} {thing}")
        frame: FrameType | None = None
        if isinstance(thing, CoroutineType):
            frame = thing.cr_frame
        elif isinstance(thing, AsyncGeneratorType):
            frame = thing.ag_frame
        elif isinstance(thing, GeneratorType):
            frame = thing.gi_frame
        if frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
            lines.append(f"{frame.f_code.co_qualname} {dict(frame.f_locals)!r}")
    return "\n".join(lines)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Return what all loggers said, with the errors in it."""
    lines = [caplog.text, *[repr(vars(record)) for record in caplog.records]]
    lines += [shown(r.exc_info[1]) for r in caplog.records if r.exc_info and r.exc_info[1]]
    return "\n".join(lines)


def assert_no_secret(text: str) -> None:
    """Fail with the lines that show one."""
    assert [line for line in text.splitlines() if MARK in line] == []


async def refused(url: str, chosen: BusOptions, caplog: pytest.LogCaptureFixture) -> BusError:
    """Open in both ways; return the error, which shows nothing, and neither does a log."""
    errors = list[BusError]()
    for opener in (open_redis, open_bus):
        with trio.fail_after(10), pytest.raises(BusError) as caught:
            async with opener(url, chosen):
                pytest.fail("it was opened")
        errors.append(caught.value)
    for error in errors:
        assert f"{PACKAGE}/" in shown(error)
        assert_no_secret(shown(error))
    assert_no_secret(logged(caplog))
    return errors[-1]


@asynccontextmanager
async def listening(talk: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncGenerator[str]:
    """Run somebody who is no server; give the URL."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await talk(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield f"redis://127.0.0.1:{cast('tuple[str, int]', listener.socket.getsockname())[1]}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", WAYS)
async def test_a_bus_that_lives_shows_no_secret(
    acl_url: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At work, cut off while the password is another one, and back again."""
    giver, recorder, handled = Giver(RIGHT), Telling(), list[bytes]()

    async def handle(delivery: Delivery) -> None:
        assert_no_secret(f"{delivery!r} {delivery.state!r}")
        handled.append(delivery.message.payload)

    def told(scope: Scope, kind: type[BusError]) -> bool:
        return any(e.scope is scope and isinstance(e.error, kind) for e in recorder.errors)

    url = with_password(acl_url, way, RIGHT, giver)
    async with (
        open_bus(url, options(way, giver, recorder)) as bus,
        open_subscription(bus, config(), handle) as subscription,
    ):
        await publish(bus, 1)
        await until(lambda: len(handled) == 1)
        assert_no_secret(f"{bus!r} {bus.options!r} {bus.url} {subscription!r}")
        set_password(acl_url, NEXT)
        assert command(acl_url, "CLIENT KILL TYPE normal SKIPME yes").startswith(":")
        await until(
            lambda: told(Scope.CONNECT, AuthenticationFailed) and told(Scope.READ, BusError)
        )
        giver.password = NEXT
        if way != "provider":
            set_password(acl_url, RIGHT)
        await publish(bus, 1)
        await until(lambda: len(handled) == 2)
        found = alive()
        assert "RedisBackend" in found
        assert "Address" in found
        assert "open_bus" in found
        assert_no_secret(found)
    assert_no_secret(repr(recorder))
    for event in recorder.errors:
        assert_no_secret(shown(event.error))
    assert "WRONGPASS" in logged(caplog)
    assert_no_secret(logged(caplog))


@pytest.mark.parametrize("way", WAYS)
async def test_a_bus_that_is_not_opened_shows_no_secret(
    acl_url: str, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For a wrong password, and where nobody is."""
    giver = Giver(WRONG)
    chosen = options(way, giver)
    error = await refused(with_password(acl_url, way, WRONG, giver), chosen, caplog)
    assert type(error) is AuthenticationFailed
    for nobody in (f"unix://{tmp_path}/none", "redis://localhost:1", "rediss://localhost:1"):
        error = await refused(with_password(nobody, way, RIGHT, giver), chosen, caplog)
        assert type(error) is ConnectionLost


async def _silent(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


async def _rude(stream: trio.SocketStream) -> None:
    await stream.receive_some()


async def _old(stream: trio.SocketStream) -> None:
    said = (await stream.receive_some()).replace(b"\r\n", b" ")
    await stream.send_all(b"-ERR unknown command `HELLO`, with args beginning with: %s\r\n" % said)


async def _echoing(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def _pushing(stream: trio.SocketStream) -> None:
    await stream.send_all(b">" + (await stream.receive_some())[1:])


async def _raving(stream: trio.SocketStream) -> None:
    said = (await stream.receive_some()).replace(b"\r\n", b" ")
    await stream.send_all(said[1:] + b"\r\n")


async def _erring(stream: trio.SocketStream) -> None:
    said = (await stream.receive_some()).replace(b"\r\n", b" ")
    await stream.send_all(b"-ERR what is %s\r\n" % said)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("talk", [_silent, _rude, _old, _echoing, _pushing, _raving, _erring])
async def test_whoever_answers_gets_no_secret_shown(
    way: str,
    talk: Callable[[trio.SocketStream], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody, or one who says the greeting back to us, in one form or another."""
    giver = Giver(RIGHT)
    async with listening(talk) as url:
        await refused(with_password(url, way, RIGHT, giver), options(way, giver), caplog)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://me:{MARK}/a@localhost",
        f"redis://me:{MARK}#a@localhost",
        f"redis://me:{MARK}?a@localhost",
        f"redis://me:{MARK}@localhost:port",
        f"redis://me:{MARK}@[::1",
        f"redis://me:{MARK}@localhost/zero",
        f"redis://me:{MARK}@localhost/1?db=2",
        f"redis://me:{MARK}@localhost?socket_timeout=long",
        f"redis://me:{MARK}@localhost?socket_timeout=-1",
        f"redis://me:{MARK}@localhost?client_name=a%20b",
        f"redis://localhost?pasword={MARK}",
        f"redis://localhost?password={MARK}&password={MARK}",
        f"redis://localhost?ssl_password={MARK}",
        f"rediss://localhost?ssl_password={MARK}",
        f"unix://me:{MARK}@host/socket",
        f"postgres://me:{MARK}@localhost",
        f"me:{MARK}@localhost",
    ],
)
async def test_a_url_that_is_refused_is_not_shown(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Wherever in it the mistake is."""
    assert type(await refused(url, BusOptions(), caplog)) is ValidationError


@pytest.mark.parametrize("url", [f"embedded://me:{MARK}@localhost", f"memory:{MARK}"])
async def test_a_url_of_no_server_is_not_shown(url: str) -> None:
    """Somebody changed the scheme and nothing else."""
    with pytest.raises(ValidationError) as caught:
        async with open_bus(url):
            pytest.fail("it was opened")
    assert_no_secret(shown(caught.value))


@pytest.mark.parametrize(
    "given", [MARK, [MARK], (MARK, MARK, MARK), (None, MARK), (MARK.encode(),)]
)
async def test_what_a_provider_gave_by_mistake_is_not_shown(
    server_url: str, given: object, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is the cause, as it is: only the provider knows what may be in that."""

    class Odd:
        def get_credentials(self) -> tuple[str, str]:
            return cast("tuple[str, str]", given)

    chosen = BusOptions(credential_provider=Odd())
    assert type(await refused(server_url, chosen, caplog)) is ValidationError


async def test_the_password_of_a_key_is_not_shown(
    server_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The right one, at work and where nobody is, and a wrong one."""
    authority = Authority(trustme.CA(), tmp_path)
    authority.ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    chosen = BusOptions(connect_timeout=5.0, observer=Telling())
    mine = [authority.trusted, *authority.client(authority.ca, NEXT)]
    async with tls_relay(server_url, authority.context()) as relay:
        async with open_bus(relay.url(*mine, f"ssl_password={NEXT}"), chosen) as bus:
            await publish(bus, 1)
            assert_no_secret(alive())
        wrong = await refused(relay.url(*mine, f"ssl_password={WRONG}"), chosen, caplog)
        assert type(wrong) is ValidationError
    nobody = f"rediss://localhost:1?{'&'.join(mine)}&ssl_password={NEXT}"
    error = await refused(nobody, attrs.evolve(chosen, connect_timeout=0.2), caplog)
    assert type(error) is ConnectionLost


def test_the_command_prints_no_secret(acl_url: str) -> None:
    """Whether the server takes it, refuses it or is not there."""
    giver = Giver(RIGHT)
    urls = {
        "right": with_password(acl_url, "user", RIGHT, giver),
        "wrong": with_password(acl_url, "query", WRONG, giver),
        "nobody": f"redis://rotated:{NEXT}@localhost:1",
    }
    commands = (
        "publish t",
        "consume t g --count 1",
        "bench --only publish --messages 10 --rounds 1 --json",
    )
    running = [
        (name, line, _start(*line.split(), "--url", url))
        for name, url in urls.items()
        for line in commands
    ]
    for name, line, process in running:
        with process:
            out, err = process.communicate(b"x\n", timeout=60)
        assert process.returncode == (0 if name == "right" else 1), (name, line, err)
        assert out or err
        assert_no_secret(out.decode() + err.decode())
    for process in [_start("doctor", url) for url in urls.values()]:
        with process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == 1, err  # a server that forgets, a refusal, and nobody
        assert out or err
        assert_no_secret(out.decode() + err.decode())


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "trio_bus._cli", *arguments],
        env=unmeasured(),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )


def test_these_tests_would_see_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """In the locals of a library, deep in what was raised; in a log; in what is alive."""
    with pytest.raises(ValueError, match="Expecting value") as caught:
        json.loads(MARK)
    suppressed = RuntimeError("nothing to see")
    suppressed.__context__ = caught.value
    suppressed.__suppress_context__ = True
    logging.getLogger("any").debug("failed", exc_info=ExceptionGroup("all", [suppressed]))
    message = trio_bus.Message("orders", b"", key=MARK)
    for text in (shown(suppressed), logged(caplog), alive()):
        with pytest.raises(AssertionError):
            assert_no_secret(text)
    assert message.key == MARK
