"""The command line: each command does its job, its help shows an example, its output is plain when piped."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from language_models import some_text
from typer.testing import CliRunner

from rnncore.cli.app import app, run
from rnncore.metrics import evaluate
from rnncore.models import LanguageModel

SMALL = ["--hidden", "12", "--layers", "1", "--batch", "8", "--bptt", "20", "--epochs", "2", "--seed", "1"]


def rnncore(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rnncore", *map(str, arguments)], capture_output=True, text=True, timeout=120, cwd=cwd
    )


def inside(*arguments: str | Path) -> str:
    """The output of a command run in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli")
    (path / "text.txt").write_text(some_text())
    result = rnncore("train", "lm", "--text", path / "text.txt", "--out", path / "run", *SMALL)
    assert result.returncode == 0, result.stderr
    (path / "output").write_text(result.stdout)
    return path


KINDS = ["lm", "classify", "tag", "forecast", "music", "speech"]
COMMANDS = [
    "train",
    "eval",
    "predict",
    "score",
    "prepare",
    "sample",
    "info",
    "plot",
    "report",
    "watch",
    "convert",
    "demo",
    *(f"train {kind}" for kind in KINDS),
]


@pytest.mark.parametrize("command", [name.split() for name in COMMANDS])
def test_each_help_shows_an_example(command: list[str]) -> None:
    output = inside(*command, "--help")
    assert f"Example: rnncore {' '.join(command)}" in output
    assert max(map(len, output.splitlines())) <= 80


def test_the_options_of_the_commands() -> None:
    train = inside("train", "lm", "--help")
    for option in [
        "--text",
        "--valid",
        "--test",
        "--level",
        "--cell",
        "--hidden",
        "--layers",
        "--bptt",
        "--batch",
        "--epochs",
        "--steps",
        "--optimizer",
        "--lr",
        "--clip",
        "--dropout",
        "--tie-weights",
        "--seed",
        "--threads",
        "--out",
    ]:
        assert option in train, option
    sample = inside("sample", "--help")
    for option in ["--prompt", "--length", "--temperature", "--top-k", "--top-p", "--stop", "--num-samples", "--seed"]:
        assert option in sample, option


@pytest.mark.parametrize(("kind", "epochs"), [("music", "200"), ("speech", "20"), ("tag", "10"), ("forecast", "10")])
def test_help_gives_one_number_of_epochs(kind: str, epochs: str) -> None:
    told = " ".join(inside("train", kind, "--help").split("--epochs")[1].split("--steps  ")[0].split())
    assert re.findall(r"default: (\d+)", told) == [epochs], told


def test_help_is_quick() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        assert rnncore("--help").returncode == 0
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 1.5  # 0.3 on a free machine; importing torch alone takes longer
    heavy = ("matplotlib", "rich.progress", "rnncore.nn")
    code = f"import sys, rnncore.cli.app; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]", "heavy modules are imported by the commands that need them"


def test_train_writes_a_run(folder: Path) -> None:
    names = {path.name for path in (folder / "run").iterdir()}
    assert {"model.safetensors", "checkpoint.safetensors", "config.json", "log.jsonl"} <= names
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["model"]["hidden_size"] == 12
    assert config["train"]["epochs"] == 2
    output = (folder / "output").read_text()
    assert "epoch   2" in output
    assert "perplexity" in output
    assert "\x1b" not in output, "no escape codes when piped"
    pytest.importorskip("matplotlib")
    assert (folder / "run" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_eval_agrees_with_log_prob(folder: Path) -> None:
    text = folder / "other.txt"
    text.write_text("First Citizen:\nSpeak, speak.")
    values = json.loads(inside("eval", folder / "run", "--text", text, "--json"))
    model = LanguageModel.load(folder / "run" / "model.safetensors")
    assert values["nats"] * values["tokens"] == pytest.approx(-model.log_prob(text.read_text()), rel=1e-9)
    assert values["tokens"] == len(text.read_text()) - 1
    assert values["perplexity"] == pytest.approx(evaluate(model, text.read_text()).perplexity)
    plain = inside("eval", folder / "run" / "model.safetensors", "--text", text)
    for word in ("nats", "perplexity", "bits per character", "tokens"):
        assert word in plain


def test_sample_is_seeded(folder: Path) -> None:
    options = ["--prompt", "The", "--length", "40", "--temperature", "0.8", "--top-k", "20", "--top-p", "0.9"]
    one, same = (inside("sample", folder / "run", *options, "--seed", "3") for _ in range(2))
    assert one == same
    assert one.startswith("The")
    several = json.loads(inside("sample", folder / "run", *options, "--num-samples", "3", "--seed", "3", "--json"))
    assert len(several) == 3
    assert "The" + several[0]["text"] == one.rstrip("\n") or one.startswith("The" + several[0]["text"])
    stopped = json.loads(inside("sample", folder / "run", *options, "--stop", "e", "--json"))
    assert "e" not in stopped[0]["text"]
    assert inside("sample", folder / "run", "--beams", "3", "--length", "5", "--prompt", "The").startswith("The")


def test_info_tells_what_is_there(folder: Path) -> None:
    output = inside("info", folder / "run")
    for part in ("lstm, 1 x 12", "chars", "parameters", "2 epochs", "finished (epochs)", "adam"):
        assert part in output, part
    assert "lstm" in inside("info", folder / "run" / "model.safetensors")


def test_plot_draws(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    inside("plot", folder / "run", "--out", tmp_path / "loss.svg")
    assert "<svg" in (tmp_path / "loss.svg").read_text()


def test_words_bytes_and_given_splits(folder: Path, tmp_path: Path) -> None:
    for name, text in (("train", "a b c d\n" * 120), ("valid", "a b\n" * 9), ("test", "c d z\n" * 9)):
        (tmp_path / name).write_text(text)
    files = ["--text", tmp_path / "train", "--valid", tmp_path / "valid", "--test", tmp_path / "test"]
    output = inside("train", "lm", *files, "--level", "word", "--out", tmp_path / "words", *SMALL)
    assert "test:" in output
    assert "scored as <unk>" in inside("eval", tmp_path / "words", "--text", tmp_path / "test")
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 20)
    inside("train", "lm", "--text", tmp_path / "binary", "--level", "byte", "--out", tmp_path / "bytes", *SMALL)
    assert "bits per byte" in inside("eval", tmp_path / "bytes", "--text", tmp_path / "binary")


def test_an_existing_run_is_not_overwritten(folder: Path) -> None:
    arguments = ["train", "lm", "--text", folder / "text.txt", "--out", folder / "run", *SMALL]
    before = (folder / "run" / "model.safetensors").read_bytes()
    result = rnncore(*arguments)
    assert result.returncode == 2
    assert "--resume" in result.stderr
    assert "--force" in result.stderr
    assert (folder / "run" / "model.safetensors").read_bytes() == before
    assert rnncore(*arguments, "--force").returncode == 0


def test_resuming_what_has_finished_says_so_and_can_go_on(folder: Path) -> None:
    assert "has finished" in inside("train", "--resume", folder / "run")
    assert "epoch   3" in inside("train", "--resume", folder / "run", "--epochs", "3")


def test_the_default_folder_is_named_after_the_text(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(some_text(3000))
    for name in ("book", "book-2"):
        result = rnncore("train", "lm", "--text", "book.txt", *SMALL, "--epochs", "1", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert (tmp_path / "runs" / name / "model.safetensors").exists()


def test_a_broken_pipe_is_no_error_message(folder: Path) -> None:
    code = f"'{sys.executable}' -m rnncore sample '{folder / 'run'}' --length 2000 --num-samples 50 | head -c 1"
    result = subprocess.run(code, shell=True, capture_output=True, text=True, timeout=60)
    assert result.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["info", "sample"])
def test_a_full_disk_under_the_output_is_one_line(folder: Path, command: str, unbuffered: str) -> None:
    code = [sys.executable, "-m", "rnncore", command, str(folder / "run")]
    with Path("/dev/full").open("w") as full:
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        result = subprocess.run(code, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=environment)
    assert result.returncode == 1
    assert result.stderr.startswith("rnncore: [output] stdout: ")
    assert result.stderr.count("\n") == 1


def test_debug_shows_the_traceback(folder: Path) -> None:
    assert "Traceback" in rnncore("info", folder / "nothing", "--debug").stderr
    assert "Traceback" not in rnncore("info", folder / "nothing").stderr


def test_the_entry_point_exits(folder: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["info", str(folder / "nothing")])
    assert caught.value.code == 1


def test_a_terminal_gets_a_bar(folder: Path) -> None:
    """A pseudo-terminal of 80 columns: the bar shows loss, perplexity, rate, gradient norm, time left."""
    import pty

    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    arguments = [
        "train",
        "lm",
        "--text",
        str(folder / "text.txt"),
        "--out",
        str(folder / "bar"),
        *SMALL,
        "--epochs",
        "30",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "rnncore", *arguments], stdout=slave, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        process.wait(timeout=60)
    os.close(master)
    text = shown.decode()
    assert process.returncode == 0
    for part in ("loss", "ppl", "chars/s", "|g|", "left", "epoch  30"):
        assert part in text, part


def test_demo(tmp_path: Path) -> None:
    result = rnncore("demo", "--steps", "10", "--out", tmp_path / "demo")
    assert result.returncode == 0, result.stderr
    assert "validation: perplexity" in result.stdout
    assert "nats" in result.stdout
    assert len(result.stdout) > 500
    names = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"model.safetensors", "checkpoint.safetensors", "config.json", "log.jsonl"} <= names
