"""The machine's float32 FMA peak, probed in the same run as the libraries are measured."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "native" / "fma_peak.cpp"
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fopenmp")


@dataclass
class PeakProbe:
    """Measures GFLOP/s of independent FMA chains on `threads` threads; `label` says how."""

    threads: int
    label: str
    _program: Path | None
    _folder: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def build(cls, threads: int) -> PeakProbe:
        """Compiles bench/native/fma_peak.cpp for this machine; without a compiler, falls back to a matrix product."""
        compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
        if compiler is not None:
            folder = tempfile.TemporaryDirectory(prefix="rncompare-")
            program = Path(folder.name) / "fma_peak"
            command = [compiler, *FLAGS, str(SOURCE), "-o", str(program)]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return cls(threads, "FMA peak", program, folder)
            folder.cleanup()
        return cls(threads, "NumPy matmul rate (no C++ compiler to probe the FMA peak)", None)

    def measure(self, seconds: float = 0.2) -> float:
        """GFLOP/s: the best slice within `seconds`."""
        if self._program is not None:
            environment = dict(os.environ, OMP_NUM_THREADS=str(self.threads))
            command = [str(self._program), str(self.threads), str(seconds)]
            return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
        return _matmul_rate(seconds)


def _matmul_rate(seconds: float) -> float:
    import numpy as np

    size = 1024
    a = np.ones((size, size), np.float32)
    best, stop = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < stop:
        start = time.perf_counter()
        a @ a
        best = max(best, 2.0 * size**3 / (time.perf_counter() - start))
    return best / 1e9
