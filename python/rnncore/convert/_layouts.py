"""How other frameworks stack the gates of a layer's weights. They are reordered here and nowhere else.

The engine says the order of its own rows (LSTM i f g o, GRU r z n, as PyTorch). The others', in the engine's letters:

| | LSTM | GRU |
|---|---|---|
| Keras | i f g o | z r n |
| ONNX | i o f g | z r n |

Keras: kernel (in, G*H), recurrent_kernel (H, G*H), bias (G*H), or (2, G*H) of a reset-after GRU: input, then recurrent.
ONNX: W (D, G*H, in), R (D, G*H, H), B (D, 2*G*H): input biases, then recurrent ones; P (D, 3*H): i o f.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

KERAS = {"rnn": "h", "gru": "zrn", "lstm": "ifgo"}
ONNX = {"rnn": "h", "gru": "zrn", "lstm": "iofg"}
ONNX_PEEPHOLES = "iof"


def reorder(stacked: Array, source: str, target: str) -> Array:
    """Row blocks in the order of the letters `source`, put into the order `target`; other axes stay.

    A letter that only `source` has is left out; one that only `target` has becomes a block of zeros.

    >>> reorder(np.array([1, 2, 3, 4]), "iofg", "ifgo").tolist()
    [1, 3, 4, 2]
    >>> reorder(np.array([1, 2, 3]), "igo", "iofg").tolist()
    [1, 3, 0, 2]
    """
    blocks = dict(zip(source, np.split(stacked, len(source)), strict=True))
    nothing = np.zeros_like(blocks[source[0]])
    return np.ascontiguousarray(np.concatenate([blocks.get(letter, nothing) for letter in target]))
