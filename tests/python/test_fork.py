"""After a fork the child computes on one thread and never hangs, whatever the parent was doing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import rnncore
from rnncore import Tensor, nn

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
SECONDS = 6


def work(layer: nn.LSTM) -> np.ndarray:
    """Large enough for a team in every stage."""
    x = Tensor(np.linspace(-1, 1, 20 * 32 * 64, dtype=np.float32).reshape(20, 32, 64), requires_grad=True)
    output, _ = layer(x)
    (output * output).sum().backward()
    return x.grad.numpy()


def in_child(function: Callable[[], bool]) -> None:
    """Run it in a forked child; fail on False, an exception, or silence."""
    child = os.fork()
    if child == 0:
        good = False
        try:
            good = function()
        finally:
            os._exit(0 if good else 1)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0, f"the child ended with {status}"
            return
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail(f"the child hung for {SECONDS} s")


@pytest.fixture
def layer() -> Iterator[nn.LSTM]:
    threads = rnncore.get_num_threads()
    rnncore.set_num_threads(2)
    yield nn.LSTM(64, 96, generator=rnncore.Generator(1))
    rnncore.set_num_threads(threads)


@pytest.mark.parametrize("used_before", [False, True])
def test_a_child_computes_the_same(layer: nn.LSTM, used_before: bool) -> None:
    want = work(layer) if used_before else None

    def child() -> bool:
        got = work(layer)
        return bool(np.isfinite(got).all()) if want is None else np.array_equal(got, want)

    in_child(child)
    assert want is None or np.array_equal(work(layer), want), "the parent goes on"


def test_a_child_of_a_child(layer: nn.LSTM) -> None:
    want = work(layer)

    def child() -> bool:
        in_child(lambda: np.array_equal(work(layer), want))
        return np.array_equal(work(layer), want)

    in_child(child)


def test_forks_while_other_threads_compute(layer: nn.LSTM) -> None:
    """Locks that another thread holds at the fork (of the allocator, of packed weights, of gradients) are no trap."""
    want = work(layer)
    weight = next(iter(layer.parameters()))
    same = weight.detach().clone()
    stop = threading.Event()

    def train() -> None:
        own = nn.LSTM(64, 96, generator=rnncore.Generator(2))
        while not stop.is_set():
            work(own)

    def pack() -> None:
        x = rnncore.zeros(2, 3, 64)
        with rnncore.no_grad():
            while not stop.is_set():
                weight.copy_(same)  # the same values in a new version: packed again at the next use
                layer(x)

    threads = [threading.Thread(target=target) for target in (train, train, pack, pack)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            in_child(lambda: np.array_equal(work(layer), want))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


WORKERS = """
import multiprocessing, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
import numpy as np, rnncore
from rnncore import nn

def train(seed):
    x = rnncore.Tensor(np.ones((20, 32, 64), np.float32), requires_grad=True)
    output, _ = nn.LSTM(64, 96, generator=rnncore.Generator(seed))(x)
    (output * output).sum().backward()
    return x.grad.numpy().tobytes()

rnncore.set_num_threads(2)
want = [train(seed) for seed in range(4)]
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(train, range(4)) == want
"""


def test_multiprocessing_workers() -> None:
    with subprocess.Popen([sys.executable, "-c", WORKERS], start_new_session=True) as process:
        try:
            assert process.wait(SECONDS) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
