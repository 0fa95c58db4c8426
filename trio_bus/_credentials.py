"""How to log in: passwords that do not show themselves, and who gives them."""

from __future__ import annotations

from typing import Protocol, TypeGuard, cast, final

import attrs


@final
class Secret:
    """A text that no repr, no log and no traceback with its locals shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def reveal(self) -> str:
        """Return the text; keep it in no variable."""
        return self._text


class CredentialProvider(Protocol):
    """Gives the credentials of a connection when it is made: what redis-py calls by this name.

    Any ``redis.credentials.CredentialProvider`` is one.
    """

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return ``(password,)`` or ``(user, password)``.

        It is called in a thread and may block. When connecting has taken too long, its thread is
        left alone; so several calls may overlap, but no more than four. Give it a timeout of its
        own: while four calls hang, nobody is asked, and nothing connects.
        """
        ...


@attrs.frozen
class Login:
    """A user and a password."""

    user: str
    password: Secret


def as_login(given: object) -> Login | None:
    """Read what a provider gave; None if that are no credentials. It does not raise."""
    if not isinstance(given, tuple):
        return None
    texts = cast("tuple[object, ...]", given)
    match texts:
        case (password,):
            user: object = "default"
        case (user, password):
            pass
        case _:
            return None
    if not _is_sendable(user) or not _is_sendable(password):
        return None
    return Login(user or "default", Secret(password))


def _is_sendable(text: object) -> TypeGuard[str]:
    """Tell whether *text* is a str that can be written as UTF-8."""
    return isinstance(text, str) and not any("\ud800" <= char <= "\udfff" for char in text)
