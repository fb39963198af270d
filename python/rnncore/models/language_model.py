"""LanguageModel: embedding, recurrent stack and linear head over a vocabulary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from rnncore import Generator, Tensor, _core, nn
from rnncore._messages import message
from rnncore._tensor import as_integers
from rnncore.data.batches import Ids, Streams
from rnncore.data.subwords import TextVocabulary, vocabulary_from_json
from rnncore.models import output_layer
from rnncore.models.base import Model
from rnncore.models.language_config import LanguageModelConfig, describe_dropouts, describe_stack, shape_of
from rnncore.models.language_stack import make_stack
from rnncore.nn import functional as F

State = tuple[Tensor, ...]  # (h,) or, for the LSTM, (h, c); each (num_layers, N, H)


class LanguageModel(Model):
    """P(next token | all tokens before), by an embedding, a recurrent stack and a softmax.

    h_t = cell(E[x_t], h_{t-1});  P(x_{t+1} | x_1..x_t) = softmax(W h_t + b).
    Parameters: ``embedding.weight`` (V, E), ``rnn.*`` as in `nn.LSTM`, ``head.weight`` (V, H), ``head.bias`` (V); with
    `projection_size` P: ``projection.weight`` (P, H), ``head.weight`` (V, P); with clusters ``head.*`` as in
    `nn.AdaptiveLogSoftmaxWithLoss` and `nn.ClassSoftmax`.

    Args:
        vocab_size: V; default: the size of `vocabulary`.
        embedding_size: E; default: `hidden_size`.
        hidden_size: H; default 512.
        num_layers: default 3.
        cell: "lstm" (default), "gru", "gru-reset-before", "rnn-tanh", "rnn-relu", "rnn-sigmoid", "mgu" or "indrnn".
        layers: in place of the three, an `nn.Layer` (or a dict with its fields) for each layer: cells, sizes, options
            (peepholes, layer normalisation, zoneout, ...), projections, delays, periods; see `nn.Recurrent`.
        dropout: probability, in training, on the embedding's output, between layers and on the stack's output.
        input_dropout, output_dropout: others for the embedding's output and the stack's; default: `dropout`.
        tie_weights: the head uses the embedding's weights (E = H, or see `narrow_last` and `projection_size`); with
            "adaptive" and "class" so do the clusters, which then keep all features: `div_value` does not count.
        narrow_last: the last layer has E units, as the embedding has (Merity et al. 2018); default False.
        connection: between layers: "none" (default), "residual", "highway" or "dense"; see `nn.Recurrent`.
        variational: dropout with one mask for all steps of a chunk (Gal & Ghahramani 2016); default False.
        weight_drop: probability, in training, on the recurrent weights (Merity et al. 2018).
        embedding_dropout: probability, in training, of a token's whole embedding (Gal & Ghahramani 2016).
        activation_penalty: alpha of alpha * mean(h^2) on the stack's output after its dropout (Merity et al. 2017).
        temporal_penalty: beta of beta * mean((h_t - h_{t-1})^2) on the stack's output. Neither counts in the loss
            that is reported.
        learn_initial_state: the states at the start of a text are parameters.
        init, init_scale, forget_bias: start values of the stack, as `nn.Recurrent` has them (`scale`).
        init_range: all parameters, embedding and biases among them, start as U(-x, x) instead (Zaremba et al. 2014).
        embedding_range: the embedding, and the words' weights in the head but those of projected clusters, start as
            U(-x, x), the words' bias (but that of "nce") at 0 (Merity et al. 2018); default: as `nn.Embedding` and
            `nn.Linear`.
        softmax: "full" (default); "adaptive" (Grave et al. 2017) or "class" (Goodman 2001), exact, with clusters of
            words, for ids that fall in frequency; "sampled" (Jean et al. 2015) or "nce" (Mnih & Teh 2012): trained on
            sampled words, scored and sampled exactly as "full".
        cutoffs: where the clusters begin; default: see `output_layer.default_cutoffs`.
        div_value: adaptive: each cluster's projection is so many times smaller; default 4.
        samples: words of noise for a batch; default 1024.
        projection_size: P, units of a linear layer without bias between the stack and the softmax (as the "linear
            projection" of Le, Jaitly & Hinton 2015); 0 (default): none. With `tie_weights` E = P.
        bidirectional: refused.
        vocabulary: for text in and out; saved with the model.
        dtype: "float32" (default) or "float64".
        generator: source of the initial weights and of dropout; default: seed 0.

    Raises:
        ValueError: sizes below 1, an unknown cell, a vocabulary of another size, bidirectional.
    """

    kind: ClassVar[str] = "language_model"

    def __init__(
        self,
        vocab_size: int | None = None,
        *,
        embedding_size: int | None = None,
        hidden_size: int | None = None,
        num_layers: int | None = None,
        cell: str | None = None,
        dropout: float = 0.0,
        tie_weights: bool = False,
        connection: str = "none",
        variational: bool = False,
        weight_drop: float = 0.0,
        embedding_dropout: float = 0.0,
        activation_penalty: float = 0.0,
        temporal_penalty: float = 0.0,
        learn_initial_state: bool = False,
        init: str = "uniform",
        forget_bias: float | None = None,
        init_range: float | None = None,
        softmax: str = "full",
        cutoffs: Sequence[int] | None = None,
        div_value: float = 4.0,
        samples: int = 1024,
        projection_size: int = 0,
        narrow_last: bool = False,
        input_dropout: float | None = None,
        output_dropout: float | None = None,
        embedding_range: float | None = None,
        layers: Sequence[nn.Layer | Mapping[str, Any]] = (),
        init_scale: float = 1.0,
        bidirectional: bool = False,
        vocabulary: TextVocabulary | None = None,
        dtype: str = "float32",
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        if bidirectional:
            reason = "a language model may not see the future: the backward direction reads the tokens to predict"
            raise ValueError(message("language model", "bidirectional", "False", "True", reason))
        if vocab_size is None:
            vocab_size = len(vocabulary) if vocabulary is not None else 0
        if vocabulary is not None and len(vocabulary) != vocab_size:
            raise ValueError(message("language model", "vocabulary", f"{vocab_size} tokens", str(len(vocabulary))))
        described, cell, hidden_size, num_layers = shape_of(layers, cell, hidden_size, num_layers)
        embedding_size = hidden_size if embedding_size is None else embedding_size
        if cutoffs is None:
            cutoffs = output_layer.default_cutoffs(softmax, vocab_size, tied=tie_weights)
        self.config = LanguageModelConfig(
            vocab_size, embedding_size, hidden_size, num_layers, cell, float(dropout), tie_weights, dtype, connection,
            variational, float(weight_drop), float(embedding_dropout), float(activation_penalty),
            float(temporal_penalty), learn_initial_state, init, forget_bias, init_range, softmax,
            tuple(cutoffs), float(div_value), samples, projection_size, narrow_last, input_dropout, output_dropout,
            embedding_range, described, float(init_scale),
        )  # fmt: skip
        self._penalties: list[Tensor] = []
        self.vocabulary = vocabulary
        self.generator = Generator(0) if generator is None else generator
        self._build()

    def _build(self) -> None:
        config, generator = self.config, self.generator
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size, dtype=config.dtype, generator=generator)
        self.rnn = make_stack(config, generator)
        self.projection = output_layer.make_projection(config, generator)
        self.head = output_layer.make_head(config, generator)
        if config.tie_weights:
            output_layer.words_of(self.head).weight = self.embedding.weight
        if config.embedding_range is not None:
            self._start_embedding(config.embedding_range)
        if config.init_range is not None:
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -config.init_range, config.init_range, generator=generator)

    def _start_embedding(self, bound: float) -> None:
        nn.init.uniform_(self.embedding.weight, -bound, bound, generator=self.generator)
        if isinstance(self.head, nn.AdaptiveLogSoftmaxWithLoss):
            return
        words = output_layer.words_of(self.head)
        if not self.config.tie_weights:
            nn.init.uniform_(words.weight, -bound, bound, generator=self.generator)
        if words.bias is not None and self.config.softmax != "nce":  # whose outputs start as log-probabilities
            nn.init.zeros_(words.bias)

    def forward(self, ids: Tensor | ArrayLike, state: State | None = None) -> tuple[Tensor, State]:
        """Logits of the next token at every step.

        Args:
            ids: int64 (T, N).
            state: as returned; default: zeros.

        Returns:
            Logits (T, N, V) and the state after the last step.
        """
        features, state = self.features(ids, state)
        return self.logits(features), state

    def logits(self, features: Tensor) -> Tensor:
        """The stack's output (..., H) -> (..., V): logits, or, with clusters, log-probabilities (logits too)."""
        return output_layer.logits(self.head, self._head_input(features))

    def _head_input(self, features: Tensor) -> Tensor:
        return features if self.projection is None else self.projection(features)

    def features(
        self, ids: Tensor | ArrayLike, state: State | None = None, lengths: Tensor | ArrayLike | None = None
    ) -> tuple[Tensor, State]:
        """The stack's output (T, N, H), with dropout in training, and the state after the last step."""
        before = None if state is None else (state if len(state) >= 2 else state[0])
        options = {} if lengths is None else {"lengths": _ids(lengths)}
        table: Tensor = self.embedding.weight
        if self.training and self.config.embedding_dropout > 0:
            table = F.embedding_dropout(table, self.config.embedding_dropout, generator=self.generator)
        first, _, last = self.config.dropouts
        if self.training and first > 0 and not self.config.variational:
            output, after = self.rnn(self._drop(F.embedding(_ids(ids), table), first), before, **options)
        else:  # nothing stands between the embedding and the first layer: its input product is a table
            output, after = self.rnn(_ids(ids), before, embedding=table, **options)
        dropped = self._drop(output, last)
        self._penalise(output, dropped)
        return dropped, tuple(after) if isinstance(after, tuple | list) else (after,)

    def _drop(self, values: Tensor, p: float) -> Tensor:
        if not self.training or p == 0:
            return values
        kind = F.same_mask_dropout if self.config.variational else F.dropout
        return kind(values, p, generator=self.generator)

    def _penalise(self, output: Tensor, dropped: Tensor) -> None:
        config = self.config
        if not self.training or not _core.grad_enabled():
            return
        if config.activation_penalty > 0:
            self._penalties.append(F.activation_penalty(dropped) * config.activation_penalty)
        if config.temporal_penalty > 0 and output.shape[0] > 1:
            self._penalties.append(F.temporal_activation_penalty(output) * config.temporal_penalty)

    def take_penalty(self) -> Tensor | None:
        """The penalties of the passes since the last call, to be added to the loss; None where there are none."""
        penalties, self._penalties = self._penalties, []
        return sum(penalties[1:], penalties[0]) if penalties else None

    def loss(
        self,
        ids: Tensor | ArrayLike,
        targets: Tensor | ArrayLike,
        state: State | None = None,
        *,
        lengths: Tensor | ArrayLike | None = None,
        reduction: str = "mean",
    ) -> tuple[Tensor, State]:
        """Cross-entropy in nats of `targets` (T, N) after `ids` (T, N), and the state after the last step.

        Targets of -100 do not count. `reduction`: "mean" over the targets that count, or "sum".
        """
        features, state = self.features(ids, state, lengths)
        return self.head_loss(features, targets, reduction=reduction), state

    def head_loss(self, features: Tensor, targets: Tensor | ArrayLike, *, reduction: str = "mean") -> Tensor:
        """Cross-entropy of `targets` (T, N) given the stack's output (T, N, H): linear and log-softmax fused."""
        flat, ids = self._head_input(features).reshape(-1, self.config.head_inputs), _ids(targets).reshape(-1)
        if output_layer.trains_on_samples(self.config, self.training) and isinstance(self.head, nn.Linear):
            if reduction != "mean":
                expected = "mean, where the loss is one over sampled words"
                raise ValueError(message("language model", "reduction", expected, reduction))
            return output_layer.sampled_loss(self.config, self.head, flat, ids, self.generator)
        return output_layer.exact_loss(self.head, flat, ids, reduction)

    def check_state(self, state: State, batch: int) -> None:
        """Refuse a state that this model does not return for `batch` streams.

        Raises:
            ValueError: another number of tensors, shape or dtype.
        """
        config = self.config
        if config.is_mixed:
            parts = config.state_parts.items()
            wanted = [((a, batch, n), "int64" if name == "clock" else config.dtype) for name, (a, n) in parts]
        else:
            shape = (config.num_layers, batch, config.layer_sizes[0])
            wanted = [(shape, config.dtype)] * (2 if config.cell == "lstm" else 1)
        got = [(part.shape, part.dtype) for part in state]
        if got != wanted:
            raise ValueError(message("language model", "state", str(wanted), str(got)))

    def detach(self, state: State) -> State:
        """The state without its history: the next chunk's gradient stops here."""
        return tuple(tensor.detach() for tensor in state)

    def score(self, tokens: Ids, *, batch: int = 1, chunk: int = 500) -> tuple[float, int]:
        """Total negative log-likelihood (nats) of tokens (L,), and how many were predicted (all but the first).

        Args:
            tokens: ids.
            batch: streams read in parallel, each from a zero state; 1 (default) is the exact chain rule.
            chunk: steps read at a time; the state is carried, so it does not change the result.
        """
        streams = Streams(tokens, batch=min(batch, max(len(tokens) - 1, 1)), bptt=chunk, every_token=True)
        total, count, state = 0.0, 0, None
        with self.evaluating():
            for piece in streams:
                loss, state = self.loss(piece.inputs, piece.targets, state, reduction="sum")
                total += loss.item()
                count += piece.tokens
        return total, count

    def log_prob(self, text: str | bytes, *, start: str | None = None) -> float:
        """Log P(text) in nats by the chain rule: the sum of log P(token | all before).

        Every token but the very first is a factor (for words the end of each line is one), as in `metrics.evaluate`.

        Args:
            text: at least two tokens; one if `start` is given.
            start: a token that conditions the first prediction, e.g. a line end; then the first is a factor too.
        """
        vocabulary = self.require_vocabulary()
        tokens = vocabulary.encode(text)
        if start is not None:
            tokens = np.concatenate([vocabulary.encode(start, end_line=False), tokens])
        return -self.score(tokens)[0]

    def require_vocabulary(self) -> TextVocabulary:
        """The vocabulary.

        Raises:
            ValueError: the model has none.
        """
        if self.vocabulary is None:
            raise ValueError(message("language model", "vocabulary", "one, to read text", "none"))
        return self.vocabulary

    def describe(self) -> dict[str, str]:
        """See `Model.describe`."""
        config = self.config
        rows = {
            "cell": f"{describe_stack(config)}, dropout {describe_dropouts(config)}",
            "embedding": f"{config.vocab_size} x {config.embedding_size}{', tied' if config.tie_weights else ''}",
        }
        if config.projection_size:
            rows["projection"] = str(config.projection_size)
        if config.softmax != "full":
            clusters = f", clusters from {', '.join(map(str, config.cutoffs[:5]))}" if config.cutoffs else ""
            rows["softmax"] = config.softmax + clusters + (", ..." if len(config.cutoffs) > 5 else "")
        return rows if self.vocabulary is None else {**rows, "vocabulary": self.vocabulary.describe()}

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON."""
        return asdict(self.config)

    def assets(self) -> dict[str, Any]:
        """The vocabulary."""
        return {"vocabulary": None if self.vocabulary is None else self.vocabulary.to_json()}

    @classmethod
    def from_dict(
        cls, config: Mapping[str, Any], assets: Mapping[str, Any], *, generator: Generator | None = None
    ) -> LanguageModel:
        """See `Model.from_dict`."""
        return cls(**config, vocabulary=_vocabulary(assets), generator=generator)

    def spec(self) -> _core.ModelSpec:
        """The engine's description of the model."""
        config = self.config
        return _core.ModelSpec(
            vocab_size=config.vocab_size,
            embedding_size=config.embedding_size,
            recurrent=config.recurrent_spec(),
            tie_weights=config.tie_weights,
            dropout=config.model_dropout,
            softmax=output_layer.spec_of(config),
            projection_size=config.projection_size,
        )

    @classmethod
    def from_spec(
        cls, spec: _core.ModelSpec, assets: Mapping[str, Any], *, dtype: str, generator: Generator | None
    ) -> LanguageModel:
        """See `Model.from_spec`."""
        stack = json.loads(_core.recurrent_spec_json(spec.recurrent))
        sizes = spec.recurrent.hidden_sizes
        narrow = sizes[-1] != sizes[0] and sizes[-1] == spec.embedding_size
        wanted = [sizes[0]] * (len(sizes) - narrow) + [sizes[-1]] * narrow
        plain = [{"cell": spec.recurrent.cell, "hidden_size": size} for size in wanted]
        if spec.recurrent.bidirectional:
            raise ValueError(message("language model", "bidirectional", "False", "True"))
        shape: dict[str, Any]
        if stack["layers"] == plain:
            shape = {"cell": spec.recurrent.cell, "hidden_size": sizes[0], "num_layers": len(sizes)}
        else:
            narrow, shape = False, {"layers": stack["layers"]}
        first, last = spec.dropout or stack.get("input_dropout", 0.0), spec.dropout or stack.get("output_dropout", 0.0)
        dropout = stack["dropout"] if len(sizes) > 1 else first
        kind, cutoffs, div_value = spec.softmax
        return cls(
            spec.vocab_size,
            embedding_size=spec.embedding_size,
            **shape,
            dropout=dropout,
            input_dropout=None if first == dropout else first,
            output_dropout=None if last == dropout else last,
            tie_weights=spec.tie_weights,
            narrow_last=narrow,
            variational=stack.get("same_mask", False),
            **{name: stack[name] for name in ("connection", "weight_drop", "learn_initial_state") if name in stack},
            softmax=kind,
            cutoffs=cutoffs,
            div_value=div_value,
            projection_size=spec.projection_size,
            vocabulary=_vocabulary(assets),
            dtype=dtype,
            generator=generator,
        )


def _vocabulary(assets: Mapping[str, Any]) -> TextVocabulary | None:
    value = assets.get("vocabulary")
    return None if value is None else vocabulary_from_json(value)


def _ids(values: Tensor | ArrayLike) -> Tensor:
    return values if isinstance(values, Tensor) else Tensor(as_integers("language model", "ids", values))
