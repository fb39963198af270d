"""Recipes: the options of published experiments, or of ones that docs/language-models.md reports, under one name.

`rnncore train lm --recipe NAME` takes them as defaults; what is given beside it on the command line wins.

Example:
    >>> from rnncore.train.recipes import recipe
    >>> recipe("ptb-small").model["hidden_size"], recipe("ptb-small").train["lr"]
    (200, 1.0)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rnncore._messages import message


@dataclass(frozen=True)
class Recipe:
    """Options by the names of `LanguageModel`, `TrainConfig` and `TextSource`.

    Attributes:
        paper: where the options come from.
        model, train, text: options that are not the defaults.
    """

    paper: str
    model: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)


def _zaremba(
    size: int, dropout: float, init_range: float, steps: int, decay: float, full_rate: int, epochs: int, clip: float
) -> Recipe:
    """A row of Zaremba, Sutskever & Vinyals 2014, section 4.1.

    Their loss is summed over the steps of a chunk and averaged over the batch: learning rate 1 and the clipping belong
    to that. The rate is divided after each epoch beyond the first `full_rate`.
    """
    return Recipe(
        paper="Zaremba, Sutskever & Vinyals 2014, arXiv:1409.2329",
        model={
            "embedding_size": size,
            "hidden_size": size,
            "num_layers": 2,
            "cell": "lstm",
            "dropout": dropout,
            "init_range": init_range,
        },
        train={
            "batch": 20,
            "bptt": steps,
            "reduction": "streams",
            "optimizer": "sgd",
            "lr": 1.0,
            "clip_norm": clip,
            "schedule": "step",
            "decay": decay,
            "decay_after": full_rate - 1,  # the schedule's own first epoch is at the full rate too
            "epochs": epochs,
        },
        text={"level": "word"},
    )


def _le(cell: str, size: int, layers: int, *, projection: int = 0) -> Recipe:
    """A row of table 4 of Le, Jaitly & Hinton 2015: networks of about the same size, here for ten minutes each.

    The sizes are the paper's, whose data were a thousand times as large and whose rates were searched for each network;
    here Adam trains all. IRNN: the recurrent weights start as the identity times 0.5, other weights of the stack as
    N(0, 0.001^2), biases at 0. The state of these streams never begins anew: with the whole identity it grows, and Adam
    runs away within four updates at 2e-4; at 3e-5 it does not, and learns slower. The paper scales the identity down
    too where less is to be remembered (its speech experiment). Four tanh layers at 1e-3 stay at the frequencies of
    words.
    """
    relu = cell == "rnn-relu"
    start = {"init": "identity", "init_scale": 0.5} if relu else {}
    return Recipe(
        paper="Le, Jaitly & Hinton 2015, arXiv:1504.00941, table 4",
        model={
            "embedding_size": 512,
            "hidden_size": size,
            "num_layers": layers,
            "cell": cell,
            "projection_size": projection,
            **start,
        },
        train={
            "batch": 20,
            "bptt": 35,
            "optimizer": "adam",
            "lr": 2e-4 if relu or layers > 1 else 1e-3,
            "clip_norm": 1.0,
            "minutes": 10.0,
        },
        text={"level": "word"},
    )


def _wikitext2(**softmax: str) -> Recipe:
    """Words of WikiText-2, V = 33,278, in under an hour on two cores: residual connections, Adam, a cosine.

    The size is that of the small model of GluonNLP, whose training is many times as long.
    """
    return Recipe(
        paper="the two layers of 200 units of Zaremba, Sutskever & Vinyals 2014, tied as in Press & Wolf 2016, with "
        "residual connections; the training is of no paper",
        model={
            "embedding_size": 200,
            "hidden_size": 200,
            "num_layers": 2,
            "cell": "lstm",
            "tie_weights": True,
            "embedding_range": 0.1,
            "dropout": 0.15,
            "connection": "residual",
            "forget_bias": 1.0,
            **softmax,
        },
        train={
            "batch": 20,
            "bptt": 35,
            "optimizer": "adam",
            "lr": 4e-3,
            "clip_norm": 1.0,
            "schedule": "cosine",
            "epochs": 5,
        },
        text={"level": "word"},
    )


RECIPES: Mapping[str, Recipe] = {
    # The paper's 13 epochs end 0.9 lower in validation perplexity (117.0 for 117.8) and take twice as long.
    "ptb-small": _zaremba(200, 0.0, 0.1, 20, 1 / 2, 4, 6, 5.0),
    "ptb-medium": _zaremba(650, 0.5, 0.05, 35, 1 / 1.2, 6, 39, 5.0),
    "ptb-large": _zaremba(1500, 0.65, 0.04, 35, 1 / 1.15, 14, 55, 10.0),
    "le-lstm": _le("lstm", 512, 1),
    "le-irnn-4": _le("rnn-relu", 512, 4),
    "le-irnn-1": _le("rnn-relu", 1024, 1, projection=512),
    "le-tanh-4": _le("rnn-tanh", 512, 4),
    "le-tanh-1": _le("rnn-tanh", 1024, 1, projection=512),
    # At the paper's size for the Penn Treebank; another is a matter of hidden_size and embedding_size.
    "awd-lstm": Recipe(
        paper="Merity, Keskar & Socher 2018, arXiv:1708.02182, section 5; weight decay as in their program",
        model={
            "embedding_size": 400,
            "hidden_size": 1150,
            "num_layers": 3,
            "cell": "lstm",
            "narrow_last": True,
            "tie_weights": True,
            "embedding_range": 0.1,
            "variational": True,
            "input_dropout": 0.4,
            "dropout": 0.3,
            "output_dropout": 0.4,
            "embedding_dropout": 0.1,
            "weight_drop": 0.5,
            "activation_penalty": 2.0,
            "temporal_penalty": 1.0,
        },
        train={
            "batch": 40,
            "bptt": 70,
            "vary_bptt": True,
            "optimizer": "nt-asgd",
            "nonmono": 5,
            "lr": 30.0,
            "clip_norm": 0.25,
            "weight_decay": 1.2e-6,
            "epochs": 750,
        },
        text={"level": "word"},
    ),
    "wikitext2": _wikitext2(),
    "wikitext2-adaptive": _wikitext2(softmax="adaptive"),
    # The size and the dropout between layers are char-rnn's. Residual connections and the cosine are for a short
    # training: four passes over the text. Nothing is dropped before the first layer, whose input product can then be a
    # table over the characters, a sixth of all arithmetic.
    "char-shakespeare": Recipe(
        paper="the three-layer character model of Karpathy 2015 (char-rnn), with residual connections",
        model={
            "hidden_size": 512,
            "num_layers": 3,
            "cell": "lstm",
            "dropout": 0.2,
            "input_dropout": 0.0,
            "connection": "residual",
            "forget_bias": 1.0,
        },
        train={
            "batch": 64,
            "bptt": 32,
            "optimizer": "adam",
            "lr": 3e-3,
            "clip_norm": 5.0,
            "schedule": "cosine",
            "warmup_steps": 50,
            "epochs": 4,
        },
        text={"level": "char", "valid_fraction": 0.1},
    ),
}


def recipe(name: str) -> Recipe:
    """The recipe of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in RECIPES:
        raise ValueError(message("recipe", "name", " | ".join(RECIPES), repr(name)))
    return RECIPES[name]
