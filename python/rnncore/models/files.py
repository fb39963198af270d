"""Models in and out of the one model file (cpp/include/rnncore/model.hpp)."""

from __future__ import annotations

import importlib
import json
import os
from typing import Any

from rnncore import Generator, Tensor, _core
from rnncore._messages import message
from rnncore.data.text import PathLike
from rnncore.models.base import Model

_CLASSES = {  # kind in the file -> module:class, imported when first met
    "language_model": "rnncore.models.language_model:LanguageModel",
    "forecaster": "rnncore.models.forecaster:Forecaster",
    "multilabel": "rnncore.models.music:PolyphonicMusic",
    "transcriber": "rnncore.models.transcriber:Transcriber",
    "classifier": "rnncore.models.classifier:Classifier",
    "tagger": "rnncore.models.tagger:Tagger",
}
_TIED = "head.weight"  # not stored when it is the embedding's


def model_class(kind: str) -> type[Model]:
    """The class of models of a kind.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in _CLASSES:
        raise ValueError(message("model", "kind", " | ".join(_CLASSES), repr(kind)))
    module, _, name = _CLASSES[kind].partition(":")
    found: type[Model] = getattr(importlib.import_module(module), name)
    return found


def save(model: Model, path: PathLike) -> None:
    """See `Model.save`."""
    spec = model.spec()
    parameters = file_parameters(model)
    assets = model.assets()
    vocabulary = assets.pop("vocabulary", None)
    facts = json.dumps(model.training_facts, allow_nan=False)
    rest = json.dumps(assets or None, allow_nan=False)
    _core.save_model(os.fspath(path), spec, parameters, json.dumps(vocabulary), facts, rest)


def file_parameters(model: Model) -> dict[str, Tensor]:
    """The parameters under the names that they have in a model file, where a tied one stands once."""
    tied = model.spec().tie_weights
    return {name: value for name, value in model.state_dict().items() if not (tied and name == _TIED)}


def load(path: PathLike, *, generator: Generator | None = None) -> Model:
    """Read a model file of any kind.

    Raises:
        OSError: no such file, a truncated or foreign one.
    """
    name = os.fspath(path)
    spec, parameters, vocabulary_json, training_json, assets_json = _core.load_model(name)
    try:
        assets: dict[str, Any] = {**(json.loads(assets_json) or {}), "vocabulary": json.loads(vocabulary_json)}
        dtype = next(iter(parameters.values())).dtype
        model = model_class(spec.kind).from_spec(spec, assets, dtype=dtype, generator=generator)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise OSError(message("load model", name, "a model that this version knows", str(error))) from None
    facts = json.loads(training_json)
    model.training_facts = facts if isinstance(facts, dict) else None
    if spec.tie_weights:
        parameters = {**parameters, _TIED: parameters["embedding.weight"]}
    model.load_state_dict(parameters)
    return model
