"""rnncore's model files for chains: what C++ loads and streams, and Python reads back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from rnncore import _core, nn
from rnncore.convert._errors import refusal
from rnncore.convert._recurrent import module_of_spec
from rnncore.convert.chain import RECURRENT, Chain, LastStep, Pool
from rnncore.models.base import Model
from rnncore.models.files import file_parameters, tied_name
from rnncore.nn import init


def save_chain(chain: nn.Module, path: str | os.PathLike[str]) -> None:
    """Writes a chain as a model file (`rnncore::load_model` in C++): one tensor per parameter, the rest as JSON.

    Args:
        chain: [Embedding], one recurrent stack, [last step or maximum or mean], Linear, [Softmax or LogSoftmax] in this
            order. It becomes a model of its `kind`, if it has one; else a language model where it maps ids to as many
            outputs at every step; a forecaster where it has neither ids nor a softmax; else a tagger or, with one
            output for a sequence, a classifier. Their outputs are logits: a softmax at the end is not stored. Its
            `facts` (vocabulary, labels, ...) go into the file.
        path: The file, written atomically.

    Raises:
        ConversionError: naming the layer that does not fit into a model file.
    """
    layers = [layer for layer in _layers(chain) if not isinstance(layer[1], nn.Dropout)]
    place = f"model file {os.fspath(path)}"
    names: dict[str, Any] = {"embedding": nn.Embedding, "rnn": RECURRENT, "last": (LastStep, Pool), "head": nn.Linear}
    parts: dict[str, Any] = {}
    rest = list(layers)
    for part, kind in names.items():
        if rest and isinstance(rest[0][1], kind):
            parts[part] = rest.pop(0)[1]
    softmax = bool(rest) and isinstance(rest[0][1], nn.Softmax | nn.LogSoftmax)
    rest = rest[1:] if softmax else rest
    if rest or "rnn" not in parts or "head" not in parts:
        got = ", ".join(f"{name} ({type(layer).__name__})" for name, layer in layers)
        raise refusal("convert", place, "[Embedding,] a recurrent stack, [last step or pool,] Linear[, softmax]", got)
    spec = _spec(parts, getattr(chain, "kind", None) or _kind_of(parts, softmax))
    parameters: dict[str, Any] = {}
    for part in ("embedding", "rnn", "head"):
        if part in parts:
            parameters.update({f"{part}.{name}": value for name, value in parts[part].state_dict().items()})
    if parts["head"].bias is None:
        head = parts["head"].weight
        parameters["head.bias"] = np.zeros(head.shape[0], head.dtype)
    facts = dict(getattr(chain, "facts", {}))
    vocabulary = json.dumps(facts.pop("vocabulary", None))
    _core.save_model(os.fspath(path), spec, parameters, vocabulary, "null", json.dumps(facts or None))


def _layers(chain: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(chain.named_children()) if isinstance(chain, Chain | nn.Sequential) else [("", chain)]


def _kind_of(parts: dict[str, Any], softmax: bool) -> str:
    table, pooled = parts.get("embedding"), "last" in parts
    if table is not None and parts["head"].out_features == table.num_embeddings and not pooled:
        return "language_model"
    if table is None and not softmax:
        return "forecaster"
    return "classifier" if pooled else "tagger"


def _spec(parts: dict[str, Any], kind: str) -> Any:
    table, outputs, pooled = parts.get("embedding"), parts["head"].out_features, parts.get("last")
    return _core.ModelSpec(
        vocab_size=table.num_embeddings if table is not None else 0,
        embedding_size=table.embedding_dim if table is not None else 0,
        recurrent=parts["rnn"].spec,
        kind=kind,
        pooling="none" if pooled is None else pooled.kind if isinstance(pooled, Pool) else "last",
        output_size=outputs,
    )


def load_chain(path: str | os.PathLike[str]) -> Chain:
    """The chain of a model file: embedding, rnn, last, projection and head, as far as it has them.

    Raises:
        OSError: it is no model file, or damaged.
        ConversionError: it reads characters or has a CRF.
    """
    spec, parameters, vocabulary_json, _, assets_json = _core.load_model(os.fspath(path))
    facts = {"vocabulary": json.loads(vocabulary_json), **(json.loads(assets_json) or {})}
    return _chain(spec, parameters, facts, os.fspath(path))


def chain_of_model(model: Model) -> Chain:
    """The same of a model at hand, with copies of its parameters.

    Raises:
        ConversionError: it is more than a chain of layers.
    """
    if model.kind in ("seq2seq", "captioner"):
        expected = "a model that is a chain of layers"
        raise refusal("convert", type(model).__name__, expected, "a decoder that is fed its own output")
    return _chain(model.spec(), file_parameters(model), model.assets(), type(model).__name__)


def _chain(spec: Any, parameters: Mapping[str, Any], facts: Mapping[str, Any], place: str) -> Chain:
    if spec.characters is not None or spec.crf:
        raise refusal("convert", place, "no characters and no CRF", "a model with them")
    with init.skipped():
        chain = Chain(_layers_of(spec, next(iter(parameters.values())).dtype))
    if spec.tie_weights:
        parameters = {**parameters, tied_name(spec): parameters["embedding.weight"]}
    chain.load_state_dict(parameters)
    chain.facts = {name: value for name, value in facts.items() if value is not None}
    chain.kind = spec.kind
    return chain.eval()


def _layers_of(spec: Any, dtype: str) -> dict[str, nn.Module]:
    stack = spec.recurrent
    layers: dict[str, nn.Module] = {}
    if spec.vocab_size:
        layers["embedding"] = nn.Embedding(spec.vocab_size, spec.embedding_size, dtype=dtype)
    layers["rnn"] = module_of_spec(stack, dtype)
    if spec.pooling != "none":
        last = spec.pooling == "last"
        layers["last"] = LastStep(2 if stack.bidirectional else 1) if last else Pool(spec.pooling)
    width = stack.output_size
    if spec.projection_size:
        layers["projection"] = nn.Linear(width, spec.projection_size, bias=False, dtype=dtype)
        width = spec.projection_size
    softmax, cutoffs, div_value = spec.softmax
    if softmax == "adaptive" and not spec.tie_weights:
        layers["head"] = nn.AdaptiveLogSoftmaxWithLoss(
            width, spec.vocab_size, cutoffs, div_value, head_bias=True, dtype=dtype
        )
    elif softmax != "full":
        layers["head"] = nn.ClassSoftmax(width, spec.vocab_size, cutoffs, dtype=dtype)
    else:
        layers["head"] = nn.Linear(width, spec.output_size, dtype=dtype)
    return layers
