"""NTASGD: gradient descent that begins to average its parameters when validations no longer improve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rnncore import _core
from rnncore._core import Tensor
from rnncore._grad import no_grad
from rnncore.optim.optimizers import Optimizer


class NTASGD(Optimizer):
    """Non-monotonically triggered averaged gradient descent (Merity, Keskar & Socher 2018, algorithm 1).

    Plain descent, p -= lr (g + weight_decay p), until a validation is worse than the best of those more than `nonmono`
    before it. From the next update T on it is ASGD with lambd = 0 and t0 = 0: the same descent, and the mean of the
    parameters since T is kept. `averaged()` puts the means in the parameters' place; they are what should be validated
    and saved. The criterion is that of the text and of the authors' program; their pseudocode takes the minimum
    over the last `nonmono` values instead.

    Args:
        params: as `Optimizer`.
        lr: constant in the paper; default 30.
        weight_decay: default 0.
        nonmono: n, validations without improvement that are tolerated; default 5.

    Attributes:
        triggered_at: the number of updates before averaging began; None: it has not.
        history: the validations heard of.

    >>> import rnncore
    >>> w = rnncore.Tensor([8.0], requires_grad=True)
    >>> optimizer = NTASGD([w], lr=0.25, nonmono=1)
    >>> for valid in (3.0, 2.0, 4.0, 5.0):  # 4 is worse than the best of those more than one before it, 3
    ...     (w * w).sum().backward()
    ...     _ = optimizer.step(), optimizer.zero_grad(), optimizer.observe(valid)
    >>> optimizer.triggered_at, w.item()
    (3, 0.5)
    >>> with optimizer.averaged():
    ...     w.item()
    0.5
    """

    def __init__(
        self,
        params: Iterable[Tensor | tuple[str, Tensor]],
        lr: float = 30.0,
        weight_decay: float = 0.0,
        nonmono: int = 5,
    ) -> None:
        super().__init__(params, "sgd", lr=lr, weight_decay=weight_decay)
        if nonmono < 1:
            raise ValueError(f"[nt-asgd] nonmono: expected at least 1, got {nonmono}")
        self.kind = "nt-asgd"
        self.nonmono = nonmono
        self.triggered_at: int | None = None
        self.history: list[float] = []

    @property
    def step_count(self) -> int:
        """Updates so far, before and after averaging began."""
        return (self.triggered_at or 0) + self._engine.step_count

    def observe(self, value: float) -> bool:
        """Hears of a validation; True: averaging begins with the next update."""
        earlier = self.history[: max(len(self.history) - self.nonmono, 0)]
        self.history.append(value)
        if self.triggered_at is not None or not earlier or value <= min(earlier):
            return False
        self._average_from(self.step_count)
        return True

    def _average_from(self, step: int) -> None:
        options = {**self.options, "lr": self.lr, "lambd": 0.0, "t0": 0.0}
        self._engine = _core.Optimizer(self.parameters, "asgd", options)
        self.triggered_at = step

    def averages(self) -> dict[int, Tensor]:
        """The means by the parameters' indices; empty before the first averaged update."""
        state = self._engine.state() if self.triggered_at is not None else {}
        return {int(name.removeprefix("ax.")): value for name, value in state.items() if name.startswith("ax.")}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The parameters hold their means inside; what they were is given back, to the bit."""
        averages = self.averages()
        own = {index: self.parameters[index].detach().clone() for index in averages}
        with no_grad():
            for index, value in averages.items():
                self.parameters[index].copy_(value)
        try:
            yield
        finally:
            with no_grad():
                for index, value in own.items():
                    self.parameters[index].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """As `Optimizer.state_dict`, with `triggered_at` and `history`."""
        return {**super().state_dict(), "triggered_at": self.triggered_at, "history": list(self.history)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned, bit for bit.

        Raises:
            ValueError: if it belongs to another kind of optimiser or other parameters.
        """
        if state_dict["kind"] != self.kind:
            raise ValueError(f"[{self.kind}] state_dict: expected kind {self.kind!r}, got {state_dict['kind']!r}")
        at = state_dict["triggered_at"]
        if at is not None:
            self._average_from(int(at))
        self._engine.load_state(dict(state_dict["state"]), state_dict["step_count"] - (at or 0))
        self.history = [float(value) for value in state_dict["history"]]
        self.lr = state_dict["lr"]
