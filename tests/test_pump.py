"""Synchronous code drives a trio run, in virtual and in real time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest
import trio

from trio_bus.testing._pump import Pump, PumpStuck


@pytest.fixture(params=[True, False], ids=["virtual", "real"])
def pump(request: pytest.FixtureRequest) -> Iterator[Pump]:
    with Pump(virtual_time=request.param is True) as pump:
        yield pump


async def _double(number: int) -> int:
    await trio.sleep(0.01)
    return number * 2


async def _fail() -> None:
    await trio.sleep(0.01)
    raise LookupError("planted")


def test_a_call_returns_its_result_or_raises_its_exception(pump: Pump) -> None:
    assert pump.run(_double, 21) == 42
    with pytest.raises(LookupError, match="planted"):
        pump.run(_fail)
    assert pump.run(_double, 4) == 8


def test_time_passes_only_as_told(pump: Pump) -> None:
    began = pump.now()
    pump.advance(0.02)
    assert pump.now() - began >= 0.02


def test_virtual_time_stands_between_calls_and_costs_nothing() -> None:
    with Pump() as pump:
        began = pump.now()
        pump.settle()
        assert pump.now() == began
        pump.advance(500.0)
        assert pump.now() == began + 500.0


def test_a_task_of_the_background_runs_between_calls_of_others(pump: Pump) -> None:
    heard: list[int] = []
    send, receive = trio.open_memory_channel[int](0)

    async def listen() -> None:
        while True:
            heard.append(await receive.receive())

    pump.start_soon(listen)
    pump.run(send.send, 1)
    pump.run(send.send, 2)
    pump.settle()
    assert heard == [1, 2]


def test_what_a_task_of_the_background_raises_is_told_next(pump: Pump) -> None:
    pump.start_soon(_fail)
    with pytest.raises(LookupError, match="planted"):
        pump.advance(0.05)
    pump.settle()  # told once


def test_several_failures_are_told_together(pump: Pump) -> None:
    pump.start_soon(_fail)
    pump.start_soon(_fail)
    with pytest.raises(ExceptionGroup) as failed:
        pump.advance(0.05)
    assert len(failed.value.exceptions) == 2


def test_a_context_manager_stays_open_between_calls(pump: Pump) -> None:
    told: list[str] = []

    @asynccontextmanager
    async def open_it() -> AsyncGenerator[str]:
        with trio.CancelScope():  # which must be left in the task that entered it
            try:
                yield "open"
            finally:
                told.append("left")

    stay = pump.enter(open_it())
    pump.settle()
    assert (stay.value, told) == ("open", [])
    stay.leave()
    pump.enter(open_it()).crash()
    pump.enter(open_it())
    pump.close()
    assert told == ["left"] * 3


def test_what_cannot_be_entered_says_why(pump: Pump) -> None:
    @asynccontextmanager
    async def open_it() -> AsyncGenerator[None]:
        await _fail()
        yield

    with pytest.raises(LookupError, match="planted"):
        pump.enter(open_it())


def test_a_job_is_cancelled_at_any_step(pump: Pump) -> None:
    for steps in range(4):
        job = pump.start(_double, 1)
        for _ in range(steps):
            if not job.ended:
                pump.step()
        job.cancel()
        pump.wait_for(job)
        assert job.ended
        if job.cancelled:
            with pytest.raises(RuntimeError, match=r"_double was cancelled"):
                job.result()
        else:
            assert job.result() == 2


def test_a_group_of_cancellations_is_no_failure(pump: Pump) -> None:
    async def stubborn(error: Exception | None) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            others = [] if error is None else [error]
            raise BaseExceptionGroup("together", [cancelled, *others]) from None

    for error in (None, ValueError("meanwhile")):
        job = pump.start(stubborn, error)
        pump.settle()
        job.cancel()
        pump.wait_for(job)
        assert job.cancelled is (error is None)
        if error is not None:
            with pytest.raises(ExceptionGroup) as caught:
                job.result()
            assert caught.value.exceptions == (error,)


def test_a_call_that_never_ends_is_told_with_its_tasks() -> None:
    async def wait_in_vain() -> None:
        await trio.sleep_forever()

    with Pump() as pump:
        with pytest.raises(PumpStuck, match=r"wait_in_vain:\d+"):
            pump.run(wait_in_vain)
        assert pump.run(_double, 1) == 2


def test_a_call_that_spins_is_told() -> None:
    async def spin() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with Pump(most_ticks=50) as pump, pytest.raises(PumpStuck, match="spin"):
        pump.run(spin)


def test_a_call_that_sleeps_again_and_again_is_told() -> None:
    async def sleep_on() -> None:
        while True:
            await trio.sleep(1)

    with Pump(patience=10) as pump:
        with pytest.raises(PumpStuck, match="sleep_on"):
            pump.run(sleep_on)
        assert pump.now() < 12


def test_in_real_time_patience_is_counted_by_the_machine() -> None:
    with Pump(virtual_time=False, patience=0.05) as pump:
        began = monotonic()
        with pytest.raises(PumpStuck, match="sleep_forever"):
            pump.run(trio.sleep_forever)
        assert monotonic() - began >= 0.05


def test_a_closed_pump_refuses() -> None:
    pump = Pump()
    pump.close()
    pump.close()
    with pytest.raises(RuntimeError, match="closed"):
        pump.run(_double, 1)


def test_a_job_that_has_not_ended_has_no_result() -> None:
    with Pump() as pump, pytest.raises(RuntimeError, match="has not ended"):
        pump.start(_double, 1).result()


def test_there_is_one_run_after_another() -> None:
    for _ in range(2):
        with Pump() as pump:
            assert pump.run(_double, 1) == 2
    assert trio.run(_double, 1) == 2
