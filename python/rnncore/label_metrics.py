"""What classifiers and taggers are measured by, from scikit-learn and seqeval; the confusion matrix as a picture."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message


def _library(module: str, package: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        hint = "pip install 'rnncore[uses]'"
        raise ImportError(message(what, package, "the package", "none installed", hint)) from None


def class_scores(gold: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """Accuracy, balanced accuracy (the mean of the classes' recalls) and macro F1, by scikit-learn.

    Raises:
        ImportError: scikit-learn is missing.
    """
    sklearn = _library("sklearn.metrics", "scikit-learn", "class scores")
    with warnings.catch_warnings():  # a class may be predicted that does not occur: it has no recall
        warnings.simplefilter("ignore")
        balanced = sklearn.balanced_accuracy_score(gold, predicted)
    return {
        "accuracy": float(sklearn.accuracy_score(gold, predicted)),
        "balanced_accuracy": float(balanced),
        "macro_f1": float(sklearn.f1_score(gold, predicted, average="macro", zero_division=0)),
    }


def confusion(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> NDArray[Any]:
    """How often the class of a row was taken for that of a column (O, O), by scikit-learn.

    Raises:
        ImportError: scikit-learn is missing.
    """
    sklearn = _library("sklearn.metrics", "scikit-learn", "confusion matrix")
    return np.asarray(sklearn.confusion_matrix(gold, predicted, labels=list(labels)))


def draw_confusion(counts: NDArray[Any], labels: Sequence[str], path: str | os.PathLike[str], title: str = "") -> None:
    """Draw a confusion matrix; each row is shown as shares of its class.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: an unknown format.
    """
    from rnncore.plot import matplotlib_classes

    figure_class, canvas_class = matplotlib_classes()
    size = max(4.0, 0.42 * len(labels) + 2.0)
    figure = figure_class(figsize=(size, size), layout="constrained")
    canvas_class(figure)
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
        share = float(shares[row, column])
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xlabel("predicted (numbers: per cent of the row)")
    axes.set_ylabel("true")
    axes.set_title(title)
    try:
        figure.savefig(os.fspath(path), dpi=150)
    except ValueError as error:
        raise ValueError(message("plot", str(path), "a name that ends in .png, .svg or .pdf", str(error))) from None


def require_entity_scores() -> None:
    """Fail now, and not after an epoch.

    Raises:
        ImportError: seqeval is missing.
    """
    _library("seqeval.metrics", "seqeval", "entity scores")


def entity_scores(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 of whole entities (exact span and type) in BIO tags, by seqeval as conlleval counts.

    Raises:
        ImportError: seqeval is missing.
    """
    seqeval = _library("seqeval.metrics", "seqeval", "entity scores")
    with warnings.catch_warnings():  # nothing predicted yet: precision is 0
        warnings.simplefilter("ignore")
        tags = [list(one) for one in gold], [list(one) for one in predicted]
        return {
            "precision": float(seqeval.precision_score(*tags, zero_division=0)),
            "recall": float(seqeval.recall_score(*tags, zero_division=0)),
            "f1": float(seqeval.f1_score(*tags, zero_division=0)),
        }
