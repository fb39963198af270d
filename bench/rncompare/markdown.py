"""The README's tables from what compare.py wrote.

cd bench && python -m rncompare.markdown compare.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rncompare.report import duration

CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn-tanh": "tanh RNN"}
WORK = {"train": "training", "infer": "inference"}


def _best(row: dict[str, Any]) -> str:
    """Our time, and how many times faster than each peer."""
    ratios = [f"{ratio:.2f}" for ratio in row["ratios"].values() if ratio is not None]
    return f"{duration(row['libraries']['rnncore']['median_s'])} ({' / '.join(ratios)} ×)"


def tables(report: dict[str, Any]) -> str:
    """Markdown: layers, then whole models and drawn text."""
    rows = {row["name"]: row for row in report["rows"]}
    versions = "; ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = [
        f"{report['machine']}; {report['threads']} threads, {report['dtype']}; FMA peak {report['peak_gflops']:.0f}"
        f" GFLOP/s, probed in the same run; {versions}; {report['date'][:10]}; {report['rounds']} rounds.",
        "",
        "| T, N, layers, H | " + " | ".join(f"{c} {w}" for w in WORK.values() for c in CELLS.values()) + " |",
        "|---" * (1 + len(WORK) * len(CELLS)) + "|",
    ]
    shapes = list(dict.fromkeys(name.split("(")[1] for name in rows if name.startswith("train")))
    for shape in shapes:
        cells = [_best(rows[f"{work} {cell} ({shape}"]) for work in WORK for cell in CELLS]
        lines.append(f"| {shape.rstrip(')').replace(',', ', ')} | " + " | ".join(cells) + " |")
    lines += ["", "| whole language models | rnncore | PyTorch | ratio |", "|---|---|---|---|"]
    for name, row in rows.items():
        kind, _, what = name.partition(" ")
        if kind in ("model", "sample"):
            ours, theirs = (row["libraries"][library]["tokens_per_s"] for library in ("rnncore", "torch"))
            work = "training step" if kind == "model" else "drawing text"
            lines.append(f"| {work}, {what} | {ours:,.0f} tokens/s | {theirs:,.0f} | {row['ratios']['torch']:.2f} × |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tables(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
