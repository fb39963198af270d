"""The options of ``rnncore eval`` that let a language model adapt to what it scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rnncore._messages import message
from rnncore.adaptation import CacheOptions, DynamicOptions, adapted_score, gradient_mean_squares
from rnncore.data import TextSource
from rnncore.data.batches import Ids
from rnncore.models.language_model import LanguageModel

_DYNAMIC = {"dynamic-lr": "lr", "dynamic-decay": "decay", "segment": "segment"}
_CACHE = {"cache": "window", "cache-theta": "theta", "cache-weight": "weight"}


def adaptive_scorer(model: LanguageModel, options: Mapping[str, Any]) -> Callable[[Ids], tuple[float, int]] | None:
    """What scores ids, by the options that were given; None: no adaptation is asked for.

    Raises:
        ValueError: options that belong to others that are missing.
        OSError: the training text, for the rule "rms", cannot be read.
    """
    _belong(options, "dynamic", ("dynamic-lr", "dynamic-decay", "segment", "train-text"))
    _belong(options, "cache", ("cache-theta", "cache-weight"))
    dynamic, cache, squares = None, None, None
    if "dynamic" in options:
        chosen = {name: options[option] for option, name in _DYNAMIC.items() if option in options}
        dynamic = DynamicOptions(options["dynamic"], **chosen)
        if dynamic.rule == "rms":
            squares = gradient_mean_squares(model, _training_ids(model, options), segment=dynamic.segment)
        elif "train-text" in options:
            raise ValueError(message("eval", "--train-text", "--dynamic rms beside it", f"--dynamic {dynamic.rule}"))
    if "cache" in options:
        cache = CacheOptions(**{name: options[option] for option, name in _CACHE.items() if option in options})
    if dynamic is None and cache is None:
        return None
    return partial(adapted_score, model, dynamic=dynamic, mean_squares=squares, cache=cache)


def _belong(options: Mapping[str, Any], owner: str, names: tuple[str, ...]) -> None:
    for name in names:
        if name in options and owner not in options:
            raise ValueError(message("eval", f"--{name}", f"--{owner} beside it", str(options[name])))


def _training_ids(model: LanguageModel, options: Mapping[str, Any]) -> Ids:
    """The ids of the text that a model was trained on, or of another that is given."""
    if "train-text" in options:
        source = TextSource(str(options["train-text"]), level=model.require_vocabulary().level, valid_fraction=0.0)
    else:
        facts = (model.training_facts or {}).get("source")
        if facts is None:
            hint = "the rule rms needs the gradient's mean square over the training text: --train-text FILE"
            raise ValueError(message("eval", "--dynamic", "a model that knows its training text", "rms", hint))
        source = TextSource.from_json(facts)
    return source.load(model.require_vocabulary()).train
