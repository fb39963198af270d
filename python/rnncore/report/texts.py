"""The parts of a report that are text: samples over time, what units do, attention."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnncore.report.log import as_count
from rnncore.report.run import Run

if TYPE_CHECKING:
    from rnncore.models import LanguageModel

_READ, _SHOWN = 3000, 600  # tokens that units are ranked on, and of these shown
_LEVELS = 8  # of each colour


def samples(run: Run, most: int = 6) -> str:
    """What the model wrote, first and last and some between."""
    found = [record for record in run.log.events("sample") if isinstance(record.get("text"), str)]
    if not found:
        return ""
    picked = sorted({round(at) for at in np.linspace(0, len(found) - 1, min(most, len(found)))})
    parts = []
    for index in picked:
        record = found[index]
        when = f"epoch {as_count(record.get('epoch'), index + 1):,}, update {as_count(record.get('step'), 0):,}"
        parts.append(f"<details{' open' if index == picked[-1] else ''}><summary>{when}</summary>")
        parts.append(f'<pre class="text">{escape(record["text"][:2000])}</pre></details>')
    return "".join(parts)


def attention(run: Run, most: int = 4) -> str:
    """Attention maps, from records {"event": "attention", "step", "source": [S], "target": [T], "weights": (T, S)}."""
    parts = []
    for record in run.log.events("attention")[-most:]:
        source, target = record.get("source"), record.get("target")
        try:
            weights = np.array(record.get("weights"), dtype=np.float64)
        except (ValueError, TypeError, OverflowError):
            weights = np.empty((0, 0))
        if not isinstance(source, list) or not isinstance(target, list) or weights.shape != (len(target), len(source)):
            run.notes.append("an attention record without source, target and weights (T, S): left out")
            continue
        head = "".join(f"<th>{escape(str(word))}</th>" for word in source)
        rows = []
        for word, line in zip(target, weights, strict=True):
            cells = "".join(
                f'<td class="{_level(value)}" title="{value:.2f}"></td>'
                for value in np.clip(np.nan_to_num(line), 0.0, 1.0)
            )
            rows.append(f"<tr><th>{escape(str(word))}</th>{cells}</tr>")
        parts.append(f'<figure class="wide"><figcaption>update {as_count(record.get("step"), 0):,}</figcaption>')
        parts.append(
            f'<div class="scroll"><table class="attention"><tr><td></td>{head}</tr>{"".join(rows)}</table></div>'
        )
        parts.append("</figure>")
    return "".join(parts)


def units(run: Run) -> str:
    """A text coloured by single units: those that explain quotes and lines best, and the busiest."""
    from rnncore import inspect
    from rnncore.models import LanguageModel

    model = run.model()
    if model is None:
        return ""
    if not isinstance(model, LanguageModel) or model.vocabulary is None:
        run.notes.append(f"a {model.kind.replace('_', ' ')}: no text for its units")
        return ""
    ids = _text(run, model)
    if ids is None:
        run.notes.append("neither its text nor a sample is there: no text for its units")
        return ""
    try:
        activations = inspect.unit_activations(model, ids)
    except ValueError as error:
        run.notes.append(f"its units cannot be read: {error}")
        return ""
    tokens = inspect.token_texts(model, ids)
    parts = []
    shown: set[tuple[str, int]] = set()
    for name, values in (
        ("inside quotes", inspect.inside_quotes(tokens).astype(np.float64)),
        ("place in the line", inspect.position_in_line(tokens).astype(np.float64)),
    ):
        if np.ptp(values) == 0:
            continue
        for score in inspect.rank_units(activations, values, top=2):
            shown.add((score.layer, score.unit))
            title = f"{score.layer}, unit {score.unit}: {name}, r = {score.correlation:+.2f}"
            parts.append(_coloured(title, tokens, activations[score.layer][:, score.unit]))
    for layer, unit in _busiest(activations, 4):
        if (layer, unit) not in shown:
            parts.append(
                _coloured(f"{layer}, unit {unit}: of the largest variance", tokens, activations[layer][:, unit])
            )
    return "".join(parts)


def _text(run: Run, model: LanguageModel) -> NDArray[np.int64] | None:
    """Ids of the validation text; where its files are gone, of the last sample."""
    from rnncore.train.task import task_class

    source = run.config.get("source")
    if isinstance(source, dict):
        try:
            corpus = task_class(model.kind).read(source, model).corpus  # type: ignore[attr-defined]
            part = corpus.valid if len(corpus.valid) > 1 else corpus.train
            return np.array(part[:_READ], dtype=np.int64)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            run.notes.append(f"its text cannot be read again: {error}")
    written = [record["text"] for record in run.log.events("sample") if isinstance(record.get("text"), str)]
    if not written or not written[-1]:
        return None
    return np.asarray(model.require_vocabulary().encode(written[-1], end_line=False), dtype=np.int64)


def _busiest(activations: dict[str, NDArray[Any]], count: int) -> list[tuple[str, int]]:
    """Of the topmost layer (its h) the units of the largest variance."""
    layer = [name for name in activations if name.endswith(".h")][-1]
    return [(layer, int(unit)) for unit in np.argsort(-activations[layer].var(axis=0))[:count]]


def _coloured(title: str, tokens: Sequence[str], values: NDArray[Any]) -> str:
    scaled = np.asarray(values, dtype=np.float64)[:_SHOWN]
    scaled = scaled / (np.abs(values).max(initial=0.0) or 1.0)
    parts, level, piece = [], "", ""
    for token, value in zip(tokens, scaled, strict=False):
        this = _level(float(value))
        if this != level and piece:
            parts.append(_span(level, piece))
            piece = ""
        level, piece = this, piece + token
    parts.append(_span(level, piece))
    head = f'<figure class="wide"><figcaption>{escape(title)}</figcaption>'
    return f'{head}<pre class="text">{"".join(parts)}</pre></figure>'


def _span(level: str, piece: str) -> str:
    return f'<s class="{level}">{escape(piece)}</s>' if level else escape(piece)


def _level(value: float) -> str:
    """The class of a value in [-1, 1]: r1..r8 above 0, u1..u8 below, none about 0."""
    size = round(abs(value) * _LEVELS)
    return "" if size == 0 else f"{'r' if value > 0 else 'u'}{size}"
