"""Whatever is handed in wrongly gives one clear line on stderr, the right exit code, and loses nothing."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from language_models import small_model, some_text

from rnncore.cli.app import run
from rnncore.data import TextCorpus
from rnncore.models import LanguageModel

SMALL = ["--hidden", "8", "--layers", "1", "--batch", "4", "--bptt", "10", "--epochs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bad")
    (path / "text.txt").write_text(some_text(3000))
    (path / "empty.txt").write_text("")
    (path / "short.txt").write_text("too short")
    (path / "latin1.txt").write_bytes("caf\u00e9 ".encode("latin-1") * 300)
    (path / "unknown.txt").write_text("First \u00e9t\u00e9")
    (path / "folder").mkdir()
    with pytest.raises(SystemExit) as caught:
        run(["train", "lm", "--text", str(path / "text.txt"), "--out", str(path / "run"), *SMALL])
    assert caught.value.code == 0
    return path


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and the one line on stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        run(list(arguments))
    errors = capsys.readouterr().err
    assert len(errors.strip().splitlines()) == 1, errors
    assert errors.startswith("rnncore: ")
    assert "Traceback" not in errors
    assert isinstance(caught.value.code, int)
    return caught.value.code, errors


TEXTS = [
    ("missing.txt", [], 1, "no such file"),
    ("folder", [], 1, "a folder"),
    ("empty.txt", [], 2, "an empty file"),
    ("short.txt", [], 2, "at least 41 tokens for one batch of 4 streams of 10 steps, got 8"),
    ("latin1.txt", [], 2, "byte offset 3"),
    ("latin1.txt", [], 2, "--level byte"),
    ("text.txt", ["--hidden", "0"], 2, "hidden_size: expected at least 1, got 0"),
    ("text.txt", ["--hidden", "-3"], 2, "hidden_size"),
    ("text.txt", ["--layers", "0"], 2, "num_layers"),
    ("text.txt", ["--batch", "0"], 2, "batch: expected at least 1, got 0"),
    ("text.txt", ["--bptt", "-1"], 2, "bptt"),
    ("text.txt", ["--epochs", "0"], 2, "epochs"),
    ("text.txt", ["--lr", "0"], 2, "lr"),
    ("text.txt", ["--lr", "nan"], 2, "lr"),
    ("text.txt", ["--lr", "fast"], 2, "--lr"),
    ("text.txt", ["--dropout", "1"], 2, "dropout"),
    ("text.txt", ["--cell", "lstn"], 2, "rnn-tanh | rnn-relu | rnn-sigmoid | lstm | gru | gru-reset-before"),
    ("text.txt", ["--optimizer", "adma"], 2, "sgd | adam | adamw | rmsprop | asgd"),
    ("text.txt", ["--level", "letter"], 2, "char | byte | word"),
    ("text.txt", ["--threads", "0"], 2, "threads"),
    ("text.txt", ["--seed", "-1"], 2, "seed"),
    ("text.txt", ["--valid", "missing.txt"], 1, "no such file"),
    ("text.txt", ["--hiden", "3"], 2, "--hiden"),
]


@pytest.mark.parametrize(("text", "options", "code", "part"), TEXTS)
def test_training(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, options: list[str], code: int, part: str
) -> None:
    out = folder / "new"
    given = failing(capsys, "train", "lm", "--text", str(folder / text), "--out", str(out), *SMALL, *options)
    assert given[0] == code, given
    assert part in given[1]
    assert not out.exists(), "nothing is made before the input is known to be right"


def test_invalid_utf8_is_fine_for_bytes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        run(
            [
                "train",
                "lm",
                "--text",
                str(folder / "latin1.txt"),
                "--level",
                "byte",
                "--out",
                str(tmp_path / "r"),
                *SMALL,
            ]
        )
    assert caught.value.code == 0


RUNS = [
    (["eval", "RUN", "--text", "unknown.txt"], 2, "'\u00e9' (U+00E9) at character 6 (line 1, column 7)"),
    (["eval", "RUN", "--text", "empty.txt"], 2, "an empty file"),
    (["eval", "RUN", "--text", "missing.txt"], 1, "no such file"),
    (["eval", "RUN"], 2, "--text"),
    (["eval", "folder", "--text", "text.txt"], 1, "expected a run"),
    (["eval", "missing", "--text", "text.txt"], 1, "no such folder"),
    (["eval", "text.txt", "--text", "text.txt"], 1, "text.txt"),
    (["sample", "RUN", "--prompt", "\u00e9"], 2, "U+00E9"),
    (["sample", "RUN", "--length", "0"], 2, "length"),
    (["sample", "RUN", "--num-samples", "-1"], 2, "num_samples"),
    (["sample", "RUN", "--temperature", "-1"], 2, "temperature"),
    (["sample", "RUN", "--top-p", "2"], 2, "top_p"),
    (["sample", "RUN", "--top-k", "-1"], 2, "top_k"),
    (["sample", "RUN", "--seed", "-1"], 2, "seed"),
    (["sample", "folder"], 1, "expected a run"),
    (["info", "folder"], 1, "expected a run"),
    (["info", "missing"], 1, "no such folder"),
    (["plot", "folder"], 1, "expected a run"),
    (["train", "--resume", "missing"], 1, "no such folder"),
    (["train", "--resume", "folder"], 1, "expected a run"),
    (["train", "--resume", "text.txt"], 1, "a file"),
    (["train", "--resume", "RUN", "lm", "--text", "text.txt"], 2, "--resume"),
    (["trian"], 2, "trian"),
]


@pytest.mark.parametrize(("arguments", "code", "part"), RUNS)
def test_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str],
    code: int, part: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    given = failing(capsys, *[str(folder / "run") if argument == "RUN" else argument for argument in arguments])
    assert given[0] == code, given
    assert part in given[1]


def header_of(path: Path) -> tuple[dict[str, object], bytes]:
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def write_file(path: Path, header: object, body: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def damaged(folder: Path, tmp_path: Path, name: str, kind: str) -> Path:
    """A copy of the run whose file `name` is damaged."""
    source, run_folder = folder / "run", tmp_path / "run"
    run_folder.mkdir()
    for path in source.iterdir():
        (run_folder / path.name).write_bytes(path.read_bytes())
    target = run_folder / name
    data = target.read_bytes()
    header, body = header_of(target)
    metadata = header["__metadata__"]
    assert isinstance(metadata, dict)
    if kind == "empty":
        target.write_bytes(b"")
    elif kind == "truncated":
        target.write_bytes(data[: len(data) // 2])
    elif kind == "garbage":
        target.write_bytes(b"\x93NUMPY" + bytes(300))
    elif kind == "huge header":
        target.write_bytes(struct.pack("<Q", 1 << 62) + data[8:])
    elif kind == "foreign":
        write_file(target, {"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4))
    elif kind == "no JSON":
        write_file(target, {**header, "__metadata__": {"rnncore": "{"}}, body)
    elif kind == "a list":
        write_file(target, {**header, "__metadata__": {"rnncore": "[1]"}}, body)
    elif kind == "deep":
        write_file(target, {**header, "__metadata__": {"rnncore": "[" * 100_000}}, body)
    elif kind == "missing tensor":
        last = [key for key in header if key != "__metadata__"][-1]
        start, _ = header[last]["data_offsets"]  # type: ignore[index]
        write_file(target, {key: value for key, value in header.items() if key != last}, body[:start])
    return run_folder


DAMAGES = ["empty", "truncated", "garbage", "huge header", "foreign", "no JSON", "a list", "deep", "missing tensor"]


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_model_files(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    run_folder = damaged(folder, tmp_path, "model.safetensors", kind)
    for command in (["sample", str(run_folder)], ["eval", str(run_folder), "--text", str(folder / "text.txt")]):
        code, errors = failing(capsys, *command)
        assert code == 1, errors
        assert "model.safetensors" in errors
    with pytest.raises(OSError, match=r"model\.safetensors"):
        LanguageModel.load(run_folder / "model.safetensors")


@pytest.mark.parametrize("kind", DAMAGES)
def test_damaged_checkpoints(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    run_folder = damaged(folder, tmp_path, "checkpoint.safetensors", kind)
    before = (run_folder / "checkpoint.safetensors").read_bytes()
    code, errors = failing(capsys, "train", "--resume", str(run_folder), "--epochs", "2")
    assert code == 1, errors
    assert "checkpoint.safetensors" in errors
    assert (run_folder / "checkpoint.safetensors").read_bytes() == before


def edited_checkpoint(folder: Path, tmp_path: Path, **changes: object) -> Path:
    run_folder = damaged(folder, tmp_path, "checkpoint.safetensors", "")
    target = run_folder / "checkpoint.safetensors"
    header, body = header_of(target)
    rest = json.loads(header["__metadata__"]["rnncore"])  # type: ignore[index]
    for path, value in changes.items():
        place = rest
        *parents, last = path.split("__")
        for parent in parents:
            place = place[parent]
        place[last] = value
    write_file(target, {**header, "__metadata__": {"rnncore": json.dumps(rest)}}, body)
    return run_folder


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"kind": "model"},
        {"progress": {}},
        {"progress__step": "many"},
        {"model__hidden_size": 9},
        {"model__hidden_size": 10**12},
        {"model__cell": "x"},
        {"model__evil": 1},
        {"train__optimizer": "x"},
        {"train__evil": 1},
        {"optimizer__kind": "sgd"},
        {"vocabulary__tokens": ["a"]},
        {"vocabulary__level": "x"},
        {"generator": [1]},
        {"generator": [-1, 0]},
        {"source": {"train": 3}},
        {"schedule": {}},
        {"log_bytes": -5},
    ],
    ids=str,
)
def test_malicious_checkpoints(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object]
) -> None:
    run_folder = edited_checkpoint(folder, tmp_path, **changes)
    code, errors = failing(capsys, "train", "--resume", str(run_folder), "--epochs", "2")
    assert code in (1, 2), errors


def test_nan_in_a_model_file_does_not_crash_sampling(folder: Path, tmp_path: Path) -> None:
    model = small_model(TextCorpus.from_text(some_text(500)))
    values = model.head.bias.numpy().copy()
    values[:] = float("nan")
    model.head.bias.detach().copy_(values)
    model.save(tmp_path / "nan.safetensors")
    result = subprocess.run(
        [sys.executable, "-m", "rnncore", "sample", str(tmp_path / "nan.safetensors"), "--length", "5"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode in (0, 1, 2)
    assert "Traceback" not in result.stderr
