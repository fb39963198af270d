"""The Python of README and docs runs: all blocks of a page, in order, as one program."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHORTER = {"epochs=5": "steps=2", "length=500": "length=20", "length=200": "length=20"}  # it runs; it need not learn
HAS_TORCH = importlib.util.find_spec("torch") is not None


def program(page: Path) -> str:
    """The page's blocks, those for PyTorch only where it is installed."""
    blocks = [block for block in BLOCK.findall(page.read_text(encoding="utf-8")) if HAS_TORCH or "torch" not in block]
    text = "\n".join(blocks)
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    return text


@pytest.mark.parametrize("page", [page for page in PAGES if program(page)], ids=lambda page: page.stem)
def test_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    environment = dict(os.environ, RNNCORE_NUM_THREADS="1", OMP_NUM_THREADS="1")
    command = [sys.executable, "-W", "error", "-c", program(page)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, *(ROOT / "docs" / "decisions").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" in target:
                continue
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
