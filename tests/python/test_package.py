"""The package as it is installed: sizes, what the libraries show to others, and where C++ programs find theirs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from c_interface import library_path

import rnncore
from rnncore import _core

PACKAGE = Path(rnncore.__file__).parent
INSTALLED = (PACKAGE / "lib").is_dir()
installed = pytest.mark.skipif(not INSTALLED, reason="not installed: a build tree")
MEGABYTE = 1_000_000


def exported(library: Path) -> list[str]:
    """Symbols that a library shows, demangled."""
    if sys.platform != "linux" or shutil.which("nm") is None:
        pytest.skip("needs nm on Linux")
    command = ["nm", "-D", "--defined-only", "-C", str(library)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [re.sub(r"^\S*\s+\S\s+", "", line) for line in lines]


def test_the_library_shows_its_public_names_alone() -> None:
    names = exported(library_path())
    assert any(name.startswith("rnncore::load_model(") for name in names)
    assert "rnncore_model_load" in names
    assert "typeinfo for rnncore::IoError" in names  # or nobody could catch it
    for name in names:
        plain = re.sub(r"^(typeinfo|typeinfo name|vtable) for ", "", name)
        assert re.match(r"rnncore(::|_)", plain), name
        assert not re.match(r"rnncore::(backend|cpu|io|N_\w+)::", plain), name


def test_the_python_module_shows_its_entry_alone() -> None:
    assert exported(Path(_core.__file__)) == ["PyInit__core"]


def test_the_library_is_small() -> None:
    assert library_path().stat().st_size < 5 * MEGABYTE


@installed
def test_the_wheel_is_small() -> None:
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    packed = sum(len(zlib.compress(path.read_bytes(), 6)) for path in files)
    assert packed < 10 * MEGABYTE


@installed
def test_cmake_dir_points_at_the_copy_inside_the_package() -> None:
    command = [sys.executable, "-m", "rnncore", "--cmake-dir"]
    folder = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    assert folder.is_relative_to(PACKAGE)
    for name in ("rnncoreConfig.cmake", "rnncoreConfigVersion.cmake", "rnncoreTargets.cmake"):
        assert (folder / name).is_file()
    headers = {path.name for path in (PACKAGE / "include" / "rnncore").iterdir()}
    assert {"rnncore.hpp", "c_api.h", "model.hpp"} <= headers


@pytest.mark.skipif(INSTALLED, reason="installed")
def test_cmake_dir_of_a_build_tree_is_an_error() -> None:
    command = [sys.executable, "-m", "rnncore", "--cmake-dir"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("rnncore: [cmake-dir] ")
    assert "pip install" in done.stderr


def test_public_headers_need_the_standard_library_alone(tmp_path: Path) -> None:
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    root = PACKAGE if INSTALLED else Path(__file__).resolve().parents[2] / "cpp"
    headers = sorted((root / "include" / "rnncore").iterdir())
    source = tmp_path / "all.cpp"
    source.write_text("".join(f'#include "rnncore/{header.name}"\n' for header in headers))
    command = [
        compiler,
        "-std=c++17",
        "-fsyntax-only",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{root / 'include'}",
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
