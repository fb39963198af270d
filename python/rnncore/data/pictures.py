"""Small pictures that come with the package."""

from __future__ import annotations

import gzip
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


def digits8x8() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """1,797 handwritten digits of 8 x 8 pixels: pixels (1797, 64) in [0, 1], row by row, and digits (1797,).

    The test part of "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak 1998, UCI, CC BY 4.0), as
    scikit-learn bundles it.

    >>> pixels, digits = digits8x8()
    >>> pixels.shape, digits[:4].tolist()
    ((1797, 64), [0, 1, 2, 3])
    """
    packed = files("rnncore.data").joinpath("digits8x8.csv.gz").read_bytes()
    table = np.loadtxt(gzip.decompress(packed).decode().splitlines(), delimiter=",", dtype=np.int64)
    return (table[:, :64] / 16).astype(np.float32), table[:, 64].copy()
