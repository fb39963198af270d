"""rnncore's model files for chains: what C++ loads and streams, and Python reads back."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from rnncore import _core, nn
from rnncore.convert._errors import refusal
from rnncore.convert._recurrent import module_of_spec
from rnncore.convert.chain import RECURRENT, Chain, LastStep


def save_chain(chain: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes a chain as a model file (`rnncore::load_model` in C++): one tensor per parameter, the rest as JSON.

    Args:
        chain: [Embedding], one recurrent stack, [last step], Linear, [Softmax or LogSoftmax] in this order. It becomes
            a language model where it maps ids to as many outputs at every step; a forecaster where it has neither ids
            nor a softmax; else a tagger or, with the last step alone, a classifier. Their outputs are logits: a softmax
            at the end is not stored.
        path: The file, written atomically.

    Raises:
        ConversionError: naming the layer that does not fit into a model file.
    """
    layers = [layer for layer in _layers(chain) if not isinstance(layer[1], nn.Dropout)]
    place = f"model file {os.fspath(path)}"
    names: dict[str, Any] = {"embedding": nn.Embedding, "rnn": RECURRENT, "last": LastStep, "head": nn.Linear}
    parts: dict[str, Any] = {}
    rest = list(layers)
    for part, kind in names.items():
        if rest and isinstance(rest[0][1], kind):
            parts[part] = rest.pop(0)[1]
    softmax = bool(rest) and isinstance(rest[0][1], nn.Softmax | nn.LogSoftmax)
    rest = rest[1:] if softmax else rest
    if rest or "rnn" not in parts or "head" not in parts:
        got = ", ".join(f"{name} ({type(layer).__name__})" for name, layer in layers)
        raise refusal("convert", place, "[Embedding,] a recurrent stack, [last step,] Linear[, softmax]", got)
    spec = _spec(parts, softmax)
    parameters: dict[str, Any] = {}
    for part in ("embedding", "rnn", "head"):
        if part in parts:
            parameters.update({f"{part}.{name}": value for name, value in parts[part].state_dict().items()})
    if parts["head"].bias is None:
        head = parts["head"].weight
        parameters["head.bias"] = np.zeros(head.shape[0], head.dtype)
    _core.save_model(os.fspath(path), spec, parameters)


def _layers(chain: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(chain.named_children()) if isinstance(chain, Chain | nn.Sequential) else [("", chain)]


def _spec(parts: dict[str, Any], softmax: bool) -> Any:
    table, outputs = parts.get("embedding"), parts["head"].out_features
    pooled = "last" in parts
    kind = "classifier" if pooled else "tagger"
    if table is not None and outputs == table.num_embeddings and not pooled:
        kind = "language_model"
    elif table is None and not softmax:
        kind = "forecaster"
    return _core.ModelSpec(
        vocab_size=table.num_embeddings if table is not None else 0,
        embedding_size=table.embedding_dim if table is not None else 0,
        recurrent=parts["rnn"].spec,
        kind=kind,
        pooling="last" if pooled else "none",
        output_size=outputs,
    )


def load_chain(path: str | os.PathLike[str]) -> Chain:
    """The chain of a model file: embedding, rnn, last and head, as far as it has them.

    Raises:
        OSError: it is no model file, or damaged.
        ConversionError: it pools by mean or maximum, reads characters or has a CRF.
    """
    spec, parameters, *_ = _core.load_model(os.fspath(path))
    stack = spec.recurrent
    layers: dict[str, nn.Module] = {}
    dtype = parameters["head.bias"].dtype
    if spec.vocab_size:
        layers["embedding"] = nn.Embedding(spec.vocab_size, spec.embedding_size, dtype=dtype)
    layers["rnn"] = module_of_spec(stack, dtype)
    if spec.pooling == "last":
        layers["last"] = LastStep(2 if stack.bidirectional else 1)
    elif spec.pooling != "none":
        raise refusal("convert", os.fspath(path), "pooling none or last", spec.pooling)
    if spec.characters is not None or spec.crf:
        raise refusal("convert", os.fspath(path), "no characters and no CRF", "a model with them")
    layers["head"] = nn.Linear(stack.output_size, spec.output_size, dtype=dtype)
    if spec.tie_weights:
        parameters = {**parameters, "head.weight": parameters["embedding.weight"]}
    chain = Chain(layers)
    chain.load_state_dict(parameters)
    return chain.eval()
