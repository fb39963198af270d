"""Table, JSON file and plot of a comparison."""

from __future__ import annotations

import json
import math
import platform
import statistics
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rncompare.measure import Row

SHORT = {"onnxruntime": "ORT"}
WITH_VOCABULARY = ("model", "sample")
TITLES = {
    "train": "training step (forward, backward of all parameters)",
    "infer": "inference over sequences",
    "model": "language-model step (embedding, layers, softmax, loss, backward, clip, update)",
    "sample": "drawing text: T tokens for N texts at a time",
}


@dataclass
class Report:
    """All rows of one run and what they were measured on."""

    threads: int
    rounds: int
    versions: dict[str, str]
    peak_label: str
    rows: list[Row] = field(default_factory=list)

    @property
    def peers(self) -> list[str]:
        """The libraries beside rnncore."""
        return [library for library in self.versions if library != "rnncore"]

    @property
    def peak_gflops(self) -> float:
        """Median of the probes of the run, GFLOP/s."""
        probes = [row.peak_gflops for row in self.rows if row.peak_gflops > 0]
        return statistics.median(probes) if probes else math.nan

    def gflops(self, row: Row, library: str) -> float:
        """GFLOP/s of the equations' matrix products (cases.Case.flops)."""
        return row.case.flops / row.timings[library].median / 1e9

    def share(self, row: Row, library: str) -> float:
        """Part of the machine's peak, 0 to 1."""
        return self.gflops(row, library) / self.peak_gflops

    def geometric_mean(self, work: str, cell: str, peer: str) -> float | None:
        """Geometric mean of rnncore's ratio to `peer` over the rows of `work` and `cell`."""
        chosen = [row.ratio(peer) for row in self.rows if row.case.work == work and row.case.cell == cell]
        ratios = [ratio for ratio in chosen if ratio is not None]
        return statistics.geometric_mean(ratios) if ratios else None

    def as_dict(self) -> dict[str, Any]:
        """Everything, with SI units in the keys' names."""
        return {
            "machine": machine(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "threads": self.threads,
            "dtype": "float32",
            "rounds": self.rounds,
            "versions": self.versions,
            "peak_label": self.peak_label,
            "peak_gflops": self.peak_gflops,
            "rows": [self._row_dict(row) for row in self.rows],
        }

    def _row_dict(self, row: Row) -> dict[str, Any]:
        libraries = {
            library: {
                "median_s": timing.median,
                "quartiles_s": timing.quartiles,
                "turns_s": timing.turns,
                "gflops": self.gflops(row, library),
                "share_of_peak": self.share(row, library),
                "tokens_per_s": row.case.tokens / timing.median,
            }
            for library, timing in row.timings.items()
        }
        ratios = {peer: row.ratio(peer) for peer in self.peers}
        return {
            "name": row.case.name,
            "case": row.case.as_dict(),
            "flops": row.case.flops,
            "peak_gflops": row.peak_gflops,
            "libraries": libraries,
            "ratios": ratios,
            "errors": row.errors,
        }


def machine() -> str:
    """The processor's name and the number of processors, as the operating system gives them."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        if names:
            name = f"{names[0]}, {len(names)} processors"
    return name


def duration(seconds: float) -> str:
    """Three digits and a unit: `1.23 ms`."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _timing_cell(row: Row, library: str) -> str:
    timing = row.timings.get(library)
    if timing is None:
        return "failed" if library in row.errors else "-"
    low, high = timing.quartiles
    spread = 100.0 * (high - low) / 2.0 / timing.median
    return f"{duration(timing.median)} ±{spread:.0f}%"


def show(report: Report, console: Console) -> None:
    """Prints one table per kind of work, at most 100 columns wide."""
    console.print(f"{machine()}; {report.threads} threads, float32")
    console.print(f"{report.peak_label} {report.peak_gflops:.0f} GFLOP/s, probed in this run")
    console.print(", ".join(f"{library} {version}" for library, version in report.versions.items()))
    for work, title in TITLES.items():
        rows = [row for row in report.rows if row.case.work == work]
        if rows:
            console.print()
            console.print(_table(report, rows, work, title))
    for row in report.rows:
        for message in row.errors.values():
            console.print(f"[red]{row.case.name}[/red]: {message}", highlight=False)


def _table(report: Report, rows: list[Row], work: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", pad_edge=False, box=None)
    table.add_column("cell")
    table.add_column("V,H,L,T,N" if work in WITH_VOCABULARY else "T,N,L,H", no_wrap=True)
    for library in report.versions:
        table.add_column(SHORT.get(library, library), justify="right", no_wrap=True)
    table.add_column("tokens/s" if work in WITH_VOCABULARY else "GFLOP/s", justify="right")
    table.add_column("peak", justify="right")
    for peer in report.peers:
        table.add_column(f"vs {SHORT.get(peer, peer)}", justify="right")
    for row in rows:
        table.add_row(*_cells(report, row))
    for cell in dict.fromkeys(row.case.cell for row in rows):
        means = [report.geometric_mean(work, cell, peer) for peer in report.peers]
        if work not in WITH_VOCABULARY and any(mean is not None for mean in means):
            blanks = [""] * (len(report.versions) + 2)
            table.add_row(cell, "mean (geometric)", *blanks, *(_ratio(mean) for mean in means), style="dim")
    return table


def _cells(report: Report, row: Row) -> list[str]:
    case = row.case
    vocabulary = case.work in WITH_VOCABULARY
    sizes = (case.V, case.H, case.L, case.T, case.N) if vocabulary else (case.T, case.N, case.L, case.H)
    cells = [case.cell, ",".join(map(str, sizes))]
    cells += [_timing_cell(row, library) for library in report.versions]
    if "rnncore" not in row.timings:
        cells += ["", ""]
    elif vocabulary:
        cells += [f"{case.tokens / row.timings['rnncore'].median:,.0f}", f"{report.share(row, 'rnncore'):.0%}"]
    else:
        cells += [f"{report.gflops(row, 'rnncore'):.3g}", f"{report.share(row, 'rnncore'):.0%}"]
    return cells + [_ratio(row.ratio(peer)) for peer in report.peers]


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}×"


def save_json(report: Report, path: Path) -> None:
    """Writes Report.as_dict()."""
    path.write_text(json.dumps(report.as_dict(), indent=1) + "\n", encoding="utf-8")
