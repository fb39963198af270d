"""The layers of DESIGN.md: who may include or import whom, and what `import rnncore` costs."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rnncore

ROOT = Path(__file__).resolve().parents[2]
CPP = ROOT / "cpp"
PACKAGE = ROOT / "python" / "rnncore"
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)

# C++: per folder, the project's headers and the third-party ones that its files may include (regular expressions).
# Headers without a slash or an extension are the standard library's.
STANDARD = r"[a-z_]+|c[a-z]+"
POSIX = r"unistd\.h|fcntl\.h|pthread\.h|stdlib\.h|sys/[a-z]+\.h"
CPP_RULES = {
    "include/rnncore": r"rnncore/[a-z_]+\.hpp|std(def|int)\.h",
    "src/cells": r"",
    "src/backend": rf"rnncore/.*|backend/.*|cells/.*|hwy/.*|omp\.h|[a-z]+intrin\.h|{POSIX}",
    "src/core": rf"rnncore/.*|core/.*|backend/(backend|recurrent|pointwise|philox)\.h|Eigen/.*|{POSIX}",
    "src/io": rf"rnncore/.*|io/.*|nlohmann/.*|{POSIX}",
}


def includes_of(path: Path) -> list[str]:
    return [name for _, name in INCLUDE.findall(path.read_text())]


def cpp_files() -> list[Path]:
    return sorted(p for p in CPP.rglob("*") if p.suffix in {".h", ".hpp", ".cpp"})


def rule_of(path: Path) -> str:
    relative = path.relative_to(CPP).as_posix()
    return next(rule for folder, rule in CPP_RULES.items() if relative.startswith(folder + "/"))


@pytest.mark.parametrize("path", cpp_files(), ids=lambda p: p.relative_to(CPP).as_posix())
def test_cpp_includes_only_what_stands_above(path: Path) -> None:
    allowed = re.compile(f"{STANDARD}|{rule_of(path)}")
    wrong = [name for name in includes_of(path) if not allowed.fullmatch(name)]
    assert not wrong, f"{path.relative_to(ROOT)} may not include {wrong}"


def test_the_include_rules_can_fail() -> None:
    for folder, header in [
        ("include/rnncore", "Eigen/Core"),
        ("include/rnncore", "core/storage.h"),
        ("src/cells", "rnncore/tensor.hpp"),
        ("src/core", "backend/cpu/team.h"),
        ("src/core", "hwy/highway.h"),
        ("src/io", "core/tensor_impl.h"),
        ("src/backend", "core/storage.h"),
    ]:
        assert not re.fullmatch(f"{STANDARD}|{CPP_RULES[folder]}", header), (folder, header)


# Python: each layer may import itself and what stands after it. `plot` and whatever else is heavy are imported inside
# the functions that need them.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"train"},
    {"models", "data", "metrics", "label_metrics", "text_metrics", "generate", "beam", "scoring", "adaptation"},
    {"nn", "optim"},
    {"init", "functional", "_tensor"},
    {"_core"},
]
LAZY = {"plot", "report", "convert", "inspect"}
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def top_level_imports(path: Path) -> list[tuple[str, bool]]:
    """The modules of rnncore that `path` imports (first part of the name), and whether at import time."""
    tree = ast.parse(path.read_text())
    nested = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(outer)
    }
    for outer in ast.walk(tree):  # `if TYPE_CHECKING:` is for the type checker alone
        if isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.dump(outer.test):
            nested |= {id(inner) for inner in ast.walk(outer)}
    package = ["rnncore", *path.relative_to(PACKAGE).with_suffix("").parts][:-1]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem == "rnncore" else [stem]
        else:
            continue
        found += [(name.split(".")[1], id(node) not in nested) for name in names if name.startswith("rnncore.")]
    return found


def python_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", python_files(), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_python_imports_only_what_stands_below(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for name, at_import in top_level_imports(path):
        if own != name and at_import:
            assert name not in LAZY, f"{path}: `{name}` is to be imported inside the function that needs it"
        if own in RANK and name in RANK and own != name:
            assert RANK[own] <= RANK[name], f"{path}: `{own}` may not import `{name}`"


def test_every_python_module_has_a_layer() -> None:
    modules = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in python_files()} - {"__init__"}
    unknown = {name for name in modules if name not in RANK and name not in LAZY and not name.startswith("_")}
    assert not unknown, f"give these a layer in this test: {sorted(unknown)}"


def run_fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_pulls_in_nothing_but_numpy() -> None:
    code = """
import sys, json
before = set(sys.modules)
import numpy
numpys = set(sys.modules)
import rnncore
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - numpys - before})))
"""
    new = set(json.loads(run_fresh(code)))
    assert new - set(sys.stdlib_module_names) <= {"rnncore", "numpy"}


def test_import_time() -> None:
    # `import rnncore` is to take at most 0.15 s, of which NumPy takes 0.11 s of processor time; what is our own is
    # bounded here, in processor time and the best of several, since the machine may be busy.
    code = "import numpy, time; t = time.process_time(); import rnncore; print(time.process_time() - t)"
    assert min(float(run_fresh(code)) for _ in range(5)) <= 0.04


def test_version_is_the_librarys() -> None:
    assert rnncore.__version__ in (ROOT / "CMakeLists.txt").read_text()
