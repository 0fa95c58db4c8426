"""Brings the faults of a plan over a world."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from trio_bus.testing._line import What

from .administrator import administer
from .faults import Fault, Trouble
from .steps import after_steps

if TYPE_CHECKING:
    from .process import Process
    from .wire import Wire
    from .world import World


@attrs.frozen
class Troubles:
    """Everything that goes wrong in a world, in its order."""

    _world: World

    async def run(self) -> None:
        """Let it happen, and return when it is over."""
        async with trio.open_nursery() as nursery:
            for fault in self._world.plan.faults:
                await trio.sleep_until(fault.when)
                self._begin(fault, nursery)
            await trio.sleep_until(self._world.plan.scenario.seconds)
            nursery.cancel_scope.cancel("it heals")

    def _begin(self, fault: Fault, nursery: trio.Nursery) -> None:
        """Let one begin; what has an end ends in a task of its own."""
        host, declare = self._world.host, self._world.journal.fault
        match fault.trouble:
            case Trouble.RESTARTED:
                declare(What.SERVER_STOPPED, seconds=fault.seconds)
                host.stop()
                nursery.start_soon(self._later, fault.seconds, self._start_server)
            case Trouble.SUSPENDED:
                declare(What.PAUSED, "all processes", seconds=fault.seconds)
                self._world.suspend(fault.seconds)
            case Trouble.CLOCK:
                seconds = -fault.seconds if fault.after else fault.seconds
                declare(What.CLOCK_STEPPED, seconds=seconds)
                host.streams.step_clock(seconds)
            case Trouble.DELETED | Trouble.TRIMMED | Trouble.UNGROUPED | Trouble.UNSTREAMED:
                administer(self._world, fault)
            case _ if fault.process in host.wires:
                self._hit(fault, host.wires[fault.process], nursery)
            case _:
                return  # nobody is there yet

    def _hit(self, fault: Fault, wire: Wire, nursery: trio.Nursery) -> None:
        """Hit one process."""
        process, declare = wire.process, self._world.journal.fault
        match fault.trouble:
            case Trouble.KILLED:
                after_steps(fault.number, partial(self._world.kill, process, "by a fault"))
            case Trouble.PAUSED:
                declare(What.PAUSED, actor=process.name, seconds=fault.seconds)
                process.stop()
                nursery.start_soon(self._later, fault.seconds, partial(self._go_on, process))
            case Trouble.DEAF:
                declare(What.FAULT, "wake-ups are lost", actor=process.name, seconds=fault.seconds)
                wire.is_deaf = True
                nursery.start_soon(self._later, fault.seconds, wire.hear)
            case _:
                declare(What.FAULT, f"it will meet: {fault.on_the_wire}", actor=process.name)
                wire.expect(fault)

    async def _later(self, seconds: float, act: Callable[[], None]) -> None:
        await trio.sleep(seconds)
        act()

    def _start_server(self) -> None:
        self._world.journal.fault(What.SERVER_STARTED)
        self._world.host.start()

    def _go_on(self, process: Process) -> None:
        self._world.journal.fault(What.RESUMED, actor=process.name)
        process.go_on()
