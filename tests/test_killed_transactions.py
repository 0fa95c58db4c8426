"""Processes that commit, killed at random moments: the effects are exact."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from tests.unmeasured import unmeasured

pytestmark = pytest.mark.any_python

STOCK = Path(__file__).parent.parent / "docs" / "examples" / "stock.py"


async def booked(url: str, orders: int, kills: int) -> bytes:
    """Let workers be killed; return what was counted at last."""
    command = [sys.executable, str(STOCK), url, str(orders), str(kills)]
    with trio.fail_after(300):
        ran = await trio.run_process(command, capture_stdout=True, env=unmeasured())
    return ran.stdout.splitlines()[-1]


@pytest.mark.bulk
async def test_200_messages_and_4_kills(server_url: str) -> None:
    """None is missing, and none is there twice."""
    assert await booked(server_url, 200, 4) == b"booked: 1100 pens and 200 invoices"


@pytest.mark.any_server
@pytest.mark.bulk
@pytest.mark.long
async def test_2000_messages_and_30_kills(server_url: str) -> None:
    """The sum of the outputs is exact."""
    assert await booked(server_url, 2000, 30) == b"booked: 11000 pens and 2000 invoices"
