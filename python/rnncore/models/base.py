"""Model: what every whole model has, whatever it is for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

import numpy as np

from rnncore import Generator, Tensor, _core, nn, no_grad
from rnncore._messages import message
from rnncore.data.text import PathLike

_M = TypeVar("_M", bound="Model")


class Model(nn.Module):
    """A network with what it needs to be trained, saved and used: its sizes, its tables, its random numbers.

    A subclass sets `kind` and `generator`, and gives `to_dict`, `assets`, `from_dict` (for checkpoints), `spec` and
    `from_spec` (for model files). Model and checkpoint hold the same parameters under the same names.
    """

    kind: ClassVar[str]  # as in a model file: "language_model", "classifier", ...
    generator: Generator  # of the initial values, then of dropout
    training_facts: dict[str, Any] | None = None  # what a trainer says about how the parameters came to be

    def to_dict(self) -> dict[str, Any]:
        """The sizes and options as JSON."""
        raise NotImplementedError

    def assets(self) -> dict[str, Any]:
        """What else belongs to the model, as JSON: "vocabulary", "labels", ..."""
        return {}

    @classmethod
    def from_dict(
        cls: type[_M], config: Mapping[str, Any], assets: Mapping[str, Any], *, generator: Generator | None = None
    ) -> _M:
        """A fresh model from what `to_dict` and `assets` gave.

        Raises:
            ValueError, TypeError, KeyError: something else.
        """
        raise NotImplementedError

    def spec(self) -> _core.ModelSpec:
        """The engine's description, as it stands in a model file."""
        raise NotImplementedError

    @classmethod
    def from_spec(
        cls: type[_M], spec: _core.ModelSpec, assets: Mapping[str, Any], *, dtype: str, generator: Generator | None
    ) -> _M:
        """A fresh model from what `spec` and `assets` gave.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: a specification that this class does not cover.
        """
        raise NotImplementedError

    def describe(self) -> dict[str, str]:
        """The model for people, as ``rnncore info`` shows it: name -> text; the first says what the network is."""
        raise NotImplementedError

    def take_penalty(self) -> Tensor | None:
        """What the passes since the last call add to the loss without being reported; None: nothing."""
        return None

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Without dropout and without a tape; the mode before is restored."""
        training = self.training
        self.eval()
        try:
            with no_grad():
                yield
        finally:
            self.train(training)

    def parameter_count(self) -> int:
        """The number of trained values (tied ones once)."""
        return sum(int(np.prod(parameter.shape)) for parameter in self.parameters())

    def save(self, path: PathLike) -> None:
        """Write one safetensors file: parameters, specification, assets, facts about the training. Atomic.

        Raises:
            OSError: it cannot be written; an older file stays as it was.
        """
        from rnncore.models.files import save

        save(self, path)

    @classmethod
    def load(cls: type[_M], path: PathLike, *, generator: Generator | None = None) -> _M:
        """Read what `save` wrote. Names, shapes and types are checked.

        Raises:
            OSError: no such file, a truncated or foreign one, a model of another kind.
        """
        from rnncore.models.files import load

        model = load(path, generator=generator)
        if not isinstance(model, cls):
            raise OSError(message("load model", str(path), f"a {cls.__name__}", f"a {type(model).__name__}"))
        return model

    def __repr__(self) -> str:
        return f"{type(self).__name__}({json.dumps(self.to_dict())})"
