"""SGD, Adam, AdamW, RMSprop and ASGD. One call of `step` clips, updates and returns the gradient norm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rnncore import _core
from rnncore._core import Tensor


class Optimizer:
    """Base of the optimisers.

    Args:
        params: Tensors, or (name, tensor) pairs (`module.named_parameters()`), whose names then appear in errors.
        kind: The engine's name of the update rule.
        options: Its options, by the engine's names.
    """

    def __init__(self, params: Iterable[Tensor | tuple[str, Tensor]], kind: str, **options: float) -> None:
        tensors: list[Tensor] = []
        self.names: list[str] = []
        for i, item in enumerate(params):
            name, value = item if isinstance(item, tuple) else (str(i), item)
            if not isinstance(value, Tensor):
                got = type(value).__name__
                raise TypeError(f"[{kind}] params: expected tensors or (name, tensor) pairs, got {got}")
            tensors.append(value)
            self.names.append(name)
        if not tensors:
            raise ValueError(f"[{kind}] params: expected at least one parameter, got none")
        self.kind = kind
        self.options = options
        self.parameters = tensors
        self._engine = _core.Optimizer(tensors, kind, options)

    def step(self, *, clip_norm: float | None = None, clip_value: float | None = None) -> float:
        """Updates every parameter that has a gradient.

        Args:
            clip_norm: If the global 2-norm of all gradients is larger, they are scaled down to it (Pascanu et al.
                2013). Default: None, no clipping.
            clip_value: Every element is first clamped to [-clip_value, clip_value]. Default: None.

        Returns:
            The global gradient norm before clipping.

        Raises:
            FloatingPointError: if a gradient is NaN or infinite (the parameter is named); nothing is changed then.
        """
        try:
            return self._engine.step(clip_norm or 0.0, clip_value or 0.0)
        except FloatingPointError as error:
            bad = self._engine.bad_parameter()
            name = self.names[bad] if 0 <= bad < len(self.names) else "?"
            raise FloatingPointError(
                f"[{self.kind}] gradient of {name!r}: expected finite numbers, got NaN or Inf; "
                "a smaller learning rate or clip_norm may help"
            ) from error

    def zero_grad(self) -> None:
        """Clears the gradients of all parameters."""
        self._engine.zero_grad()

    def observe(self, value: float) -> bool:
        """Hears of a validation (smaller is better); whether that changes how it goes on. See `NTASGD`."""
        return False

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the parameters are what the rule has found: `NTASGD` has averages, all others what they are."""
        yield

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self._engine.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._engine.lr = value

    @property
    def step_count(self) -> int:
        """Updates so far."""
        return self._engine.step_count

    def state_dict(self) -> dict[str, Any]:
        """kind, lr, step_count and `state`: the running averages as tensors named "{slot}.{parameter index}"."""
        return {"kind": self.kind, "lr": self.lr, "step_count": self.step_count, "state": self._engine.state()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned, bit for bit.

        Raises:
            ValueError: if it belongs to another kind of optimiser or other parameters.
        """
        if state_dict["kind"] != self.kind:
            raise ValueError(f"[{self.kind}] state_dict: expected kind {self.kind!r}, got {state_dict['kind']!r}")
        self._engine.load_state(dict(state_dict["state"]), state_dict["step_count"])
        self.lr = state_dict["lr"]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.names)} parameters, lr={self.lr:g})"


_Params = Iterable[Tensor | tuple[str, Tensor]]


class SGD(Optimizer):
    """Gradient descent: v = momentum v + (1 - dampening) g; p -= lr v (Nesterov: p -= lr (g + momentum v)).

    `weight_decay` adds weight_decay * p to g.

    >>> import rnncore
    >>> w = rnncore.Tensor([1.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> SGD([w], lr=0.25).step()
    2.0
    >>> w.tolist()
    [0.5]
    """

    def __init__(
        self,
        params: _Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            "sgd",
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )


class Adam(Optimizer):
    """Kingma & Ba 2015, algorithm 1; `weight_decay` adds weight_decay * p to the gradient."""

    def __init__(
        self,
        params: _Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, "adam", lr=lr, beta1=betas[0], beta2=betas[1], eps=eps, weight_decay=weight_decay)


class AdamW(Optimizer):
    """Adam with decoupled weight decay: p -= lr weight_decay p (Loshchilov & Hutter 2019, algorithm 2)."""

    def __init__(
        self,
        params: _Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, "adamw", lr=lr, beta1=betas[0], beta2=betas[1], eps=eps, weight_decay=weight_decay)


class RMSprop(Optimizer):
    """Gradients divided by the root of their running mean square (Hinton 2012, lecture 6e; centered: Graves 2013)."""

    def __init__(
        self,
        params: _Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params,
            "rmsprop",
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )


class ASGD(Optimizer):
    """Averaged gradient descent (Polyak & Juditsky 1992); averages start after `t0` steps and are kept as "ax.{i}"."""

    def __init__(
        self,
        params: _Params,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, "asgd", lr=lr, lambd=lambd, asgd_alpha=alpha, t0=t0, weight_decay=weight_decay)
