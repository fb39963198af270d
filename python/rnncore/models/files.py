"""Language models in and out of the one model file (cpp/include/rnncore/model.hpp)."""

from __future__ import annotations

import json
import os
from typing import Any

from rnncore import Generator, _core
from rnncore._messages import message
from rnncore.data.text import PathLike
from rnncore.data.vocabulary import Vocabulary
from rnncore.models.language_model import LanguageModel, LanguageModelConfig

_TIED = "head.weight"  # not stored when it is the embedding's


def spec_of(config: LanguageModelConfig) -> _core.ModelSpec:
    """The engine's description of a model."""
    return _core.ModelSpec(
        vocab_size=config.vocab_size,
        embedding_size=config.embedding_size,
        recurrent=config.recurrent_spec(),
        tie_weights=config.tie_weights,
        dropout=0.0 if config.variational else config.dropout,
    )


def save_language_model(model: LanguageModel, path: PathLike) -> None:
    """See `LanguageModel.save`."""
    parameters = {name: value for name, value in model.state_dict().items() if not _is_tied(model, name)}
    vocabulary = None if model.vocabulary is None else model.vocabulary.to_json()
    _core.save_model(
        os.fspath(path),
        spec_of(model.config),
        parameters,
        json.dumps(vocabulary),
        json.dumps(model.training_facts, allow_nan=False),
    )


def load_language_model(path: PathLike, *, generator: Generator | None = None) -> LanguageModel:
    """See `LanguageModel.load`."""
    name = os.fspath(path)
    spec, parameters, vocabulary_json, training_json = _core.load_model(name)
    stack = json.loads(_core.recurrent_spec_json(spec.recurrent))
    sizes = spec.recurrent.hidden_sizes
    uniform = all(layer == {"cell": spec.recurrent.cell, "hidden_size": sizes[0]} for layer in stack["layers"])
    if spec.kind != "language_model" or not uniform or spec.recurrent.bidirectional:
        got = f"{spec.kind} with layers {stack['layers']}"
        raise OSError(message("load model", name, "a language model with plain layers of one cell and size", got))
    variational = stack.get("same_mask", False)
    try:
        vocabulary = json.loads(vocabulary_json)
        model = LanguageModel(
            spec.vocab_size,
            embedding_size=spec.embedding_size,
            hidden_size=sizes[0],
            num_layers=len(sizes),
            cell=spec.recurrent.cell,
            dropout=stack["input_dropout"] if variational else spec.dropout,
            tie_weights=spec.tie_weights,
            variational=variational,
            **{name: stack[name] for name in ("connection", "weight_drop", "learn_initial_state") if name in stack},
            vocabulary=None if vocabulary is None else Vocabulary.from_json(vocabulary),
            dtype=parameters["embedding.weight"].dtype,
            generator=generator,
        )
        model.training_facts = _facts(training_json)
    except (ValueError, TypeError, AttributeError) as error:
        raise OSError(message("load model", name, "an rnncore language model", str(error))) from None
    if spec.tie_weights:
        parameters = {**parameters, _TIED: parameters["embedding.weight"]}
    model.load_state_dict(parameters)
    return model


def _is_tied(model: LanguageModel, name: str) -> bool:
    return model.config.tie_weights and name == _TIED


def _facts(training_json: str) -> dict[str, Any] | None:
    facts = json.loads(training_json)
    return facts if isinstance(facts, dict) else None
