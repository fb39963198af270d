"""The recurrent stack of a language model: layers that are alike, or of any cells, sizes and options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnncore import Generator, Tensor, _core, nn

if TYPE_CHECKING:
    from rnncore.models.language_config import LanguageModelConfig


class _WiredStack(nn.Recurrent):
    """`nn.Recurrent` with layers of one cell and size, and the state as `nn.LSTM` and `nn.GRU` have it."""

    def forward(  # type: ignore[override]
        self, input: Tensor, hx: Any = None, *, lengths: Tensor | None = None, embedding: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        h, c = hx if isinstance(hx, tuple | list) else (hx, None)
        output, h_n, c_n = _core.recurrent(
            self.spec, self._parameters(), input, h, c, lengths, None, self.training, self.generator, embedding,
            self.probe,
        )  # fmt: skip
        return output, h_n if c_n is None else (h_n, c_n)


class _MixedStack(nn.Recurrent):
    """The same with layers that are not alike: the state is a flat tuple, see `LanguageModelConfig.state_parts`."""

    _parts: dict[str, tuple[int, int]]

    def forward(  # type: ignore[override]
        self, input: Tensor, hx: Any = None, *, lengths: Tensor | None = None, embedding: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        state = None
        if hx is not None:
            given = zip(self._parts, hx if isinstance(hx, tuple | list) else (hx,), strict=True)
            state = {name: _as_engine_has_it(name, part) for name, part in given}
        output, after = super().forward(input, state, lengths=lengths, embedding=embedding)
        return output, tuple(after[name].reshape(size, -1, width) for name, (size, width) in self._parts.items())


def _as_engine_has_it(name: str, part: Tensor) -> Tensor:
    """(A, N, features) as (N, features), the past as it is, the clock as (N,)."""
    if name.startswith("past"):
        return part
    return part.reshape(part.shape[1]) if name == "clock" else part.reshape(*part.shape[1:])


def _wired(config: LanguageModelConfig, generator: Generator) -> nn.Recurrent:
    kind = _MixedStack if config.is_mixed else _WiredStack
    stack = kind.__new__(kind)
    nn.Module.__init__(stack)
    stack.build(
        config.recurrent_spec(inner=True), init=config.init, scale=config.init_scale, forget_bias=config.forget_bias,
        dtype=config.dtype, generator=generator,
    )  # fmt: skip
    if isinstance(stack, _MixedStack):
        stack._parts = config.state_parts
    return stack


def make_stack(config: LanguageModelConfig, generator: Generator) -> nn.LSTM | nn.GRU | nn.RNN | nn.Recurrent:
    """The stack with fresh parameters."""
    if config.is_wired:
        return _wired(config, generator)
    sizes = (config.embedding_size, config.layer_sizes[0], config.num_layers)
    dropout = config.dropouts[1] if config.num_layers > 1 else 0.0
    if config.cell == "lstm":
        return nn.LSTM(*sizes, dropout=dropout, dtype=config.dtype, generator=generator)
    if config.cell.startswith("gru"):
        after = config.cell == "gru"
        return nn.GRU(*sizes, dropout=dropout, reset_after=after, dtype=config.dtype, generator=generator)
    kind = config.cell.removeprefix("rnn-")
    return nn.RNN(*sizes, nonlinearity=kind, dropout=dropout, dtype=config.dtype, generator=generator)
