"""What translations are measured by, from sacrebleu; where attention looked, as a picture."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message


def require_bleu() -> Any:
    """The library.

    Raises:
        ImportError: sacrebleu is missing.
    """
    try:
        return importlib.import_module("sacrebleu.metrics")
    except ImportError:
        raise ImportError("BLEU needs sacrebleu; install it with: pip install 'rnncore[uses]'") from None


@dataclass(frozen=True)
class Bleu:
    """A corpus BLEU in per cent, and sacrebleu's signature, which says how texts were cut into tokens."""

    score: float
    signature: str


def bleu(hypotheses: Sequence[str], references: Sequence[str], *, lower: bool = False, tokenize: str = "13a") -> Bleu:
    """Corpus BLEU (Papineni et al. 2002) of one reference a text, by sacrebleu (Post 2018).

    Args:
        hypotheses: plain text, not tokenised.
        references: the same.
        lower: compare in lower case; default False.
        tokenize: "13a" (default, as WMT), "intl", "none", ...

    Raises:
        ImportError: sacrebleu is missing.
        ValueError: not as many references as hypotheses.
    """
    if len(hypotheses) != len(references):
        raise ValueError(message("bleu", "references", str(len(hypotheses)), str(len(references))))
    metric = require_bleu().BLEU(lowercase=lower, tokenize=tokenize)
    score = metric.corpus_score(list(hypotheses), [list(references)]).score
    return Bleu(float(score), str(metric.get_signature()))


def draw_attention(
    weights: Sequence[NDArray[Any]],
    sources: Sequence[Sequence[str]],
    targets: Sequence[Sequence[str]],
    path: str | os.PathLike[str],
) -> None:
    """Draw attention weights (target, source) of some texts side by side: a row for each piece that was written.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: nothing to draw, or an unknown format.
    """
    from rnncore.plot import matplotlib_classes

    if not weights:
        raise ValueError(message("plot", "attention", "at least one text", "none"))
    figure_class, canvas_class = matplotlib_classes()
    columns = [max(2.5, 0.28 * len(source) + 1.2) for source in sources]
    height = max(2.5, 0.28 * max(map(len, targets)) + 1.5)
    figure = figure_class(figsize=(sum(columns), height), layout="constrained")
    canvas_class(figure)
    parts = figure.subplots(1, len(weights), width_ratios=columns, squeeze=False)[0]
    for axes, looked, source, target in zip(parts, weights, sources, targets, strict=True):
        axes.imshow(np.asarray(looked), cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(source)), source, rotation=90, fontsize=8)
        axes.set_yticks(range(len(target)), target, fontsize=8)
        axes.xaxis.tick_top()
    try:
        figure.savefig(os.fspath(path), dpi=120)
    except ValueError as error:
        raise ValueError(message("plot", str(path), "a name that ends in .png, .svg or .pdf", str(error))) from None
