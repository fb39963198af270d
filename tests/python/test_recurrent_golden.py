"""Outputs and all gradients against the committed PyTorch results (tests/golden, float64). Needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import GOLDEN_CASES, TOLERANCE, Arrays, RecurrentCase, assert_all_close, run_rnncore

GOLDEN = Path(__file__).parent.parent / "golden"


def load(case: RecurrentCase) -> tuple[Arrays, Arrays]:
    with np.load(GOLDEN / f"{case.cell}.npz") as file:
        both = [
            {name[len(head) :]: file[name] for name in file.files if name.startswith(head)}
            for head in (f"{case.variant}/in/", f"{case.variant}/out/")
        ]
    return both[0], both[1]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", GOLDEN_CASES, ids=lambda case: case.name)
def test_outputs_and_gradients(case: RecurrentCase, dtype: str) -> None:
    arrays, wanted = load(case)
    assert wanted, "no golden of this case: run tests/golden/make_goldens.py"
    assert_all_close(run_rnncore(case, arrays, dtype), wanted, TOLERANCE[dtype])
