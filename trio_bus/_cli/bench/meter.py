"""What a piece of work costs: time that passes, time of the processor, and memory."""

from __future__ import annotations

import gc
import re
import resource
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter, process_time
from typing import final

from .order import Figures
from .program import Wrong

PROC = Path("/proc/self")
_MIB = 1024 * 1024

now = perf_counter


@final
class Meter:
    """Measures this process from `start` to `stop`."""

    def __init__(self) -> None:
        self._began = self._cpu = 0.0
        self.seconds = 0.0
        """That passed."""
        self.cpu = 0.0
        """Seconds of the processor, in user code and in the kernel."""

    def start(self) -> None:
        """Begin, without the litter of what was before."""
        gc.collect()
        forget_peak()
        self._cpu = process_time()
        self._began = perf_counter()

    def stop(self) -> None:
        """End. The first `start` and the last `stop` count."""
        self.seconds = perf_counter() - self._began
        self.cpu = process_time() - self._cpu

    def figures(self, count: int) -> Figures:
        """Return what *count* messages took."""
        return {
            "rate": count / max(self.seconds, 1e-9),
            "cpu_us": 1e6 * self.cpu / count,
            "peak_mib": peak() / _MIB,
        }


@final
class Tally:
    """Counts what is handled: the last stops a meter and calls *finished*.

    It starts where it is told to, or else with the first: others may take long to be ready.
    """

    def __init__(self, expected: int, finished: Callable[[], object]) -> None:
        self.meter = Meter()
        self.seen = 0
        self._began = False
        self._expected = expected
        self._finished = finished

    def begin(self) -> None:
        """Start the meter."""
        self._began = True
        self.meter.start()

    def count(self, number: int = 1) -> None:
        """Count so many that a handler has got."""
        if not self._began:
            self.begin()
        self.seen += number
        if self.seen >= self._expected:
            self.meter.stop()
            self._finished()

    def figures(self) -> Figures:
        """Return what each took.

        Raises:
          Wrong: others were handled than there are.
        """
        if self.seen != self._expected:
            raise Wrong(f"{self.seen:,} messages were handled, of {self._expected:,}")
        return self.meter.figures(self.seen)


def quantiles(seconds: Sequence[float]) -> Figures:
    """Return the figures of latencies: what half, 95, 99 and 99.9 of a hundred do not exceed."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    shares = {"p50_us": 0.5, "p95_us": 0.95, "p99_us": 0.99, "p999_us": 0.999}
    return {name: 1e6 * ordered[round(share * last)] for name, share in shares.items()}


def forget_peak() -> None:
    """Let the peak of memory begin here, where the system can do that."""
    with suppress(OSError):
        (PROC / "clear_refs").write_text("5")


def peak() -> int:
    """Return the most bytes of memory this process had at a time."""
    with suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", (PROC / "status").read_text())
        if found is not None:
            return int(found[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
