"""Several Python threads at once: equal to one after the other; no stale packed weights after a concurrent write."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

import rnncore
from rnncore import Tensor, nn, no_grad


def test_concurrent_training_steps_equal_serial_ones() -> None:
    generator = np.random.default_rng(0)
    inputs = [generator.standard_normal((12, 8, 24), np.float32) for _ in range(8)]
    shared = nn.LSTM(24, 40, num_layers=2, generator=rnncore.Generator(1))

    def step(x: np.ndarray) -> list[np.ndarray]:
        own = nn.GRU(40, 16, generator=rnncore.Generator(2))
        data = Tensor(x, requires_grad=True)
        output, _ = own(shared(data)[0])
        (output * output).sum().backward()
        return [output.numpy(), data.grad.numpy(), *(p.grad.numpy() for p in own.parameters())]

    serial = [step(x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(step, inputs), serial, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))


def test_a_write_during_a_read_leaves_no_stale_copy() -> None:
    """Weights packed while they were half written must not be taken for the new ones afterwards."""
    weight, x = rnncore.zeros(512, 512), Tensor(np.ones((1, 512), np.float32))
    layer = nn.Linear(512, 512, bias=False)
    layer.weight = nn.Parameter(weight)
    with ThreadPoolExecutor(1) as pool:
        for value in range(1, 60):

            def read() -> None:
                with no_grad():
                    for _ in range(4):
                        layer(x)

            reading = pool.submit(read)
            with no_grad():
                layer.weight.fill_(float(value))
            reading.result()
            with no_grad():
                assert (layer(x).numpy() == 512.0 * value).all()
