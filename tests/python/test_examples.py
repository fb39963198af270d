"""Every example and every benchmark script runs, with --quick, as a user would start it, and does what it promises."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from labelled_files import bio_file, conllu_file, names_folder

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed")


def run(script: Path, *arguments: str, timeout: float = 120) -> str:
    """Standard output of a script that must succeed; one thread, since tests run side by side."""
    environment = dict(os.environ, RNNCORE_NUM_THREADS="1", OMP_NUM_THREADS="1", PYTHONIOENCODING="utf-8")
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=environment)
    assert done.returncode == 0, f"{script.name} {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_example_and_benchmark_is_tested_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    folders = (EXAMPLES.glob("*.py"), (EXAMPLES / "gradients").glob("[a-z]*.py"), (ROOT / "bench").glob("*.py"))
    for script in [path for folder in folders for path in folder]:
        called = f'"{script.name}"' in source or script.name == "char_lm_torch.py"  # which char_lm_parity.py runs
        assert called, f"no test runs {script.name}"
        assert "--quick" in script.read_text(encoding="utf-8"), script.name


def test_hello_spells_hello() -> None:
    output = run(EXAMPLES / "hello.py", "--quick")
    assert "from 'h': hello" in output
    losses = [float(number) for number in re.findall(r"loss ([\d.]+)", output)]
    assert losses[-1] < 0.1 < losses[0]


def test_language_model_learns_and_writes() -> None:
    output = run(EXAMPLES / "language_model.py", "--quick")
    nats = float(re.search(r"validation ([\d.]+) nats", output).group(1))  # type: ignore[union-attr]
    assert nats < math.log(65)  # better than choosing among the letters blindly
    assert "First" in output


def test_character_rnn_learns_names() -> None:
    output = run(EXAMPLES / "char_rnn_classification.py", "--quick")
    assert float(re.search(r": ([\d.]+)%", output).group(1)) > 15  # type: ignore[union-attr]  # by chance: 5.6


def test_adding_problem_is_learnt_by_the_gated() -> None:
    output = run(EXAMPLES / "gradients" / "adding_problem.py", "--quick", "--networks", "tanh RNN", "LSTM")
    plain, lstm = (float(error) for error in re.findall(r"([\d.]+) after", output))
    assert lstm < 0.1 < plain  # always answering 1: 0.167


def test_delays_carry_the_copy_task(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    output = run(EXAMPLES / "gradients" / "copy_task.py", "--quick", "--out", str(tmp_path / "copy.png"))
    without, with_delay = (float(share) for share in re.findall(r"([\d.]+)% right", output))
    assert with_delay > 90 > without
    assert (tmp_path / "copy.png").stat().st_size > 1000


def test_deep_stacks_need_connections() -> None:
    output = run(EXAMPLES / "gradients" / "deep_stack.py", "--quick", "--connections", "none", "residual")
    plain, residual = (float(nats) for nats in re.findall(r"([\d.]+) nats", output))
    assert residual < plain - 0.2


def test_forecasts_stand_beside_naive_ones() -> None:
    output = run(EXAMPLES / "forecasting.py", "--quick")
    for name in ("lstm", "repeat last", "seasonal naive (12)", "linear (24)"):
        assert re.search(rf"^{re.escape(name)} +\d\.\d+ +\d\.\d+$", output, re.MULTILINE), name
    spoilt, found = re.search(r"row (\d+): .* row (\d+)", output).groups()  # type: ignore[union-attr]
    assert int(found) - int(spoilt) in (0, 1)  # where it enters, or where it is believed


def test_music_is_more_than_single_keys() -> None:
    output = run(EXAMPLES / "music.py", "--quick")
    nats = float(re.search(r"test: ([\d.]+) nats", output).group(1))  # type: ignore[union-attr]
    alone = float(re.search(r"in training: ([\d.]+) nats", output).group(1))  # type: ignore[union-attr]
    assert nats < 0.8 * alone


def test_spoken_words_are_told_apart() -> None:
    pytest.importorskip("scipy")
    output = run(EXAMPLES / "spoken_digits.py", "--quick")
    assert float(re.search(r"test: ([\d.]+)%", output).group(1)) > 90  # type: ignore[union-attr]


def test_digits_are_learnt_pixel_by_pixel() -> None:
    output = run(EXAMPLES / "pixel_digits.py", "--quick")
    shares = [float(share) for share in re.findall(r"epochs +([\d.]+)%", output)]
    assert len(shares) == 2
    assert min(shares) > 20  # by chance: 10


def test_names_are_classified(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    picture = tmp_path / "confusion.png"
    names = names_folder(tmp_path / "names", 150)
    output = run(EXAMPLES / "names_classifier.py", "--quick", "--names", str(names), "--picture", str(picture))
    assert float(re.search(r"balanced_accuracy ([\d.]+)", output).group(1)) > 0.5  # type: ignore[union-attr]
    assert picture.stat().st_size > 1000


def test_sentiment_by_folds_and_by_trees(tmp_path: Path) -> None:
    for label, words in (("pos", "good fine great"), ("neg", "bad poor dull")):
        lines = [f"a {word} {other} film" for word in words.split() for other in (*words.split(), "long", "new")]
        (tmp_path / f"x.{label}.txt").write_text("\n".join(3 * lines) + "\n")
    output = run(EXAMPLES / "sentiment.py", "--quick", "--polarity", f"{tmp_path}/x.{{pos,neg}}.txt")
    assert float(re.search(r"folds: accuracy ([\d.]+)", output).group(1)) > 0.9  # type: ignore[union-attr]
    tree = "({0} (2 a) ({0} ({0} {1}) (2 film)))\n"
    trees = [tree.format(label, word) for label, word in ((4, "good"), (0, "bad"), (3, "fine"), (1, "dull"))]
    files = {part: tmp_path / f"{part}.txt" for part in ("train", "valid", "test")}
    for file in files.values():
        file.write_text("".join(20 * trees))
    output = run(EXAMPLES / "sentiment.py", "--quick", *(x for p, f in files.items() for x in (f"--{p}", str(f))))
    assert float(re.search(r"test accuracy ([\d.]+)", output).group(1)) > 0.9  # type: ignore[union-attr]


def test_parts_of_speech_are_tagged(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "dev", "test")):
        conllu_file(tmp_path / f"x-{part}.conllu", 120, seed=seed)
    output = run(EXAMPLES / "pos_tagging.py", "--quick", "--folder", str(tmp_path))
    assert float(re.search(r"test: accuracy ([\d.]+)", output).group(1)) > 0.9  # type: ignore[union-attr]


def test_entities_are_found(tmp_path: Path) -> None:
    pytest.importorskip("seqeval")
    files = {part: str(bio_file(tmp_path / part, 100, seed=n)) for n, part in enumerate(("train", "valid", "test"))}
    output = run(EXAMPLES / "ner.py", "--quick", *(x for part, file in files.items() for x in (f"--{part}", file)))
    assert float(re.search(r"test: .* f1 ([\d.]+)", output).group(1)) > 0.8  # type: ignore[union-attr]
    assert "invalid BIO sequences: 0 of 100" in output


def test_numbers_are_translated(tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu")
    pytest.importorskip("matplotlib")
    picture = tmp_path / "attention.svg"
    output = run(EXAMPLES / "translation.py", "--quick", "--picture", str(picture))
    greedy, beam = (float(score) for score in re.findall(r"beams: BLEU ([\d.]+)", output))
    assert min(greedy, beam) > 50
    assert "<svg" in picture.read_text(encoding="utf-8")


def test_digits_are_spelt(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    output = run(EXAMPLES / "captions.py", "--quick", "--save", str(tmp_path / "digits.csv"))
    assert float(re.search(r"test: ([\d.]+)% exact", output).group(1)) > 50  # type: ignore[union-attr]  # by chance: 10
    assert (tmp_path / "digits.csv").read_text().count("\n") == 1798


def test_questions_are_answered() -> None:
    output = run(EXAMPLES / "questions.py", "--quick")
    right, never = (float(share) for share in re.findall(r"([\d.]+)%", output))
    assert right > never + 10


def test_gradients_fade_with_the_lag_in_every_network(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "lag.png"
    output = run(EXAMPLES / "gradients" / "lag.py", "--quick", "--out", str(picture))
    reach = {
        name.strip(): int(steps) for name, steps in re.findall(r"^(.*?) +reach +(\d+) steps", output, re.MULTILINE)
    }
    assert reach["tanh RNN"] < reach["tanh RNN, delay 10"] < reach["IRNN"] == 99
    assert picture.stat().st_size > 10_000


def test_what_a_tanh_rnn_forgets_an_irnn_recalls() -> None:
    output = run(EXAMPLES / "gradients" / "reach.py", "--quick", "--networks", "tanh RNN", "IRNN", "LSTM, chrono 200")
    right = [float(share) for share in re.findall(r"([\d.]+)% right", output)]
    assert right[0] < 50
    assert min(right[1:]) > 95


def test_clipping_keeps_descent_at_the_cliff(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    output = run(EXAMPLES / "gradients" / "cliff.py", "--quick", "--out", str(tmp_path / "cliff.png"))
    plain, clipped = re.findall(r"largest step +([\d.]+), .* loss ([\d.]+)", output)
    assert float(plain[0]) > 5
    assert float(clipped[0]) < 0.3 * 0.3 + 0.001  # rate times clip
    assert float(clipped[1]) < 0.01 < float(plain[1])


def test_explosion_is_measured() -> None:
    output = run(EXAMPLES / "gradients" / "explosion.py", "--quick")
    plain, clipped = (float(loss) for loss in re.findall(r"loss ([\d.]+) over", output))
    assert clipped < plain


def test_beyond_the_horizon_nothing_is_learnt() -> None:
    output = run(EXAMPLES / "gradients" / "horizon.py", "--quick")
    shares = [float(share) for share in re.findall(r"horizon +\d+: +([\d.]+)%", output)]
    assert shares[0] < 50
    assert shares[1] > 99


def test_horizons_are_compared_on_text(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    output = run(EXAMPLES / "gradients" / "truncation.py", "--quick", "--out", str(tmp_path / "truncation.png"))
    rows = re.findall(r"k1 +(\d+)  k2 +(\d+): ([\d.]+) nats, .*, ([\d,]+) updates", output)
    assert [(row[0], row[1]) for row in rows] == [("5", "5"), ("5", "20"), ("5", "5"), ("20", "20")]
    assert rows[0][2:] == rows[2][2:]  # the same training
    assert rows[0][3] == rows[1][3] != rows[3][3]
    assert all(float(row[2]) < math.log(60) for row in rows)
    assert (tmp_path / "truncation.png").stat().st_size > 10_000


def test_ngrams_are_scored() -> None:
    output = run(EXAMPLES / "kneser_ney.py", "--quick", "--orders", "1", "5")
    one, five = (float(nats) for nats in re.findall(r"valid ([\d.]+) nats", output))
    assert five < 2.3 < one


@needs_torch
def test_character_rnn_runs_on_pytorch_with_only_the_imports_changed(tmp_path: Path) -> None:
    source = (EXAMPLES / "char_rnn_classification.py").read_text(encoding="utf-8")
    changed, count = re.subn(r"^.*  # PyTorch: (.*)$", r"\1", source, flags=re.MULTILINE)
    assert count == 2
    assert "rnncore" not in re.sub(r'""".*?"""', "", changed, flags=re.DOTALL)
    script = tmp_path / "on_torch.py"
    script.write_text(changed, encoding="utf-8")
    output = run(script, "--quick", "--names", str(EXAMPLES / "data" / "names"))
    assert float(re.search(r": ([\d.]+)%", output).group(1)) > 15  # type: ignore[union-attr]


@needs_torch
def test_comparison_measures_both_libraries(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    file = tmp_path / "compare.json"
    output = run(
        ROOT / "bench" / "compare.py",
        *("--quick", "--threads", "1", "--rows", "(100,1,1,64);V=65 H=128", "--cells", "lstm,gru", "--json", str(file)),
    )
    assert "vs torch" in output
    report = json.loads(file.read_text(encoding="utf-8"))
    assert len(report["rows"]) == 5  # two cells, training and inference, and the model step
    for row in report["rows"]:
        assert not row["errors"]
        assert row["ratios"]["torch"] > 0
        assert row["libraries"]["rnncore"]["share_of_peak"] > 0


@needs_torch
def test_character_model_trains_as_pytorchs_does() -> None:
    output = run(ROOT / "bench" / "char_lm_parity.py", "--quick", "--within", "0.001")
    assert "agree within" in output


@needs_torch
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from /proc")
def test_memory_is_measured() -> None:
    """A step keeps what the equations say, not much more, and nothing from step to step."""
    output = run(ROOT / "bench" / "memory.py", "--quick")
    [(saved, ours)] = re.findall(r"^train lstm \(50,32,1,128\) +(\d+) +(\d+) +\d+", output, re.MULTILINE)
    assert int(saved) == 5, "6 floats of 4 bytes in MiB"
    assert 0.9 * int(saved) <= int(ours) <= 3 * int(saved), output
    growths = re.findall(r"^train \S+ \(50,32,1,128\) +(-?[\d.]+)$", output, re.MULTILINE)
    assert len(growths) == 3
    assert all(abs(float(growth)) < 1 for growth in growths), output


@pytest.mark.parametrize("shape", ["lines", "line"])
def test_a_large_corpus_is_prepared_and_read(shape: str) -> None:
    output = run(ROOT / "bench" / "big_corpus.py", "--quick", "--shape", shape)
    assert re.search(r"^prepare +[\d.]+ s  peak +\d+ MiB  [\d,]+ tokens of [\d,]+ types$", output, re.MULTILINE)
    assert re.search(r"^read .* [\d,]+ chunks of 50 x 50", output, re.MULTILINE)


def test_latency_is_measured() -> None:
    assert "drawing text" in run(ROOT / "bench" / "latency.py", "--quick")


@pytest.mark.parametrize("work", ["train", "infer"])
def test_every_cell_and_option_is_measured(work: str) -> None:
    output = run(ROOT / "bench" / "cells.py", "--quick", "--work", work)
    rows = re.findall(r"^(\w.*?) +([\d.]+) +\d+% +[\d.]+ +[\d.]+$", output, re.MULTILINE)
    names = [name for name, _ in rows]
    assert names[0] == "lstm"
    assert {"lstm projected", "gru layer norm", "rnn clockwork", "indrnn"} <= set(names)


def test_output_layers_are_measured() -> None:
    output = run(ROOT / "bench" / "output_layer.py", "--quick", "--layers", "full", "adaptive", "class")
    for name in ("full", "adaptive", "class"):
        assert re.search(rf"^  {name} +[\d.]+ .* memory +\d+ -> +\d+ MiB$", output, re.MULTILINE), output


def test_scaling_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert "speed-up" in run(ROOT / "bench" / "scaling.py", "--quick", "--plot", str(tmp_path / "scaling.png"))
    assert (tmp_path / "scaling.png").stat().st_size > 10_000
