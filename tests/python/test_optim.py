"""Optimisers against torch.optim where torch is there; clipping, state and schedules everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import assert_close

import rnncore
from rnncore import Tensor, optim
from rnncore.optim import schedules

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.01, "weight_decay": 0.01}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5, "centered": True, "alpha": 0.9}),
    ("ASGD", {"lr": 0.1, "lambd": 0.01, "t0": 5, "weight_decay": 0.01}),
]
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(OPTIMIZERS)]
SHAPES = [(3, 5), (7,), (70,)]


def gradients(step: int) -> list[np.ndarray]:
    rng = np.random.default_rng(100 + step)
    return [rng.standard_normal(shape) for shape in SHAPES]


def parameters(dtype: str = "float64") -> list[Tensor]:
    return [rnncore.tensor(g, dtype=dtype, requires_grad=True) for g in gradients(-1)]


def update(optimizer: Any, params: list[Tensor], step: int, **options: float) -> float:
    for p, g in zip(params, gradients(step), strict=True):
        p.grad = rnncore.tensor(g, dtype=p.dtype)
    return float(optimizer.step(**options))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=IDS)
def test_twenty_steps_as_torch(name: str, options: dict[str, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    torch.set_default_dtype(torch.float64)  # or torch.optim.ASGD rounds its step size to float32
    try:
        ours = parameters(dtype)
        theirs = [torch.tensor(g, requires_grad=True) for g in gradients(-1)]
        mine = getattr(optim, name)(ours, **options)
        other = getattr(torch.optim, name)(theirs, **options)
        for step in range(20):
            for p, g in zip(theirs, gradients(step), strict=True):
                p.grad = torch.tensor(g)
            norm = torch.nn.utils.clip_grad_norm_(theirs, 3.0)
            other.step()
            assert update(mine, ours, step, clip_norm=3.0) == pytest.approx(norm.item(), rel=1e-6)
        for p, q in zip(ours, theirs, strict=True):
            # torch's clip divides by (norm + 1e-6); the rest agrees to rounding
            assert_close(p.numpy(), q.detach().numpy(), 1e-6 if dtype == "float64" else 1e-5, name)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=IDS)
def test_state_resumes_bit_for_bit(name: str, options: dict[str, Any]) -> None:
    straight = parameters("float32")
    optimizer = getattr(optim, name)(straight, **options)
    for step in range(4):
        update(optimizer, straight, step)
    saved = optimizer.state_dict()
    saved["state"] = {key: value.clone() for key, value in saved["state"].items()}
    copies = [rnncore.tensor(p.numpy(), requires_grad=True) for p in straight]
    resumed = getattr(optim, name)(copies, **options)
    resumed.load_state_dict(saved)
    for step in range(4, 8):
        update(optimizer, straight, step)
        update(resumed, copies, step)
    for p, q in zip(straight, copies, strict=True):
        assert np.array_equal(p.numpy(), q.numpy())
    assert resumed.step_count == 8


def test_clipping_scales_to_the_norm_and_returns_the_one_before() -> None:
    params = parameters()
    before = [p.numpy().copy() for p in params]
    norm = update(optim.SGD(params, lr=1.0), params, 0, clip_norm=0.5)
    assert norm == pytest.approx(np.sqrt(sum((g**2).sum() for g in gradients(0))))
    moved = np.sqrt(sum(((p.numpy() - b) ** 2).sum() for p, b in zip(params, before, strict=True)))
    assert moved == pytest.approx(0.5, rel=1e-5)


def test_clipping_by_value() -> None:
    params = parameters()
    before = [p.numpy().copy() for p in params]
    update(optim.SGD(params, lr=1.0), params, 0, clip_value=0.3)
    for p, b, g in zip(params, before, gradients(0), strict=True):
        np.testing.assert_allclose(b - p.numpy(), np.clip(g, -0.3, 0.3), atol=1e-12)


def test_a_nan_gradient_names_the_parameter_and_changes_nothing() -> None:
    params = parameters()
    before = [p.numpy().copy() for p in params]
    optimizer = optim.Adam([(f"layer.{i}", p) for i, p in enumerate(params)])
    for p, g in zip(params, gradients(0), strict=True):
        p.grad = rnncore.tensor(g)
    params[1].grad = rnncore.tensor(np.full((7,), np.nan))
    with pytest.raises(FloatingPointError, match=r"layer\.1"):
        optimizer.step(clip_norm=1.0)
    for p, b in zip(params, before, strict=True):
        assert np.array_equal(p.numpy(), b)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="at least one parameter"):
        optim.SGD([])
    with pytest.raises(TypeError, match="expected tensors"):
        optim.SGD([1.0])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="lr"):
        optim.SGD(parameters(), lr=-1.0)
    state = optim.SGD(parameters()).state_dict()
    with pytest.raises(ValueError, match="kind"):
        optim.Adam(parameters()).load_state_dict(state)


def make_schedules(lr: float = 1.0) -> dict[str, Any]:
    def fresh() -> optim.Optimizer:
        return optim.SGD(parameters(), lr=lr)

    chained = fresh()
    return {
        "constant": schedules.Constant(fresh()),
        "step": schedules.Step(fresh(), 3, 0.5),
        "exponential": schedules.Exponential(fresh(), 0.9),
        "cosine": schedules.Cosine(fresh(), 7, 0.1),
        "plateau": schedules.ReduceOnPlateau(fresh(), factor=0.5, patience=1),
        "warm-cosine": schedules.WarmUp(schedules.Cosine(fresh(), 6), 3),
        "chain": schedules.Chain([schedules.Constant(chained), schedules.Exponential(chained, 0.5)], [3]),
    }


METRICS = [5.0, 4.0, 4.1, 4.2, 4.3, 3.0, 3.5, 3.5, 3.5, 3.5]


def test_rates() -> None:
    expected = {
        "constant": [1.0] * 5,
        "step": [1.0, 1.0, 0.5, 0.5, 0.5],
        "exponential": [0.9**k for k in range(1, 6)],
        "cosine": [0.1 + 0.9 * (1 + np.cos(np.pi * k / 7)) / 2 for k in range(1, 6)],
        "plateau": [1.0, 1.0, 1.0, 0.5, 0.5],
        "warm-cosine": [2 / 3, 1.0, 1.0, (1 + np.cos(np.pi / 6)) / 2, (1 + np.cos(np.pi / 3)) / 2],
        "chain": [1.0, 1.0, 1.0, 0.5, 0.25],
    }
    for name, schedule in make_schedules().items():
        rates = [schedule.step(METRICS[k]) for k in range(5)]
        assert rates == pytest.approx(expected[name]), name
        assert schedule.optimizer.lr == rates[-1]


def test_rates_as_torch() -> None:
    torch = pytest.importorskip("torch")
    peers = {
        "step": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.5),
        "exponential": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
        "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 7, 0.1),
        "plateau": lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=1),
    }
    for name, peer in peers.items():
        schedule = make_schedules()[name]
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        theirs = peer(optimizer)
        for metric in METRICS[:7]:
            optimizer.step()
            theirs.step(metric) if name == "plateau" else theirs.step()
            assert schedule.step(metric) == pytest.approx(optimizer.param_groups[0]["lr"]), name


def test_schedules_resume() -> None:
    for (name, straight), resumed in zip(make_schedules().items(), make_schedules(lr=7.0).values(), strict=True):
        for metric in METRICS[:4]:
            straight.step(metric)
        resumed.load_state_dict(straight.state_dict())
        assert resumed.optimizer.lr == straight.optimizer.lr, name
        for metric in METRICS[4:]:
            assert resumed.step(metric) == straight.step(metric), name
