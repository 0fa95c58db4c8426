"""The subject, all states that it may be in, and the time between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from itertools import count, product

import attrs
import trio

from trio_bus._backend import GroupMember, Receipt, StreamBackend
from trio_bus._entry_id import EntryId
from trio_bus._errors import BusError
from trio_bus._info import TopicInfo
from trio_bus.testing._pump import Pump, Stay

from ._cast import ALONE, GROUPS, TOPICS, Shape, Who
from ._matching import Facts, Matcher, shown
from ._model import Model, ModelClock
from ._promises import promises_of
from ._step import Ended, NotSoError, Step, exactly, nothing
from ._tally import Tally
from ._verdict import Verdict

OpenBackend = Callable[[], AbstractAsyncContextManager[StreamBackend]]

_VIRTUAL_MARGIN = 0.002
_REAL_MARGIN = 0.004
_ROUNDING = 0.002
"""Servers count milliseconds."""
_MOST_MODELS = 12
_MOST_WAITS = 40
_STORY = 25
_DEADLINES = 3
"""Of those that come, how many are waited for."""
_LONG = 12
"""Units; nobody waits for longer."""


@attrs.define
class Given:
    """A receipt that was given out."""

    who: Who
    receipt: Receipt
    ours: bool = True
    """Whether nothing is known to have ended it."""


class World:
    """Does each step to the subject, and keeps those models that agree with what came.

    Args:
      open_backend: Opens the subject.
      shape: What the program has in common.
      tally: Counts what is judged.
      virtual_time: See `Pump`.
    """

    def __init__(
        self, open_backend: OpenBackend, shape: Shape, tally: Tally, *, virtual_time: bool
    ) -> None:
        self.shape = shape
        self._tally = tally
        self.pump = Pump(virtual_time=virtual_time)
        self.undecided = ""
        """Why the rest of the program cannot be judged: the machine was too slow."""
        self.given: list[Given] = []
        self.seen: dict[str, list[EntryId]] = {topic: [] for topic in TOPICS}
        """Ids that were told, by topic, the newest last."""
        self.set_apart: list[tuple[Who, EntryId]] = []
        self.story: list[str] = []
        self.numbers = count(1)
        self._stay: Stay[StreamBackend] = self.pump.enter_first(open_backend())
        self._members: dict[Who, Stay[GroupMember]] = {}
        self._began = self.pump.now()
        self._judged = -1.0
        self._margin = _VIRTUAL_MARGIN if virtual_time else _REAL_MARGIN
        self._clock = ModelClock()
        self._models = [Model(self._clock)]
        self._doubts: list[Step] = []
        self._memberships = [shape.membership(Who(*group, "x")) for group in GROUPS]
        self._memberships.append(shape.membership(ALONE))

    @property
    def subject(self) -> StreamBackend:
        """The backend that is tested."""
        return self._stay.value

    def member(self, who: Who) -> GroupMember:
        """Return that consumer, who joins if need be."""
        if who not in self._members:
            self._members[who] = self.pump.enter(self.subject.join(self.shape.membership(who)))
        return self._members[who].value

    def part(self, who: Who, *, crash: bool) -> None:
        """Let a consumer leave, or vanish: that changes nothing."""
        stay = self._members.pop(who, None)
        if stay is None:
            return
        (stay.crash if crash else stay.leave)()
        words = f"{who} {'crashes' if crash else 'leaves'}"
        self.perform(Step("join", words, self.shape.name(who.topic), _gone, exactly(nothing)))

    def close(self) -> None:
        """End everything."""
        try:
            for stay in self._members.values():
                stay.leave()
            self._stay.leave()
        finally:
            self.pump.close()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.story.append(f"{seconds:g} s pass")
        self.pump.advance(seconds)

    def sleep_to_a_deadline(self, which: int, *, after: bool) -> None:
        """Let time pass until just before something ends, or is due, or just after it."""
        self._stand_clear()
        coming = sorted({*self._deadlines(self._elapsed())})[:_DEADLINES]
        if coming:
            away = self._margin + 0.001 if after else -2 * self._margin - 0.002
            seconds = coming[which % len(coming)] - self._elapsed() + away
            if 0 < seconds < _LONG * self.shape.unit:
                self.sleep(seconds)

    def perform(self, step: Step, cancel: int | None = None) -> object:
        """Do it, and judge what comes; with *cancel*, cancel it after so many moments.

        Returns:
          What came; `Ended.CANCELLED` if it was cancelled.

        Raises:
          ContractBroken: nothing that may have happened explains it.
        """
        self._stand_clear(step.delays)
        if self.undecided:
            return Ended.CANCELLED
        began = self._elapsed()
        came = self._carry_out(step, cancel)
        ended = self._elapsed() if step.ended is None else step.ended() - self._began
        # (A read that brings nothing makes nothing end; it may have opened a connection.)
        if not step.timeless and came != [] and self._is_ambiguous(began, ended):
            self.undecided = "an operation took too long"
            return came
        self._clock.seconds = self._judged = began
        models, verdict = self.pump.run(self._judge, step, came)
        self._tally.operations[step.operation] += 1
        if not models and verdict is not None:
            raise verdict.error(self.story[-_STORY:])
        self._models = models
        if len(models) == 1:
            self._doubts.clear()
        elif came is Ended.CANCELLED:
            self._doubts.append(step)
        self.story.append(self._named(models[0], step.topic, f"{step.words}: {shown(came)}"))
        if len(models) > _MOST_MODELS:
            self.undecided = "too much may have happened"
        return came

    def _carry_out(self, step: Step, cancel: int | None) -> object:
        job = self.pump.start(told, step.theirs)
        if cancel is not None:
            for _ in range(cancel):
                if not job.ended:
                    self.pump.step()
            job.cancel()
        self.pump.wait_for(job)
        if not job.cancelled:
            return job.result()
        # A server may do it as long as it has not answered what it is asked after it.
        self.pump.run(self.subject.info, step.topic)
        return Ended.CANCELLED

    async def _judge(self, step: Step, came: object) -> tuple[list[Model], Verdict | None]:
        infos = [await self.subject.info(self.shape.name(topic)) for topic in TOPICS]
        kept: dict[bytes, Model] = {}
        objections: list[Callable[[int], Verdict]] = []
        acts = step.outcomes(came)
        is_plain = len(acts) == len(self._models) == 1
        for model, act in product(self._models, acts):
            fork = model if is_plain else model.copy()
            with suppress(NotSoError):
                expected = await told(partial(act, fork))
                found = self._object(step, came, infos, fork, expected)
                if found is None:
                    kept[b"" if is_plain else fork.state()] = fork
                else:
                    objections.append(found)
        return list(kept.values()), None if kept else objections[0](len(objections) - 1)

    def _object(
        self, step: Step, came: object, infos: list[TopicInfo], model: Model, expected: object
    ) -> Callable[[int], Verdict] | None:
        """Say what is wrong, if this is what happened."""
        if came is not Ended.CANCELLED:
            found = self._matcher(model, step.topic).difference(expected, came)
            if found is not None:
                return partial(self._verdict, step, model, expected, came, found)
        for topic, theirs in zip(TOPICS, infos, strict=True):
            name = self.shape.name(topic)
            mine = model.tell(name)
            matcher = self._matcher(model, name)
            found = matcher.difference(mine, theirs)
            if found is not None:
                told_by = attrs.evolve(step, topic=name, words=f"{step.words}: {shown(came)}")
                about = f"info of {topic}: {found}"
                facts = matcher.unlike_facts(mine, theirs)
                return partial(self._verdict, told_by, model, *facts, about)
        return None

    def _matcher(self, model: Model, topic: str) -> Matcher:
        return Matcher(model.pairs, topic, slack=self._margin + 0.002)

    def _verdict(  # noqa: PLR0917 - see `_object`
        self, step: Step, model: Model, expected: object, came: object, differs: str, others: int
    ) -> Verdict:
        cancelled = step.words.endswith(shown(Ended.CANCELLED))
        by_info = isinstance(came, Facts)
        about = "cancelled" if cancelled else "info" if by_info else differs
        operations = [(step.operation, about), *([("info", "")] if by_info else [])]
        operations += [(step.also, about)] if step.also else []
        operations += [(doubt.operation, "cancelled") for doubt in self._doubts]
        return Verdict(
            step.operation,
            [(it, words) for it, what in operations for words in promises_of(it, what)],
            self._named(model, step.topic, step.words),
            self._named(model, step.topic, shown(expected, model.pairs, step.topic)),
            others,
            self._named(model, step.topic, shown(came)),
            self._named(model, step.topic, differs),
            [self._named(model, it.topic, f"{it.words}: was cancelled") for it in self._doubts],
        )

    def _named(self, model: Model, topic: str, text: str) -> str:
        return model.pairs.name_entries(topic, text).replace(self.shape.name(""), "")

    def _elapsed(self) -> float:
        return self.pump.now() - self._began

    def _deadlines(self, since: float) -> Iterator[float]:
        for model in self._models:
            yield from model.deadlines(self._memberships, since)

    def _stand_clear(self, delays: Sequence[float] = ()) -> None:
        """Wait while it is close to a time at which something else would come.

        Nothing may be due so soon before or after something else, either: *delays* say after how
        long something will be. Within a millisecond each backend has an order of its own.
        """
        for _ in range(_MOST_WAITS):
            now = self._elapsed()
            since = max(self._judged, now - self._margin)
            near = [at - now for at in self._deadlines(since) if at <= now + self._margin]
            for due in delays:
                near += [at - now - due for at in self._dues(now + due) if at > since]
            if not near:
                return
            self.pump.advance(max(near) + self._margin + 0.001)
        self.undecided = "there was always something about to happen"

    def _dues(self, at: float) -> Iterator[float]:
        """Walk over what is due close to that time."""
        for model in self._models:
            for due in model.dues(self._memberships, at - self._margin):
                if due <= at + self._margin:
                    yield due

    def _is_ambiguous(self, began: float, ended: float) -> bool:
        """Say whether it may have come before one of the times, or after it.

        What it made end or due some time later may be so by as much later as it took.
        """
        if not self.pump.virtual_time:
            self._margin = max(self._margin, ended - began + _REAL_MARGIN)
        late = ended + _ROUNDING
        return self._margin > self.shape.unit or any(at <= late for at in self._deadlines(began))


async def _gone() -> None:
    """Do nothing: it was done."""


async def told(call: Callable[[], Awaitable[object]]) -> object:
    """Return what is returned, or an error of trio_bus that is raised."""
    try:
        return await call()
    except BusError as error:
        return error


async def let_wait(pump: Pump) -> None:
    """Let other tasks go on until they wait; in real time, give them a moment."""
    if pump.virtual_time:
        await trio.testing.wait_all_tasks_blocked()
    else:
        await trio.sleep(0.005)
