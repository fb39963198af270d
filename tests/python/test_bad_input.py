"""Whatever is handed in wrongly gives one clear line on stderr, the right exit code, and loses nothing."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from language_models import small_model, some_text

from rnncore import Tensor
from rnncore._core import load_tensors, save_tensors
from rnncore.cli.app import run
from rnncore.data import TextCorpus
from rnncore.metrics import evaluate
from rnncore.models import LanguageModel
from rnncore.scoring import score_lines
from rnncore.train import Checkpoint
from rnncore.train.checkpoint import checksum

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
    (["sample", "RUN", "--beams", "2", "--seed", "1"], 2, "searched for or drawn"),
    (["sample", "RUN", "--beams", "2", "--temperature", "1"], 2, "got --beams and --temperature"),
    (["sample", "RUN", "--beams", "2", "--top-k", "0"], 2, "got --beams and --top-k"),
    (["sample", "RUN", "--beams", "2", "--num-samples", "1"], 2, "got --beams and --num-samples"),
    (["sample", "RUN", "--beams", "2", "--json", "--log-probs"], 2, "got --beams and --log-probs"),
    (["sample", "RUN", "--length-penalty", "0.5"], 2, "[sample] --length-penalty: expected --beams beside it"),
    (["sample", "RUN", "--log-probs"], 2, "[sample] --log-probs: expected --json beside it"),
    (["sample", "folder"], 1, "expected a run"),
    (["info", "folder"], 1, "expected a run"),
    (["info", "missing"], 1, "no such folder"),
    (["plot", "folder"], 1, "expected a run"),
    (
        ["plot", "RUN", "--csv", "missing/x.csv"],
        1,
        "[file] missing/x.csv: expected one that can be opened, got no such",
    ),
    (["convert", "missing.onnx", "out.safetensors"], 1, "[file] missing.onnx: expected one that can be opened"),
    (["train", "lm", "--text", "text.txt", "--out", "new", "--forget-bias", "nan"], 2, "forget_bias"),
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
    if "checksum" not in changes:
        rest["checksum"] = checksum(load_tensors(str(target))[0], rest)
    write_file(target, {**header, "__metadata__": {"rnncore": json.dumps(rest)}}, body)
    return run_folder


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 1},
        {"format": 4},
        {"task": "nonsense"},
        {"task": 3},
        {"checksum": 0},
        {"checksum": None},
        {"kind": "model"},
        {"progress": {}},
        {"progress__step": "many"},
        {"progress__step": -1},
        {"progress__step": True},
        {"progress__chunk": -3},
        {"progress__chunk": 1.5},
        {"progress__seconds": float("inf")},
        {"progress__finished": None},
        {"model__hidden_size": 9},
        {"model__hidden_size": 10**12},
        {"model__cell": "x"},
        {"model__evil": 1},
        {"train__optimizer": "x"},
        {"train__evil": 1},
        {"optimizer__kind": "sgd"},
        {"assets__vocabulary__tokens": ["a"]},
        {"assets__vocabulary__level": "x"},
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
    before = {path.name: path.read_bytes() for path in run_folder.iterdir()}
    code, errors = failing(capsys, "train", "--resume", str(run_folder), "--epochs", "2")
    assert code in (1, 2), errors
    assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("state.0", lambda a: a[:, :1]),
        ("state.0", lambda a: a.astype("float64")),
        ("model.head.bias", lambda a: a[:-1]),
        ("optimizer.exp_avg.0", lambda a: a[:-1]),
        ("optimizer.exp_avg.0", None),
        ("optimizer.step.0", None),
        ("optimizer.step.0", lambda a: a + 1_000_000),
        ("evil.0", lambda a: a),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tensors_of_a_checkpoint_that_do_not_fit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str,
    change: Callable[[np.ndarray], np.ndarray] | None,
) -> None:  # fmt: skip
    run_folder = damaged(folder, tmp_path, "checkpoint.safetensors", "")
    target = run_folder / "checkpoint.safetensors"
    tensors, metadata = load_tensors(str(target))
    arrays = {key: value.numpy() for key, value in tensors.items()}
    if change is None:
        del arrays[name]
    else:
        arrays[name] = np.ascontiguousarray(change(arrays.get(name, np.zeros((2, 4, 8), np.float32))))
    rest = json.loads(metadata["rnncore"])
    rest["checksum"] = checksum({key: Tensor(value) for key, value in arrays.items()}, rest)
    save_tensors(str(target), arrays, {"rnncore": json.dumps(rest)})
    before = {path.name: path.read_bytes() for path in run_folder.iterdir()}
    code, errors = failing(capsys, "train", "--resume", str(run_folder), "--epochs", "2")
    assert code == 1, errors
    assert "checkpoint.safetensors" in errors
    assert {path.name: path.read_bytes() for path in run_folder.iterdir()} == before


def test_every_flipped_bit_of_a_checkpoint_is_found(folder: Path, tmp_path: Path) -> None:
    source = (folder / "run" / "checkpoint.safetensors").read_bytes()
    (header_bytes,) = struct.unpack("<Q", source[:8])
    target = tmp_path / "checkpoint.safetensors"
    places = random.Random(7)
    bits = [places.randrange(8 * (8 + header_bytes)) for _ in range(300)]
    bits += [places.randrange(8 * (8 + header_bytes), 8 * len(source)) for _ in range(100)]
    sound = Checkpoint.load(folder / "run" / "checkpoint.safetensors")
    for bit in bits:
        data = bytearray(source)
        data[bit // 8] ^= 1 << bit % 8
        target.write_bytes(data)
        try:
            loaded = Checkpoint.load(target)
        except OSError as error:
            assert "checkpoint.safetensors" in str(error)  # noqa: PT017
        else:  # another way to write the same thing (1e-05 and 1E-05)
            assert repr(loaded) == repr(sound), f"bit {bit}"


def test_every_truncation_of_a_checkpoint_is_found(folder: Path, tmp_path: Path) -> None:
    source = (folder / "run" / "checkpoint.safetensors").read_bytes()
    target = tmp_path / "checkpoint.safetensors"
    for length in [*range(40), *range(40, len(source), max(1, len(source) // 200)), len(source) - 1]:
        target.write_bytes(source[:length])
        with pytest.raises(OSError, match=r"checkpoint\.safetensors"):
            Checkpoint.load(target)


def test_info_of_a_damaged_model_is_the_error_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder = damaged(folder, tmp_path, "model.safetensors", "truncated")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run(["info", str(run_folder)])
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1


def test_nan_in_a_model_file_is_one_error_and_no_number(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model(TextCorpus.from_text(some_text(500)))
    model.head.bias.detach()[1:2] = float("nan")
    path = tmp_path / "nan.safetensors"
    model.save(path)
    (tmp_path / "text.txt").write_text(some_text(300))
    scored = ["--text", str(tmp_path / "text.txt")]
    for command in (
        ["sample", str(path)],
        ["score", str(path), scored[1]],
        *(["eval", str(path), *scored, *more] for more in ([], ["--json"])),
    ):
        code, line = failing(capsys, *command)
        assert code == 1
        assert line.endswith(f"[load model] {path}: expected finite parameters, got NaN or Inf in head.bias\n")
    for scores in (lambda: evaluate(model, some_text(50)), lambda: list(score_lines(model, ["First", "all"]))):
        with pytest.raises(FloatingPointError, match=r"expected (a )?finite numbers?, got (nan|NaN)"):
            scores()


def test_a_perplexity_that_overflows_is_null_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = small_model(TextCorpus.from_text(some_text(500)))
    model.head.bias.detach()[1:2] = 1e30
    model.save(tmp_path / "far.safetensors")
    (tmp_path / "text.txt").write_text(some_text(300))
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        run(["eval", str(tmp_path / "far.safetensors"), "--text", str(tmp_path / "text.txt"), "--json"])
    assert caught.value.code == 0
    values = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert values["perplexity"] is None
    assert values["nats"] > 1e20
