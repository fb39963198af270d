"""Learning-rate schedules. `step()` moves on by one unit (an update or an epoch: the caller's choice) and sets lr.

    >>> import rnncore
    >>> from rnncore import optim
    >>> optimizer = optim.SGD([rnncore.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = optim.schedules.WarmUp(optim.schedules.Exponential(optimizer, gamma=0.5), steps=2)
    >>> rates = [optimizer.lr]
    >>> for _ in range(4):
    ...     rates.append(schedule.step())
    >>> rates
    [0.5, 1.0, 1.0, 0.5, 0.25]

Schedules compose: WarmUp wraps any other, Chain runs one after the other. Every schedule's place can be saved
(`state_dict`) and restored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rnncore.optim.optimizers import Optimizer


class Schedule:
    """Base of the schedules, and the constant one.

    Args:
        optimizer: Its lr is set by `step`.
        base_lr: The rate that the schedule scales. Default: the optimiser's present lr.
    """

    def __init__(self, optimizer: Optimizer, *, base_lr: float | None = None) -> None:
        self.optimizer = optimizer
        self.base_lr = optimizer.lr if base_lr is None else base_lr
        self.steps = 0

    def rate(self) -> float:
        """The learning rate at the present step."""
        return self.base_lr

    def advance(self, metric: float | None) -> None:
        """Moves on by one unit without touching the optimiser."""
        self.steps += 1

    def apply(self) -> float:
        """Sets and returns the present rate."""
        self.optimizer.lr = self.rate()
        return self.optimizer.lr

    def step(self, metric: float | None = None) -> float:
        """Moves on by one unit, sets the optimiser's lr and returns it. `metric` matters to ReduceOnPlateau alone."""
        self.advance(metric)
        return self.apply()

    def state_dict(self) -> dict[str, Any]:
        """The schedule's place, as plain numbers (JSON)."""
        return {"base_lr": self.base_lr, "steps": self.steps}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned and sets the optimiser's lr accordingly."""
        self._load(state_dict)
        self.apply()

    def _load(self, state_dict: Mapping[str, Any]) -> None:
        self.base_lr = state_dict["base_lr"]
        self.steps = state_dict["steps"]


class Constant(Schedule):
    """The rate stays as it is."""


class Step(Schedule):
    """The rate is multiplied by `gamma` every `step_size` steps."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, *, base_lr: float | None = None
    ) -> None:
        super().__init__(optimizer, base_lr=base_lr)
        if step_size < 1:
            raise ValueError(f"[schedule] step_size: expected at least 1, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma

    def rate(self) -> float:
        return float(self.base_lr * self.gamma ** (self.steps // self.step_size))


class Exponential(Schedule):
    """The rate is multiplied by `gamma` every step."""

    def __init__(self, optimizer: Optimizer, gamma: float, *, base_lr: float | None = None) -> None:
        super().__init__(optimizer, base_lr=base_lr)
        self.gamma = gamma

    def rate(self) -> float:
        return float(self.base_lr * self.gamma**self.steps)


class Cosine(Schedule):
    """Half a cosine from the base rate to `min_lr` over `total_steps`, then `min_lr` (Loshchilov & Hutter 2017)."""

    def __init__(
        self, optimizer: Optimizer, total_steps: int, min_lr: float = 0.0, *, base_lr: float | None = None
    ) -> None:
        super().__init__(optimizer, base_lr=base_lr)
        if total_steps < 1:
            raise ValueError(f"[schedule] total_steps: expected at least 1, got {total_steps}")
        self.total_steps = total_steps
        self.min_lr = min_lr

    def rate(self) -> float:
        done = min(self.steps / self.total_steps, 1.0)
        return self.min_lr + (self.base_lr - self.min_lr) * (1.0 + math.cos(math.pi * done)) / 2.0


class ReduceOnPlateau(Schedule):
    """The rate is multiplied by `factor` when the metric has not improved for more than `patience` steps.

    Args:
        optimizer: Its lr is set.
        factor: In (0, 1). Default: 0.1.
        patience: Steps without improvement that are tolerated. Default: 10.
        threshold: Relative improvement that counts. Default: 1e-4.
        min_lr: The rate never falls below it. Default: 0.
        mode: "min" (default) or "max": what improvement means.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        min_lr: float = 0.0,
        mode: str = "min",
        *,
        base_lr: float | None = None,
    ) -> None:
        super().__init__(optimizer, base_lr=base_lr)
        if not 0.0 < factor < 1.0:
            raise ValueError(f"[schedule] factor: expected within (0, 1), got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"[schedule] mode: expected 'min' or 'max', got {mode!r}")
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.min_lr = min_lr
        self.mode = mode
        self.current = self.base_lr
        self.best: float | None = None
        self.bad_steps = 0

    def rate(self) -> float:
        return self.current

    def advance(self, metric: float | None) -> None:
        if metric is None:
            raise ValueError("[schedule] metric: expected a number for ReduceOnPlateau, got None")
        super().advance(metric)
        if self._improved(metric):
            self.best, self.bad_steps = metric, 0
        else:
            self.bad_steps += 1
        if self.bad_steps > self.patience:
            self.current, self.bad_steps = max(self.current * self.factor, self.min_lr), 0

    def _improved(self, metric: float) -> bool:
        if self.best is None:
            return not math.isnan(metric)
        if self.mode == "min":
            return metric < self.best * (1.0 - self.threshold)
        return metric > self.best * (1.0 + self.threshold)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "current": self.current, "best": self.best, "bad_steps": self.bad_steps}

    def _load(self, state_dict: Mapping[str, Any]) -> None:
        super()._load(state_dict)
        self.current = state_dict["current"]
        self.best = state_dict["best"]
        self.bad_steps = state_dict["bad_steps"]


class WarmUp(Schedule):
    """Rises linearly to the rate of `schedule` over `steps` updates, then follows it.

    Update number t = 0, 1, ... runs at (t + 1) / steps of the rate; `schedule` starts to move after the last of them.
    """

    def __init__(self, schedule: Schedule, steps: int) -> None:
        super().__init__(schedule.optimizer, base_lr=schedule.base_lr)
        if steps < 0:
            raise ValueError(f"[schedule] steps: expected at least 0, got {steps}")
        self.schedule = schedule
        self.warm_steps = steps
        self.apply()

    def rate(self) -> float:
        if self.steps >= self.warm_steps:
            return self.schedule.rate()
        return self.schedule.rate() * (self.steps + 1) / self.warm_steps

    def advance(self, metric: float | None) -> None:
        super().advance(metric)
        if self.steps > self.warm_steps:
            self.schedule.advance(metric)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedule": self.schedule.state_dict()}

    def _load(self, state_dict: Mapping[str, Any]) -> None:
        super()._load(state_dict)
        self.schedule._load(state_dict["schedule"])


class Chain(Schedule):
    """Runs `schedules` one after the other: schedule i + 1 takes over at step `milestones[i]`."""

    def __init__(self, schedules: Sequence[Schedule], milestones: Sequence[int]) -> None:
        if not schedules or len(milestones) != len(schedules) - 1 or list(milestones) != sorted(set(milestones)):
            raise ValueError(
                "[schedule] milestones: expected one rising number fewer than schedules, "
                f"got {list(milestones)} for {len(schedules)}"
            )
        super().__init__(schedules[0].optimizer, base_lr=schedules[0].base_lr)
        self.schedules = list(schedules)
        self.milestones = list(milestones)
        self.apply()

    def _active(self) -> int:
        return sum(1 for milestone in self.milestones if self.steps >= milestone)

    def rate(self) -> float:
        return self.schedules[self._active()].rate()

    def advance(self, metric: float | None) -> None:
        before = self._active()
        super().advance(metric)
        if self._active() == before:  # a schedule that takes over starts at its own step 0
            self.schedules[before].advance(metric)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedules": [schedule.state_dict() for schedule in self.schedules]}

    def _load(self, state_dict: Mapping[str, Any]) -> None:
        super()._load(state_dict)
        for schedule, state in zip(self.schedules, state_dict["schedules"], strict=True):
            schedule._load(state)
