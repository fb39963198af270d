"""Never lose work: kills, Ctrl-C and full disks leave a checkpoint; resuming gives the run that never stopped."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from language_models import log_without_times, some_text, start_run
from typer.testing import CliRunner

from rnncore.cli.app import app
from rnncore.train import Callback, Checkpoint, TrainConfig, Trainer

OPTIONS = {
    "streams": ["--hidden", "16", "--layers", "2", "--dropout", "0.2", "--schedule", "cosine", "--warmup", "5"],
    "window": ["--hidden", "12", "--layers", "1", "--cell", "gru", "--bptt-back", "33", "--optimizer", "sgd",
               "--lr", "0.5", "--momentum", "0.9", "--schedule", "plateau", "--patience", "9"],
    "awd": ["--hidden", "16", "--embedding", "12", "--layers", "2", "--narrow-last", "--tie-weights", "--variational",
            "--dropout", "0.2", "--input-dropout", "0.3", "--output-dropout", "0.1", "--weight-drop", "0.3",
            "--embedding-dropout", "0.1", "--activation-penalty", "2", "--temporal-penalty", "1", "--vary-bptt",
            "--optimizer", "nt-asgd", "--nonmono", "1", "--lr", "40", "--epochs", "4"],
    "sentences": ["--hidden", "12", "--layers", "1", "--sentences", "--optimizer", "rmsprop", "--softmax", "adaptive",
                  "--tie-weights"],
}  # fmt: skip


def command(text: Path, out: Path, options: list[str]) -> list[str]:
    basics = ["--batch", "8", "--bptt", "20", "--epochs", "3", "--checkpoint-steps", "3", "--seed", "5"]
    return [sys.executable, "-m", "rnncore", "train", "lm", "--text", str(text), "--out", str(out), *basics, *options]


def resume(run: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rnncore", "train", "--resume", str(run)], capture_output=True, text=True, timeout=120
    )


def assert_same_run(one: Path, two: Path) -> None:
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    assert log_without_times(one) == log_without_times(two)
    first, second = (Checkpoint.load(run / "checkpoint.safetensors") for run in (one, two))
    for mine, other in ((first.parameters, second.parameters), (first.slots, second.slots)):
        assert mine.keys() == other.keys()
        for name in mine:
            assert mine[name].numpy().tobytes() == other[name].numpy().tobytes(), name
    assert first.generator == second.generator


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(some_text(9000))
    return path


@pytest.mark.parametrize("kind", OPTIONS)
def test_sigkill_at_any_moment_and_resume_is_the_run_that_never_stopped(tmp_path: Path, text: Path, kind: str) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(text, whole, OPTIONS[kind]), check=True, capture_output=True, timeout=120)
    moments = random.Random(kind)
    process = subprocess.Popen(command(text, broken, OPTIONS[kind]), stdout=subprocess.DEVNULL)
    kills = 0
    for _ in range(4):
        waiting = time.monotonic()
        while not (broken / "checkpoint.safetensors").exists() and time.monotonic() - waiting < 60:
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.25) + (0.3 if kills else 0.0))
        kills += process.poll() is None
        process.kill()
        process.wait()
        Checkpoint.load(broken / "checkpoint.safetensors")  # loadable at every moment
        process = subprocess.Popen(
            [sys.executable, "-m", "rnncore", "train", "--resume", str(broken)], stdout=subprocess.DEVNULL
        )
    process.wait(timeout=120)
    assert process.returncode == 0
    assert kills > 0, "no run was killed before its end: make the runs longer"
    assert_same_run(whole, broken)


class Kill(Callback):
    """Leaves the loop as a crash would, right after an update."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer, loss: float, grad_norm: float) -> None:
        if trainer.progress.step == self.step:
            raise RuntimeError("crash")


@pytest.mark.parametrize("step", [1, 4, 38, 39, 40])
def test_a_crash_at_a_given_step(tmp_path: Path, text: Path, step: int) -> None:
    """Around the end of an epoch too (39 updates here have no place for more than the loop's own state)."""
    config = TrainConfig(epochs=2, batch=10, bptt=20, checkpoint_steps=3, log_every=4)
    start_run(tmp_path / "whole", text, config, dropout=0.3, num_layers=2).fit()
    crashing = start_run(tmp_path / "broken", text, config, callbacks=(Kill(step),), dropout=0.3, num_layers=2)
    with pytest.raises(RuntimeError, match="crash"):
        crashing.fit()
    Trainer.resume(tmp_path / "broken").fit()
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_training_longer_is_the_longer_run(tmp_path: Path, text: Path) -> None:
    for name, steps in (("long", 30), ("short", 17)):
        start_run(tmp_path / name, text, TrainConfig(steps=steps, batch=10, bptt=20)).fit()
    Trainer.resume(tmp_path / "short", steps=30).fit()
    one, two = (Checkpoint.load(tmp_path / name / "checkpoint.safetensors") for name in ("long", "short"))
    for name, value in one.parameters.items():
        assert value.numpy().tobytes() == two.parameters[name].numpy().tobytes(), name


def test_a_limit_that_is_passed_already_is_refused_and_changes_nothing(tmp_path: Path, text: Path) -> None:
    run = tmp_path / "run"
    config = TrainConfig(epochs=2, batch=10, bptt=20, checkpoint_steps=4)
    with pytest.raises(RuntimeError, match="crash"):
        start_run(run, text, config, callbacks=(Kill(9),)).fit()
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for limits in ({"steps": 3}, {"steps": 8}, {"epochs": 5, "steps": 2}, {"minutes": 1e-6}):
        with pytest.raises(ValueError, match=r"\[resume\] limits: expected more than the 8 updates"):
            Trainer.resume(run, **limits)
    refused = CliRunner().invoke(app, ["train", "--resume", str(run), "--steps", "8"])
    assert "expected more than the 8 updates" in str(refused.exception)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    longer = CliRunner().invoke(app, ["train", "--resume", str(run), "--steps", "9"])
    assert "new limits: steps 9; those before count no more" in longer.output
    assert Checkpoint.load(run / "checkpoint.safetensors").progress.step == 9


class Writer(Callback):
    """Writes a line after each epoch, and fails after the second."""

    def on_epoch(self, trainer: Trainer, record: dict[str, Any]) -> None:
        trainer.write({"event": "note", "epoch": record["epoch"]})
        if record["epoch"] == 2:
            raise RuntimeError("crash")


def test_what_callbacks_write_after_an_epoch_outlives_a_crash(tmp_path: Path, text: Path) -> None:
    config = TrainConfig(epochs=3, batch=10, bptt=20, checkpoint_seconds=1e9)
    start_run(tmp_path / "whole", text, config).fit()
    crashing = start_run(tmp_path / "run", text, config, callbacks=(Writer(),))
    with pytest.raises(RuntimeError, match="crash"):
        crashing.fit()
    assert Checkpoint.load(tmp_path / "run" / "checkpoint.safetensors").progress.epoch == 2
    Trainer.resume(tmp_path / "run").fit()
    records = log_without_times(tmp_path / "run")
    assert [record["epoch"] for record in records if record["event"] == "note"] == [1, 2]
    assert [one for one in records if one["event"] != "note"] == log_without_times(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_resume(tmp_path: Path, text: Path, number: signal.Signals) -> None:
    out = tmp_path / "run"
    options = ["--hidden", "64", "--layers", "1", "--epochs", "1000"]
    with subprocess.Popen(
        command(text, out, options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        waiting = time.monotonic()
        while not (out / "log.jsonl").exists() or not (out / "log.jsonl").stat().st_size:
            assert time.monotonic() - waiting < 60
            time.sleep(0.02)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"rnncore train --resume {out}" in output
    assert "Traceback" not in errors
    saved = Checkpoint.load(out / "checkpoint.safetensors").progress.step
    assert f"saved at update {saved:,}" in output
    assert (out / "model.safetensors").exists()


def test_a_full_disk_is_one_clear_error_and_the_checkpoint_stays(tmp_path: Path, text: Path) -> None:
    run = tmp_path / "run"
    config = TrainConfig(steps=10, batch=10, bptt=20, checkpoint_steps=5)
    start_run(run, text, config).fit()
    before = (run / "checkpoint.safetensors").read_bytes()
    size = len(before)

    def small_disk() -> None:  # a file may not grow to the checkpoint's size: the write fails as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    result = subprocess.run(
        [sys.executable, "-m", "rnncore", "train", "--resume", str(run), "--steps", "40"],
        preexec_fn=small_disk, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert "checkpoint.safetensors" in result.stderr
    assert (run / "checkpoint.safetensors").read_bytes() == before
    assert [path.name for path in run.iterdir() if path.name.endswith(".tmp")] == []
    assert resume(run).returncode == 0


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path, text: Path) -> None:
    (tmp_path / "file").write_text("")
    result = subprocess.run(command(text, tmp_path / "file" / "run", []), capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "[run folder]" in result.stderr


def test_changed_data_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text(some_text(5000))
    start_run(tmp_path / "run", text, TrainConfig(steps=3, batch=5, bptt=20)).fit()
    text.write_text(some_text(5000).replace("First", "Fitst"))
    with pytest.raises(ValueError, match="the data that the run was started with"):
        Trainer.resume(tmp_path / "run", steps=6)
    text.unlink()
    with pytest.raises(FileNotFoundError, match="no such file"):
        Trainer.resume(tmp_path / "run", steps=6)


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path: Path, text: Path) -> None:
    config = TrainConfig(epochs=1, batch=10, bptt=20, checkpoint_steps=8, log_every=1)
    crashing = start_run(tmp_path / "run", text, config, callbacks=(Kill(13),))
    with pytest.raises(RuntimeError, match="crash"):
        crashing.fit()
    assert len(log_without_times(tmp_path / "run")) == 12
    with (tmp_path / "run" / "log.jsonl").open("a") as log:
        log.write('{"event": "st')  # what a kill in the middle of a write leaves
    Trainer.resume(tmp_path / "run").fit()
    steps = [record["step"] for record in log_without_times(tmp_path / "run") if record["event"] == "step"]
    assert steps == sorted(set(steps))
    assert steps[:20] == list(range(1, 21))


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path, text: Path) -> None:
    out = tmp_path / "run"
    options = ["--hidden", "64", "--layers", "1", "--epochs", "1000"]
    with subprocess.Popen(command(text, out, options), stdout=subprocess.DEVNULL) as process:
        try:
            waiting = time.monotonic()
            while not (out / "checkpoint.safetensors").exists():
                assert time.monotonic() - waiting < 60
                time.sleep(0.02)
            second = resume(out)
            log = (out / "log.jsonl").stat().st_ino
            forced = subprocess.run(
                command(text, out, [*options, "--force"]), capture_output=True, text=True, timeout=120
            )
            kept = all((out / name).exists() for name in ("log.jsonl", "checkpoint.safetensors", "model.safetensors"))
            assert kept, "--force removed what another process is training"
            assert (out / "log.jsonl").stat().st_ino == log
        finally:
            process.kill()
    for refused in (second, forced):
        assert refused.returncode == 1
        assert "another process" in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1


def test_what_a_kill_in_a_write_left_is_removed(tmp_path: Path, text: Path) -> None:
    start_run(tmp_path / "run", text, TrainConfig(steps=3, batch=10, bptt=20)).fit()
    left = tmp_path / "run" / ".checkpoint.safetensors.123.0.tmp"
    left.write_bytes(b"half")
    Trainer.resume(tmp_path / "run", steps=4).fit()
    assert not left.exists()
