"""CMake stops with the names of the packages, for apt and for brew, where one is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PREFIXES = ("/usr", "/usr/local", "/opt/homebrew")
HEADERS = {"RNNCORE_EIGEN_INCLUDE": "eigen3/Eigen/Core", "RNNCORE_HWY_INCLUDE": "hwy/highway.h",
           "RNNCORE_JSON_INCLUDE": "nlohmann/json.hpp"}  # fmt: skip
PACKAGES = {
    "RNNCORE_EIGEN_INCLUDE": ("Eigen 3.3", "libeigen3-dev", "eigen"),
    "RNNCORE_HWY_INCLUDE": ("Highway", "libhwy-dev", "highway"),
    "RNNCORE_JSON_INCLUDE": ("nlohmann-json", "nlohmann-json3-dev", "nlohmann-json"),
}

pytestmark = pytest.mark.skipif(
    shutil.which("cmake") is None or not (ROOT / "CMakeLists.txt").exists(), reason="no cmake, or no source tree"
)


def include_folder(header: str) -> str | None:
    return next((f"{prefix}/include" for prefix in PREFIXES if Path(prefix, "include", header).exists()), None)


@pytest.mark.parametrize("missing", HEADERS)
def test_a_missing_package_is_named(tmp_path: Path, missing: str) -> None:
    """The include folders are hidden from CMake; the packages that are not meant to miss are given by hand."""
    folders = {variable: include_folder(header) for variable, header in HEADERS.items()}
    hidden = ";".join(f"{prefix}/include{sub}" for prefix in PREFIXES for sub in ("", "/eigen3"))
    given = []
    for variable, folder in folders.items():
        if variable != missing:
            if folder is None:
                pytest.skip(f"{HEADERS[variable]} is in none of {PREFIXES}")
            given.append(f"-D{variable}={folder}")
    if missing == "RNNCORE_EIGEN_INCLUDE":
        given.append("-DCMAKE_DISABLE_FIND_PACKAGE_Eigen3=ON")
    result = subprocess.run(
        ["cmake", "-S", str(ROOT), "-B", str(tmp_path / "build"), f"-DCMAKE_IGNORE_PATH={hidden}", *given],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    name, apt, brew = PACKAGES[missing]
    assert result.returncode != 0
    assert f"rnncore needs {name}" in result.stderr
    assert f"apt-get install {apt}" in result.stderr
    assert f"brew install {brew}" in result.stderr
