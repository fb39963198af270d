"""The recurrent stack of a language model: layers of one cell, and of one size but for the last."""

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


class _UnequalStack(_WiredStack):
    """The same with layers of several sizes: the state is a flat tuple of h, then c, of each layer, (1, N, H_k)."""

    def forward(  # type: ignore[override]
        self, input: Tensor, hx: Any = None, *, lengths: Tensor | None = None, embedding: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        if hx is not None:
            count = len(self.spec.hidden_sizes)
            parts = [part.reshape(*part.shape[1:]) for part in hx]
            hx = (parts[:count], parts[count:] or None)
        output, after = super().forward(input, hx, lengths=lengths, embedding=embedding)
        h, c = (after, ()) if len(after) != 2 or isinstance(after[0], Tensor) else after
        return output, tuple(part.reshape(1, *part.shape) for part in (*h, *c))


def _wired(config: LanguageModelConfig, generator: Generator) -> nn.Recurrent:
    kind = _WiredStack if len(set(config.layer_sizes)) == 1 else _UnequalStack
    stack = kind.__new__(kind)
    nn.Module.__init__(stack)
    stack.build(
        config.recurrent_spec(inner=True), init=config.init, forget_bias=config.forget_bias, dtype=config.dtype,
        generator=generator,
    )  # fmt: skip
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
