"""FeatureModel: real vectors in, real vectors out at every step. What forecasters, music and speech models share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from rnncore import Generator, Tensor, _core, nn
from rnncore._messages import message
from rnncore.models.base import Model
from rnncore.nn.stack import recurrent_spec

_F = TypeVar("_F", bound="FeatureModel")


class FeatureModel(Model):
    """x (T, N, I) -> recurrent stack -> dropout -> linear head -> y (T, N, O).

    Parameters: ``rnn.*`` as in `nn.Recurrent`, ``head.weight`` (O, H), ``head.bias`` (O). A subclass says what the
    numbers mean: its constructor takes, beside what stands here, the arguments that its `assets` names.

    Args:
        input_size: I.
        output_size: O.
        hidden_size: H; default 128.
        num_layers: default 1.
        cell: "lstm" (default), "gru", "rnn-tanh", "rnn-relu" or another of docs/cells.md.
        bidirectional: default False.
        dropout: probability, in training, between layers and on the stack's output; default 0.
        same_mask: one dropout mask for all steps of a sequence (Gal & Ghahramani 2016); default False.
        dtype: "float32" (default) or "float64".
        generator: source of the initial weights and of dropout; default: seed 0.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        hidden_size: int = 128,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = False,
        dropout: float = 0.0,
        same_mask: bool = False,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        self.network: dict[str, Any] = {
            "hidden_size": hidden_size, "num_layers": num_layers, "cell": cell, "bidirectional": bidirectional,
            "dropout": float(dropout), "same_mask": same_mask, "dtype": dtype,
        }  # fmt: skip
        if num_layers < 1:
            raise ValueError(message(self.kind, "num_layers", "at least 1", str(num_layers)))
        self.output_size = output_size
        self.generator = Generator(0) if generator is None else generator
        stack = recurrent_spec(
            input_size, [nn.Layer(cell, hidden_size)] * num_layers, bidirectional=bidirectional,
            dropout=dropout if num_layers > 1 else 0.0, output_dropout=dropout, same_mask=same_mask and dropout > 0,
        )  # fmt: skip
        self.rnn = nn.Recurrent.__new__(nn.Recurrent)
        nn.Module.__init__(self.rnn)
        self.rnn.build(stack, dtype=dtype, generator=self.generator)
        self.head = nn.Linear(self.rnn.output_size, output_size, dtype=dtype, generator=self.generator)

    @property
    def dtype(self) -> str:
        """Of the parameters."""
        return str(self.network["dtype"])

    def forward(
        self, x: Tensor | ArrayLike, state: Mapping[str, Tensor] | None = None, *, lengths: Any = None
    ) -> tuple[Tensor, nn.State]:
        """Outputs (T, N, O) at every step of x (T, N, I), and the state after the last one.

        Args:
            x: features.
            state: as returned; default: the initial state.
            lengths: int64 (N,); steps beyond a sequence's length do not count. Default: all are T steps long.
        """
        features = x if isinstance(x, Tensor) else Tensor(np.asarray(x, dtype=self.dtype))
        output, after = self.rnn(features, state, lengths=lengths)
        return self.head(output), after

    def to_dict(self) -> dict[str, Any]:
        """Sizes and options of the network."""
        return dict(self.network)

    @classmethod
    def from_dict(
        cls: type[_F], config: Mapping[str, Any], assets: Mapping[str, Any], *, generator: Generator | None = None
    ) -> _F:
        """See `Model.from_dict`."""
        return cls(**config, **assets, generator=generator)

    def spec(self) -> _core.ModelSpec:
        """See `Model.spec`."""
        return _core.ModelSpec(kind=self.kind, recurrent=self.rnn.spec, output_size=self.output_size)

    @classmethod
    def from_spec(
        cls: type[_F], spec: _core.ModelSpec, assets: Mapping[str, Any], *, dtype: str, generator: Generator | None
    ) -> _F:
        """See `Model.from_spec`."""
        stack, sizes = json.loads(_core.recurrent_spec_json(spec.recurrent)), spec.recurrent.hidden_sizes
        config = {
            "hidden_size": sizes[0], "num_layers": len(sizes), "cell": spec.recurrent.cell,
            "bidirectional": spec.recurrent.bidirectional, "dropout": stack.get("output_dropout", 0.0),
            "same_mask": stack.get("same_mask", False), "dtype": dtype,
        }  # fmt: skip
        own = {name: value for name, value in assets.items() if name != "vocabulary"}
        model = cls.from_dict(config, own, generator=generator)
        if model.spec().to_json() != spec.to_json():
            raise ValueError(message("load model", "specification", model.spec().to_json(), spec.to_json()))
        return model

    def describe(self) -> dict[str, str]:
        """See `Model.describe`."""
        network = self.network
        both = "bidirectional " if network["bidirectional"] else ""
        sizes = f"{network['num_layers']} x {network['hidden_size']}"
        ends = f"{self.rnn.spec.input_size} numbers in, {self.output_size} out"
        return {"network": f"{both}{network['cell']}, {sizes}, {ends}"}
