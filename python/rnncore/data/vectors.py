"""Ready-made word vectors in the text format of word2vec and GloVe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message
from rnncore.data.records import OnError, Records, lines_of
from rnncore.data.text import PathLike
from rnncore.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Vectors:
    """Vectors of a vocabulary's tokens.

    Attributes:
        rows: vectors (V, E), zeros where there is none.
        found: which tokens have one (V,).
        skipped: how many malformed lines were left out.
    """

    rows: NDArray[Any]
    found: NDArray[np.bool_]
    skipped: int = 0


def load_vectors(path: PathLike, vocabulary: Vocabulary, size: int, *, on_error: OnError = "raise") -> Vectors:
    """The vectors of a vocabulary's tokens.

    Args:
        path: a word and `size` numbers a line, separated by blanks (GloVe); word2vec's first line with two numbers is
            left out; ``.gz`` is unpacked. Where a word stands twice, the first counts.
        vocabulary: whose tokens are looked for.
        size: E, numbers of a vector.
        on_error: "raise": a malformed line is an error that names it; "skip": it is left out and counted.

    Raises:
        OSError: the file cannot be read.
        ValueError: a malformed line, or vectors of another size.
    """
    records = Records(on_error)
    places = {token: place for place, token in enumerate(vocabulary.tokens)}
    rows, found = np.zeros((len(vocabulary), size), np.float32), np.zeros(len(vocabulary), np.bool_)
    for number, line in lines_of(path):
        parts = line.rstrip().rsplit(" ", size)
        if number == 1 and len(line.split()) == 2 and size != 1:
            continue
        if not line.strip():
            continue
        place = places.get(parts[0])
        if len(parts) != size + 1 or (number <= 2 and " " in parts[0].strip()):
            records.bad(str(path), number, f"a word and {size} numbers", line)
        elif place is not None and not found[place]:
            try:
                rows[place] = [float(part) for part in parts[1:]]
                found[place] = True
            except ValueError:
                records.bad(str(path), number, f"a word and {size} numbers", line)
    if not found.any():
        raise ValueError(message("read vectors", str(path), "vectors of some of the vocabulary's words", "none"))
    return Vectors(rows, found, records.skipped)
