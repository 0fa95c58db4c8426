"""A whole bus at work: programs on one backend, driven step by step, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count

import attrs
import trio

from trio_bus._backend import StreamBackend
from trio_bus._backoff import Backoff
from trio_bus._chance import chance_of
from trio_bus._config import SubscriptionConfig
from trio_bus._modes import AckMode, BalanceMode, OrderingMode
from trio_bus._retention import Retention
from trio_bus._uid import new_uid
from trio_bus._wall import wall_shows
from trio_bus.testing._invariants import InvariantBroken, Judge
from trio_bus.testing._journal import Journal
from trio_bus.testing._line import Line
from trio_bus.testing._places import Places, look_at
from trio_bus.testing._pump import Pump
from trio_bus.testing._schedule import schedule_of
from trio_bus.testing._story import tell
from trio_bus.testing._tasks import all_tasks

from .handling import Do, Running
from .operating import Operating
from .program import Program, Way
from .publishing import Publishing

OpenBackend = Callable[[], AbstractAsyncContextManager[StreamBackend]]
"""Opens the backend that is judged."""

START = datetime(2030, 1, 1, tzinfo=UTC)
LEASE = 4
EXPIRY = 5
TICK = 0.5
"""Units."""
RETAIN = 12 * TICK
"""Units after which every topic was looked at for what its retention removes."""
PATIENCE = 400
"""Units within which everything is finished once nothing goes wrong any more."""
TOPICS = ("a", "b")
GROUPS = (("a", "g"), ("a", "h"), ("b", "g"))
FANS = (("a", ""), ("b", ""))
"""Where each program has a group of its own."""


UNIT = 1.0
"""Seconds of virtual time."""
REAL_UNIT = 0.2
"""Seconds of real time: all that waits, waits for some of these."""


@attrs.frozen
class Subject:
    """What is judged, and how; see `bus_conformance`."""

    open_backend: OpenBackend
    virtual_time: bool = attrs.field(kw_only=True)


@attrs.frozen(kw_only=True)
class Rules:
    """What all members of one group have in common."""

    max_retry: int = 1
    buries: bool = True
    retention: Retention | None = None
    max_parked: int | None = None
    """None: there is no order of keys."""


@attrs.frozen(kw_only=True)
class Form:
    """How one program subscribes."""

    pulls: bool = False
    batch_units: float | None = None
    """How long a batch may wait; None: each delivery has a handler of its own."""
    ack_mode: AckMode | None = None
    max_in_flight: int = 2
    max_in_flight_bytes: int | None = None
    handler_units: float | None = None
    drain_units: float = 1.0


def _now() -> datetime:
    """Return the time on the wall in virtual time."""
    return START + timedelta(seconds=trio.current_time())


class Play:
    """One program of the state machine.

    Args:
      subject: What is judged; its backend is kept open to the end.
      rules: What holds for the members of each group.
      seed: Decides, in virtual time, which task runs first, and all else that is left to chance.
    """

    def __init__(self, subject: Subject, rules: Sequence[Rules], seed: int) -> None:
        self.virtual_time = virtual_time = subject.virtual_time
        self.unit: float = UNIT if virtual_time else REAL_UNIT
        """Seconds; all that waits, waits for some of them."""
        self._seeded = ExitStack()
        if virtual_time:  # then nothing else decides what happens
            for decide in (chance_of(seed), schedule_of(seed), wall_shows(_now)):
                self._seeded.enter_context(decide)
        self._prefix = f"play-{new_uid()[:8]}"
        self.pump = Pump(virtual_time=virtual_time)
        self.journal = Journal(start=self.pump.now())
        self.judge = Judge(punctual=virtual_time)
        self.journal.listen(self._hear)
        self._broken: InvariantBroken | None = None
        self.running: list[Running] = []
        """The handlers at work, oldest first."""
        self.programs: list[Program] = []
        """Those that have not ended."""
        self.ending = False
        """Whether all handlers succeed by themselves now."""
        self._rules = dict(zip(GROUPS, rules, strict=True))
        self.numbers: Iterator[int] = count(1)
        """No two things of a play have the same one."""
        self._tasks = set(all_tasks())
        with ExitStack() as failed:
            failed.enter_context(self._seeded)
            self._opened = self.pump.enter_first(subject.open_backend())
            failed.pop_all()
        self.backend = self._opened.value
        self.publishing = Publishing(self)
        self.operating = Operating(self)

    # -- what a rule may do --------------------------------------------------------------------

    def subscribe(self, where: tuple[str, str], form: Form) -> Program:
        """Start a program of that group, and wait until it is subscribed."""
        number = next(self.numbers)
        wait = None if form.batch_units is None else form.batch_units * self.unit
        config = self.config(where, form)
        program = Program(self, f"program-{number}", config, pulls=form.pulls, batch_wait=wait)
        self.programs.append(program)
        self.pump.pump_until(lambda: program.subscription is not None or program.ended)
        return program

    def tell(self, which: int, order: Do) -> str:
        """Give one of the handlers an order; say which one, for whoever reads the program."""
        running = self.running[which % len(self.running)]
        running.tell(order)
        return running.label

    def leave(self, which: int, way: Way) -> None:
        """Let a program leave its subscription."""
        self.programs[which % len(self.programs)].leave(way)

    def halt(self, which: int) -> None:
        """Pause the subscription of a program, or resume it."""
        self.programs[which % len(self.programs)].halt()

    def kill(self, which: int) -> None:
        """Kill a program."""
        self.programs[which % len(self.programs)].kill()

    def kill_at_work(self, which: int) -> None:
        """Kill the program of one of the handlers."""
        actor = self.running[which % len(self.running)].actor
        for program in self.programs:
            if program.actor == actor:
                program.kill()

    def wait(self, units: float) -> None:
        """Let time pass; after more than a tick of everybody all is where it should be."""
        self.pump.advance(units * self.unit)
        self._raise()
        if self.virtual_time and units > 2 * TICK:
            with self.noting():
                self.judge.quiet(self.places())

    # -- what follows each rule ------------------------------------------------------------------

    def settle(self) -> None:
        """Let everything happen that can, and look whether all rules were kept."""
        self.pump.settle()
        self.programs = [program for program in self.programs if not program.ended]
        with self.noting():
            for running in self.running:
                running.check()
            self.judge.look(self.places())

    def places(self) -> Places:
        """Look where the entries are."""
        return self.pump.run(look_at, self.backend, self._topics())

    def finish(self) -> None:
        """Let everything end well, and look whether all rules were kept to the end."""
        self.ending = True
        self.journal.healed()
        for running in list(self.running):
            for order in (Do.GIVE_IN, Do.ACK, Do.RETURN):
                running.tell(order)
        stay = [it for it in self.programs if it.fans_out and it.is_open and not it.is_paused]
        leave = [it for it in self.programs if it not in stay]
        for program in leave:
            program.leave(Way.LEAVE)
        self._wait_until(lambda: all(program.ended for program in leave))
        self.programs.clear()
        last = [*stay, *(self.subscribe(where, Form(max_in_flight=16)) for where in GROUPS)]
        self._wait_until(self._all_is_done)
        if any(rules.retention for rules in self._rules.values()):
            self.pump.advance(RETAIN * self.unit)  # then what is finished is removed
        self.pump.settle()
        self.journal.quiet()
        with self.noting():
            self.judge.quiet(self.places())
        for program in last:
            program.leave(Way.LEAVE)
        self._wait_until(lambda: all(program.ended for program in last))
        self.journal.over()
        places = self.places()
        self._opened.leave()
        for task in sorted(it.name for it in all_tasks() if it not in self._tasks):
            self.journal.leaked("process", f"the task {task}")
        with self.noting():
            self.judge.finish(places)

    def story(self) -> str:
        """Tell what happened so far, and what broke."""
        return tell(self.journal.lines, self._broken)

    def close(self) -> None:
        """Stop everything, whatever state it is in."""
        for running in self.running:
            running.tell(Do.GIVE_IN)
        with self._seeded:
            self.pump.close()

    # -- below ----------------------------------------------------------------------------------

    def topic(self, name: str) -> str:
        """Return what a topic is called on the backend."""
        return f"{{{self._prefix}}}.{name}"

    def place_of_dead(self, topic: str, group: str) -> str:
        """Return the topic in which that lies which a group of a topic gave up."""
        shared = (it for it in GROUPS if (self.topic(it[0]), it[1]) == (topic, group))
        where = next(shared, (topic, group))
        return self.topic("dead") if self._rules.get(where, Rules()).buries else topic

    def config(self, where: tuple[str, str], form: Form) -> SubscriptionConfig:
        """Return the settings of a program of that group."""
        topic, group = where
        rules, unit = self._rules.get(where, Rules()), self.unit
        if rules.max_parked is not None and form.ack_mode is AckMode.AUTO_ON_RECEIVE:
            form = attrs.evolve(form, ack_mode=None)  # it would keep no order
        timeout = form.handler_units
        config = SubscriptionConfig(
            self.topic(topic),
            group,
            balance_mode=BalanceMode.COMPETING if group else BalanceMode.FAN_OUT,
            ack_mode=form.ack_mode,
            max_in_flight=form.max_in_flight,
            max_in_flight_bytes=form.max_in_flight_bytes,
            dead_letter_topic=self.topic("dead") if rules.buries else None,
            handler_timeout=None if timeout is None else timeout * unit,
            claim_idle_timeout=LEASE * unit,
            reclaim_interval=TICK * unit,
            block_timeout=unit,
            drain_timeout=form.drain_units * unit,
            shutdown_timeout=max(unit, 1.0),
            retention=rules.retention,
        )
        if not group:
            config = attrs.evolve(config, fan_out_expiry=EXPIRY * unit)
        if form.ack_mode is AckMode.AUTO_ON_RECEIVE:
            return config  # nothing is tried again, and nothing published with the ack
        config = attrs.evolve(config, output_topics=(self.topic("effects"),))
        if rules.max_parked is not None:
            config = attrs.evolve(
                config, ordering_mode=OrderingMode.KEY, max_parked=rules.max_parked
            )
        backoff = Backoff(first=unit / 2, cap=unit, jitter=0.0)
        return attrs.evolve(config, max_retry=rules.max_retry, retry_backoff=backoff)

    def _hear(self, line: Line) -> None:
        """Let the judge hear; what he says is raised where no task of the bus can meet it."""
        if self._broken is None:
            try:
                self.judge.hear(line)
            except InvariantBroken as broken:
                self._broken = broken

    def _raise(self) -> None:
        if self._broken is not None:
            raise self._broken

    @contextmanager
    def noting(self) -> Generator[None, None, None]:
        """Keep what is found to be broken, for the story; what broke before comes first."""
        self._raise()
        try:
            yield
        except InvariantBroken as broken:
            self._broken = broken
            raise

    def _topics(self) -> list[str]:
        return [self.topic(name) for name in (*TOPICS, "dead", "effects")]

    def _all_is_done(self) -> bool:
        infos = [self.pump.run(self.backend.info, self.topic(topic)) for topic in TOPICS]
        return all(
            info.scheduled == 0 and all(group.oldest is None for group in info.groups)
            for info in infos
        )

    def _wait_until(self, holds: Callable[[], bool]) -> None:
        for _ in range(PATIENCE):
            if holds():
                return
            self.pump.advance(self.unit)
        raise AssertionError(f"after {PATIENCE * self.unit:g} s something is still not finished")
