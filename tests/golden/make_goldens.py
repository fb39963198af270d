"""Writes tests/golden/*.npz from PyTorch (float64): inputs, outputs and every gradient. Run by hand:

    PYTHONPATH=python python tests/golden/make_goldens.py

The files are committed, so the tests need no torch. Rerun only when a case is added.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "python"))

from cases import CELLS, GOLDEN_CASES, make_arrays  # noqa: E402
from torch_reference import run_torch  # noqa: E402


def main() -> None:
    for cell in CELLS:
        content = {}
        for case in GOLDEN_CASES:
            if case.cell == cell:
                arrays = make_arrays(case)
                content.update({f"{case.variant}/in/{name}": value for name, value in arrays.items()})
                content.update({f"{case.variant}/out/{name}": value for name, value in run_torch(case, arrays).items()})
        np.savez_compressed(HERE / f"{cell}.npz", **content)


if __name__ == "__main__":
    main()
