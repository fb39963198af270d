"""The alternating measurement: one process a library, asked in turn, with a pause between turns."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rncompare.cases import Case

BENCH = Path(__file__).resolve().parent.parent


class WorkerError(RuntimeError):
    """A library could not run a case, or its process died."""


class Worker:
    """A library's process and its two pipes; `label` names its timings (default: the library)."""

    def __init__(self, library: str, threads: int, label: str = "") -> None:
        environment = dict(os.environ)
        path = [str(BENCH), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(part for part in path if part)
        environment["OMP_NUM_THREADS"] = environment["RNNCORE_NUM_THREADS"] = str(threads)
        command = [sys.executable, "-m", "rncompare.worker", "--library", library, "--threads", str(threads)]
        self.library = label or library
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        hello = self.ask(do="hello")
        self.version = str(hello["version"])

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends one request and waits for its answer.

        Raises:
            WorkerError: the answer is an error, or there is none.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"{self.library}: the worker ended with exit status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.library}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Ends the process."""
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.close()  # the end of its input is its order to stop
        self._process.wait()


@contextmanager
def workers(libraries: list[str], threads: int) -> Iterator[list[Worker]]:
    """The processes of `libraries`, ended on leaving."""
    started: list[Worker] = []
    try:
        for library in libraries:
            started.append(Worker(library, threads))
        yield started
    finally:
        for worker in started:
            worker.close()


@dataclass
class Timing:
    """Seconds of one repetition: one median a turn."""

    turns: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median of the turns, in seconds."""
        return statistics.median(self.turns)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile of the turns, in seconds."""
        if len(self.turns) < 2:
            return self.median, self.median
        first, _, third = statistics.quantiles(self.turns, n=4, method="inclusive")
        return first, third


@dataclass
class Row:
    """A case and what every library needed for it."""

    case: Case
    timings: dict[str, Timing] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    peak_gflops: float = 0.0  # probed beside this row

    def ratio(self, peer: str) -> float | None:
        """How many times faster rnncore is than `peer`: the median over the rounds of the pairs' ratios."""
        ours, theirs = self.timings.get("rnncore"), self.timings.get(peer)
        if ours is None or theirs is None:
            return None
        return statistics.median(b / a for a, b in zip(ours.turns, theirs.turns, strict=True))


@dataclass(frozen=True)
class Plan:
    """How long and how often: `rounds` turns a library of about `turn_seconds`, `pause_seconds` between turns."""

    rounds: int = 7
    turn_seconds: float = 0.3
    pause_seconds: float = 0.05
    warm_up_seconds: float = 0.3
    max_repeats: int = 1000


def measure(case: Case, peers: list[Worker], plan: Plan) -> Row:
    """Times `case` in every library, turn about; the order is reversed every round.

    A library that fails at the case is left out with its message in `errors`; one that has no such work is left out.
    """
    row = Row(case)
    ready: list[tuple[Worker, int]] = []
    for worker in peers:
        try:
            answer = worker.ask(do="prepare", case=case.as_dict(), warm_up=plan.warm_up_seconds)
        except WorkerError as error:
            row.errors[worker.library] = str(error)
            continue
        finally:
            time.sleep(plan.pause_seconds)
        if "unsupported" not in answer:
            repeats = round(plan.turn_seconds / answer["seconds"])
            ready.append((worker, max(1, min(plan.max_repeats, repeats))))
            row.timings[worker.library] = Timing()
    for turn in range(plan.rounds):
        for worker, repeats in ready if turn % 2 == 0 else reversed(ready):
            seconds = worker.ask(do="run", repeats=repeats)["seconds"]
            row.timings[worker.library].turns.append(statistics.median(seconds))
            time.sleep(plan.pause_seconds)
    return row
