"""Files, with the `safetensors` package as the oracle for the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import rnncore
from rnncore import _core

ARRAYS = st.one_of(
    *(
        hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
        for dtype in (np.float32, np.float64, np.int64, np.uint8)
    )
)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda name: name != "__metadata__"
)


def same(got: dict[str, Any], want: dict[str, np.ndarray[Any, Any]]) -> None:
    assert got.keys() == want.keys()
    for name, array in want.items():
        read = np.asarray(got[name])
        assert read.dtype == array.dtype
        assert read.shape == array.shape
        assert read.tobytes() == array.tobytes(), name


@settings(max_examples=60, deadline=None)
@given(
    tensors=st.dictionaries(NAMES, ARRAYS, max_size=5),
    metadata=st.dictionaries(NAMES, st.text(max_size=10), max_size=3),
)
def test_both_packages_read_what_either_writes(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Any], metadata: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    ours, theirs = folder / "ours.safetensors", folder / "theirs.safetensors"
    rnncore.save_tensors(ours, tensors, metadata)
    same(safetensors.numpy.load_file(ours), tensors)
    with safetensors.safe_open(ours, framework="numpy") as file:
        assert (file.metadata() or {}) == metadata

    safetensors.numpy.save_file(tensors, theirs, metadata or None)
    read, read_metadata = rnncore.load_tensors(theirs)
    same({name: tensor.numpy() for name, tensor in read.items()}, tensors)
    assert read_metadata == metadata


def corrupt(path: Path, how: str) -> None:
    safetensors.numpy.save_file({"a": np.arange(4, dtype=np.float32), "b": np.zeros(3)}, path)
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if how == "truncated":
        path.write_bytes(data[:-1])
        return
    if how == "appended":
        path.write_bytes(bytes(data) + b"x")
        return
    if how == "dtype":
        header["a"]["dtype"] = "Q7"
    elif how == "offsets":
        header["a"]["data_offsets"][0] += 4
    elif how == "shape":
        header["a"]["shape"] = [5]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


@pytest.mark.parametrize("how", ["truncated", "appended", "dtype", "offsets", "shape"])
def test_what_the_oracle_refuses_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "bad.safetensors"
    corrupt(path, how)
    with pytest.raises(safetensors.SafetensorError):
        safetensors.numpy.load_file(path)
    with pytest.raises(OSError, match=r"^\[load_tensors\] .*bad\.safetensors: "):
        rnncore.load_tensors(path)


def test_errors_are_oserrors_that_name_the_path(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none: expected a readable file, got No such file or directory; check the path"):
        rnncore.load_tensors(tmp_path / "none")
    with pytest.raises(OSError, match="create the folder first"):
        rnncore.save_tensors(tmp_path / "no" / "file", {"a": np.zeros(1)})
    foreign = tmp_path / "text"
    foreign.write_text("no tensors here, only words " * 9)
    with pytest.raises(OSError, match="not a safetensors file"):
        rnncore.load_tensors(foreign)


def test_a_model_file_opens_in_the_safetensors_package(tmp_path: Path) -> None:
    spec = _core.ModelSpec(vocab_size=3, embedding_size=2, recurrent=_core.RecurrentSpec("gru", 2, [4]), dropout=0.1)
    parameters = {name: np.full(shape, 0.25, np.float32) for name, shape, _ in spec.parameters()}
    path = tmp_path / "model.safetensors"
    _core.save_model(path, spec, parameters, json.dumps({"level": "char", "tokens": ["a", "b", "é"]}))
    same(safetensors.numpy.load_file(path), parameters)
    with safetensors.safe_open(path, framework="numpy") as file:
        facts = json.loads(file.metadata()["rnncore"])
    assert facts["version"] == 1
    assert facts["vocabulary"]["tokens"] == ["a", "b", "é"]
    assert facts["model"]["recurrent"]["layers"] == [{"cell": "gru", "hidden_size": 4}]
    assert facts["training"] is None

    # Written by the other package, it is the same model.
    other = tmp_path / "other.safetensors"
    safetensors.numpy.save_file(parameters, other, {"rnncore": json.dumps(facts)})
    loaded, tensors, vocabulary, *_ = _core.load_model(other)
    assert loaded.to_json() == spec.to_json()
    assert json.loads(vocabulary)["level"] == "char"
    same({name: tensor.numpy() for name, tensor in tensors.items()}, parameters)
