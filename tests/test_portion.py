"""How much is asked for at once: a reply that is cut by its size must not be asked for again."""

from __future__ import annotations

import pytest

from trio_bus._errors import ConnectionLost, OutcomeUnknown
from trio_bus._redis.portion import Portion


def lose(portion: Portion, count: int, cause: Exception | None = None) -> int:
    """Lose one reply; return how many were asked for."""
    wanted: list[int] = []
    with pytest.raises(OutcomeUnknown), portion.asking(count) as asked:
        wanted.append(asked)
        raise OutcomeUnknown("cut") from (cause or EOFError("the end"))
    return wanted[0]


def read(portion: Portion, count: int, got: int) -> int:
    """Get one reply; return how many were asked for."""
    with portion.asking(count) as asked:
        portion.came(asked, min(got, asked))
    return asked


def test_each_loss_halves_it_down_to_one() -> None:
    """And there it stays."""
    portion = Portion()
    assert [lose(portion, 20) for _ in range(7)] == [20, 10, 5, 2, 1, 1, 1]


def test_full_replies_double_it_again() -> None:
    """One that is not full says nothing, nor does one that was smaller because less was wanted."""
    portion = Portion()
    assert [lose(portion, 16) for _ in range(2)] == [16, 8]
    assert [read(portion, 16, 3) for _ in range(100)] == [4] * 100
    assert [read(portion, 2, 2) for _ in range(100)] == [2] * 100
    assert [read(portion, 16, 16) for _ in range(13)] == [4] * 4 + [8] * 4 + [16] * 5
    assert read(portion, 1000, 16) == 32


def test_what_fails_often_is_tried_less_often() -> None:
    """A stream of large entries loses its connection about once in 64 replies, not in two."""
    portion = Portion()
    losses = 0
    for _ in range(2000):
        with portion.asking(100) as asked:
            pass
        if asked > 10:
            lose(portion, 100)
            losses += 1
        else:
            read(portion, 100, 100)
    assert losses < 60


def test_only_a_cut_reply_says_something_about_size() -> None:
    """A server that is late, or was never asked, is not helped by smaller questions."""
    portion = Portion()
    lose(portion, 16, TimeoutError("late"))
    with pytest.raises(ConnectionLost), portion.asking(16):
        raise ConnectionLost("not sent")
    assert read(portion, 16, 16) == 16


def test_one_entry_is_suspect_when_it_was_cut_alone() -> None:
    """Not by the first loss of a consumer that never takes more; and not after a reply came."""
    portion = Portion()
    lose(portion, 1)
    assert not portion.is_single
    lose(portion, 1)
    assert portion.is_single
    read(portion, 1, 0)
    assert portion.is_single, "nothing came"
    read(portion, 1, 1)
    assert not portion.is_single
