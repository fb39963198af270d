"""Where a run was trained, and how fast it could have been there."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rnncore
from rnncore import matmul, no_grad

if TYPE_CHECKING:
    from rnncore.train.trainer import Trainer

_SIZE = 512  # of the product that is timed: its operands stay in the second-level cache


def environment() -> dict[str, Any]:
    """Versions, processor and threads, and ``gflops``: the rate of a float32 matrix product in the engine.

    The rate is the best of a few products in a tenth of a second, so that a run can say which
    share of it training reached.
    """
    import numpy

    return {
        "rnncore": rnncore.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": rnncore.get_num_threads(),
        "target": rnncore.target_name(),
        "gflops": round(_matmul_rate(0.1), 1),
    }


def operations_per_item(trainer: Trainer) -> int | None:
    """Floating-point operations of training on one token: 6 for each weight of a matrix (2 forward, 4 backward).

    None for models whose items are no steps, and where a token meets a part of the output layer alone (clusters,
    sampled words). Embeddings are looked up and do not count.
    """
    model = trainer.model
    if model.kind != "language_model" or model.to_dict()["softmax"] != "full":
        return None
    named = dict(model.named_parameters())
    untied = any(name.startswith("head.") and p.ndim == 2 for name, p in named.items())
    counted = [p for name, p in named.items() if p.ndim == 2 and not (untied and name.startswith("embedding."))]
    return 6 * sum(p.numel() for p in counted)


def _matmul_rate(seconds: float) -> float:
    a = rnncore.ones(_SIZE, _SIZE)
    best, stop = float("inf"), time.perf_counter() + seconds
    with no_grad():
        while time.perf_counter() < stop:
            start = time.perf_counter()
            matmul(a, a)
            best = min(best, time.perf_counter() - start)
    return 2e-9 * _SIZE**3 / best


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
