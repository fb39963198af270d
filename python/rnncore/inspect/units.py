"""What single units do: their values over a text, how well each explains a property of it, and coloured text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnncore import no_grad
from rnncore._messages import message, positive
from rnncore.data.batches import Ids
from rnncore.data.subwords import Subwords
from rnncore.inspect.watch import watched
from rnncore.models import LanguageModel

if TYPE_CHECKING:
    from rich.text import Text

Array = NDArray[Any]


def unit_activations(model: LanguageModel, text: str | bytes | Ids, *, chunk: int = 500) -> dict[str, Array]:
    """The states of every recurrent layer after each token of a text.

    Args:
        model: evaluated without dropout, from its initial state.
        text: text, or ids (T,).
        chunk: tokens read at a time; the state is carried. Default: 500.

    Returns:
        (T, units) by layer and state: "rnn.l0.h", and "rnn.l0.c" where the cell has c.

    Raises:
        ValueError: no token.
    """
    positive("unit activations", "chunk", chunk)
    ids = ids_of(model, text, "unit activations")
    parts: dict[str, list[Array]] = {}
    state = None
    with watched(model) as watch, no_grad():
        for at in range(0, len(ids), chunk):
            _, state = model.features(ids[at : at + chunk, None], state)
            for layer in watch.layers:
                for kind, values in (("h", layer.h), ("c", layer.c)):
                    if values is not None:
                        parts.setdefault(f"{layer.name}.{kind}", []).append(values[:, 0])
    return {name: np.concatenate(pieces) for name, pieces in parts.items()}


@dataclass(frozen=True)
class UnitScore:
    """How well one unit explains a property.

    Attributes:
        layer: a key of the activations, "rnn.l0.c".
        unit: its index.
        correlation: Pearson's r of its values and the property's; r**2 is the share of variance explained.
    """

    layer: str
    unit: int
    correlation: float


def rank_units(activations: Mapping[str, ArrayLike], property: ArrayLike, *, top: int | None = 10) -> list[UnitScore]:
    """Units by how well they explain a property of the text: by |r|, Pearson's correlation (Karpathy et al. 2015).

    For a property that is true or false r is the point-biserial correlation. A unit that never changes has r = 0.

    Args:
        activations: (T, units) by name, as `unit_activations` gives them.
        property: (T,): numbers or booleans, as `inside_quotes` gives them.
        top: how many. Default: 10; None: all.

    Raises:
        ValueError: lengths that differ, or a property that never changes.

    >>> [best] = rank_units({"l0.h": [[0.0, 1.0], [1.0, 1.0], [0.0, 1.0]]}, [False, True, False], top=1)
    >>> best.layer, best.unit, round(best.correlation, 6)
    ('l0.h', 0, 1.0)
    """
    wanted = np.asarray(property, dtype=np.float64)
    if wanted.ndim != 1 or wanted.size == 0 or np.ptp(wanted) == 0:
        got = f"shape {wanted.shape}" if wanted.ndim != 1 or wanted.size == 0 else "always the same"
        raise ValueError(message("rank units", "property", "(T,) values that change", got))
    wanted = wanted - wanted.mean()
    wanted /= np.linalg.norm(wanted)
    scores = []
    for layer, given in activations.items():
        values = np.asarray(given, dtype=np.float64)
        if values.ndim != 2 or len(values) != len(wanted):
            expected = f"shape ({len(wanted)}, units), as the property is long"
            raise ValueError(message("rank units", f"activations[{layer!r}]", expected, str(values.shape)))
        centred = values - values.mean(axis=0)
        sizes = np.linalg.norm(centred, axis=0)
        changes = np.ptp(values, axis=0) > 0
        r = np.divide(wanted @ centred, sizes, out=np.zeros(len(sizes)), where=changes)
        scores += [UnitScore(layer, unit, float(value)) for unit, value in enumerate(r)]
    scores.sort(key=lambda score: -abs(score.correlation))
    return scores[:top]


def inside_quotes(tokens: Sequence[str], quote: str = '"') -> NDArray[np.bool_]:
    """For each token (or character of a text) whether it stands between quotes; the opening one does, the closing not.

    >>> inside_quotes('a "b" c').tolist()
    [False, False, True, True, False, False, False]
    """
    opened = np.cumsum([token.count(quote) for token in tokens])
    return np.asarray(opened % 2 == 1)


def position_in_line(tokens: Sequence[str]) -> NDArray[np.int64]:
    r"""For each token (or character of a text) how many stand before it in its line; a line's end belongs to its line.

    >>> position_in_line("ab\ncd").tolist()
    [0, 1, 2, 0, 1]
    """
    positions, at = [], 0
    for token in tokens:
        positions.append(at)
        at = 0 if "\n" in token else at + 1
    return np.array(positions, dtype=np.int64)


def coloured(tokens: Sequence[str], values: ArrayLike) -> Text:
    """Text for a terminal (Rich): behind each token red for values above 0, blue below, the stronger the larger.

    Args:
        tokens: texts of tokens, or a string of characters.
        values: (T,), scaled by the largest modulus.

    Raises:
        ValueError: lengths that differ.
    """
    from rich.style import Style
    from rich.text import Text

    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(tokens),):
        raise ValueError(message("coloured", "values", f"shape ({len(tokens)},), one a token", str(numbers.shape)))
    scaled = numbers / (np.abs(numbers).max(initial=0.0) or 1.0)
    text = Text()
    for token, value in zip(tokens, scaled.tolist(), strict=True):
        fade = round(255 * (1 - abs(value)))
        red, blue = (255, fade) if value >= 0 else (fade, 255)
        text.append(token, Style(color="black", bgcolor=f"rgb({red},{fade},{blue})"))
    return text


def token_texts(model: LanguageModel, ids: Ids) -> tuple[str, ...]:
    """Each token alone as text; without a vocabulary its id."""
    if model.vocabulary is None:
        return tuple(f"{token} " for token in np.asarray(ids).tolist())
    if isinstance(model.vocabulary, Subwords):
        return tuple(model.vocabulary.texts(ids))
    return tuple(model.vocabulary.decode([token]) for token in np.asarray(ids).tolist())


def ids_of(model: LanguageModel, text: str | bytes | Ids, operation: str) -> Ids:
    """Ids (T,) of a text, at least one; ids pass."""
    if isinstance(text, str | bytes):
        text = model.require_vocabulary().encode(text, end_line=False)
    ids = np.asarray(text)
    if ids.ndim != 1 or len(ids) < 1:
        raise ValueError(message(operation, "text", "at least 1 token", f"ids of shape {ids.shape}"))
    return np.ascontiguousarray(ids, dtype=np.int64)
