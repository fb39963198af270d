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
from rnncore.nn import init

_CLASSES = {  # kind in the file -> module:class, imported when first met
    "language_model": "rnncore.models.language_model:LanguageModel",
    "forecaster": "rnncore.models.forecaster:Forecaster",
    "multilabel": "rnncore.models.music:PolyphonicMusic",
    "transcriber": "rnncore.models.transcriber:Transcriber",
    "classifier": "rnncore.models.classifier:Classifier",
    "tagger": "rnncore.models.tagger:Tagger",
    "seq2seq": "rnncore.models.seq2seq:Seq2Seq",
    "captioner": "rnncore.models.captioner:Captioner",
}
_PYTHON_ONLY = ("seq2seq", "captioner")  # kinds that the engine has no specification for: `to_dict` stands in the file
_TIED = ("head.weight", "head.words.weight")  # one of them, not stored when it is the embedding's


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
    if model.kind in _PYTHON_ONLY:
        return _save_python_only(model, path)
    spec = model.spec()
    parameters = file_parameters(model)
    assets = model.assets()
    vocabulary = assets.pop("vocabulary", None)
    facts = json.dumps(model.training_facts, allow_nan=False)
    rest = json.dumps(assets or None, allow_nan=False)
    _core.save_model(os.fspath(path), spec, parameters, json.dumps(vocabulary), facts, rest)
    return None


def file_parameters(model: Model) -> dict[str, Tensor]:
    """The parameters under the names that they have in a model file, where a tied one stands once."""
    tied = model.spec().tie_weights
    return {name: value for name, value in model.state_dict().items() if not (tied and name in _TIED)}


def tied_name(spec: _core.ModelSpec) -> str:
    """The second name of a tied model's embedding."""
    return _TIED[0] if spec.softmax[0] == "full" else _TIED[1]


def load(path: PathLike, *, generator: Generator | None = None) -> Model:
    """Read a model file of any kind. Start values are not drawn; `generator` is as it was (for dropout, later on).

    Raises:
        OSError: no such file, a truncated or foreign one.
    """
    name = os.fspath(path)
    if _kind_in(name) in _PYTHON_ONLY:
        return _load_python_only(name, generator)
    spec, parameters, vocabulary_json, training_json, assets_json = _core.load_model(name)
    try:
        assets: dict[str, Any] = {**(json.loads(assets_json) or {}), "vocabulary": json.loads(vocabulary_json)}
        dtype = next(iter(parameters.values())).dtype
        with init.skipped():
            model = model_class(spec.kind).from_spec(spec, assets, dtype=dtype, generator=generator)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise OSError(message("load model", name, "a model that this version knows", str(error))) from None
    facts = json.loads(training_json)
    model.training_facts = facts if isinstance(facts, dict) else None
    if spec.tie_weights:
        parameters = {**parameters, tied_name(spec): parameters["embedding.weight"]}
    model.load_state_dict(parameters)
    return model


def _parameters_once(model: Model) -> dict[str, Tensor]:
    """By name; a parameter that has two names stands under its first."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def _save_python_only(model: Model, path: PathLike) -> None:
    """The file of other kinds, with `to_dict` for a specification."""
    facts = {
        "version": 1,
        "model": {"kind": model.kind, **model.to_dict()},
        "vocabulary": None,
        "training": model.training_facts,
        "assets": model.assets(),
    }
    text = json.dumps(facts, allow_nan=False)
    _core.save_tensors(os.fspath(path), _parameters_once(model), {"rnncore": text})


def _kind_in(path: str) -> str | None:
    """The kind of model in a file, from its header alone; None: whoever reads the file says what is wrong with it."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size <= os.path.getsize(path) else {}  # noqa: PTH202
        kind = json.loads(header["__metadata__"]["rnncore"])["model"]["kind"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return kind if isinstance(kind, str) else None


def _load_python_only(path: str, generator: Generator | None) -> Model:
    tensors, metadata = _core.load_tensors(path)
    try:
        facts = json.loads(metadata["rnncore"])
        if facts["version"] != 1:
            raise ValueError(f"version {facts['version']}")
        config = dict(facts["model"])
        with init.skipped():
            model = model_class(config.pop("kind")).from_dict(config, facts["assets"], generator=generator)
        own = _parameters_once(model)
        if set(own) != set(tensors):
            raise ValueError(f"parameters {', '.join(sorted(set(own) ^ set(tensors)))} missing or unused")
        dtypes = {value.dtype for value in tensors.values()} - {config["dtype"]}
        if dtypes:
            raise ValueError(f"parameters of {', '.join(sorted(dtypes))} in a {config['dtype']} model")
        model.load_state_dict(tensors, strict=False)  # all but second names of tied parameters
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise OSError(message("load model", path, "a model that this version knows", str(error))) from None
    training = facts["training"]
    model.training_facts = training if isinstance(training, dict) else None
    return model
