"""Reports, plots and the watch: from whole runs, from broken ones, from very long logs, while they are written."""

from __future__ import annotations

import csv
import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import some_text
from typer.testing import CliRunner

from rnncore.cli.app import app
from rnncore.cli.watch import sparkline
from rnncore.report import Log, LogFile, Run, all_figures, rows, ticks, write_report
from rnncore.report.figures import Chart, Curve, HeatMap, smoothed
from rnncore.report.svg import svg
from rnncore.train import read_log

SMALL = ["--hidden", "12", "--layers", "1", "--batch", "8", "--bptt", "20", "--epochs", "2", "--inspect", "5"]


def inside(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    text = folder / "text.txt"
    text.write_text(some_text(4000) + 'He said "speak, speak" to "them".\n' * 20)
    inside("train", "lm", "--text", text, "--out", folder / "run", *SMALL, "--dropout", "0.1")
    return folder / "run"


class Reader(HTMLParser):
    """Checks that tags are closed in order, and keeps what would reach outside the file."""

    VOID = ("meta", "link", "br", "img", "path", "rect", "circle", "polyline", "image")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.outside: list[str] = []
        self.figures = 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.figures += tag == "figure"
        self.outside += [v for name, v in attrs if name in ("src", "href") and not (v or "").startswith("data:")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_a_report_shows_everything_in_one_file(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    inside("report", run, "--out", out)
    text = out.read_text(encoding="utf-8")
    page = Reader(text)
    assert page.outside == []
    assert "http" not in re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL)
    assert page.headings == [
        "Curves", "Gradient flow", "Gates", "Recurrent weights", "Updates and dead units", "Samples over time",
        "What units do", "Configuration",
    ]  # fmt: skip
    assert page.figures >= 15
    assert "inside quotes, r = " in text
    assert "share of peak" in text
    assert out.stat().st_size < 300_000


def test_runs_beside_each_other(run: Path, tmp_path: Path) -> None:
    text = write_report([run, run], tmp_path / "two.html", units=False).read_text(encoding="utf-8")
    assert Reader(text).headings[:3] == ["Curves", "run: Gradient flow", "run: Gates"]
    assert "run validation" in text
    inside("report", run, run, "--no-units", "--out", tmp_path / "again.html")
    with pytest.raises(ValueError, match="at least one run"):
        write_report([])


def test_figures_have_the_logs_numbers(run: Path) -> None:
    records = read_log(run / "log.jsonl")
    steps = [record for record in records if record["event"] == "step"]
    looks = [record for record in records if record["event"] == "inspect"]
    found = all_figures([Run.read(run)])
    loss = next(figure for figure in found if figure.key == "loss")
    assert isinstance(loss, Chart)
    np.testing.assert_array_equal(loss.curves[0].x, [record["step"] for record in steps])
    np.testing.assert_array_equal(loss.curves[0].y, [record["loss"] for record in steps])
    valid = [record["valid_loss"] for record in records if record["event"] == "epoch"]
    np.testing.assert_array_equal(loss.curves[-1].y, valid)
    flow = next(figure for figure in found if figure.key == "flow")
    assert isinstance(flow, HeatMap)
    norms = np.array(looks[-1]["lag"]["rnn.l0"])
    np.testing.assert_allclose(flow.values[-1], np.clip(np.log10(norms / norms[0]), -8, 4))
    of_c = next(figure for figure in found if "c_(t-k)" in figure.title)
    assert isinstance(of_c, HeatMap)
    assert np.isfinite(of_c.values).all()
    assert of_c.values.max() == 0.0
    spectra = next(figure for figure in found if figure.key == "spectra")
    assert isinstance(spectra, Chart)
    assert spectra.curves[1].name == "f"
    np.testing.assert_array_equal(spectra.curves[1].y, [look["spectra"]["rnn.l0"]["f"][0] for look in looks])


def test_plots_and_the_csv_have_the_same_numbers(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture, table = tmp_path / "all.png", tmp_path / "all.csv"
    inside("plot", run, "--what", "all", "--out", picture, "--csv", table)
    assert picture.read_bytes().startswith(b"\x89PNG")
    with table.open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["figure", "title", "curve", "x", "value"]
    want = [[*map(str, row)] for row in rows(all_figures([Run.read(run)]))]
    assert lines[1:] == want
    inside("plot", run, run, "--what", "gradient-norm", "--out", tmp_path / "norm.svg")
    for arguments, words in ((["--what", "nonsense"], "expected loss"), (["--what", "dead"], "train with --inspect")):
        result = CliRunner().invoke(app, ["plot", str(run), *arguments])
        assert isinstance(result.exception, ValueError)
        assert words in str(result.exception)


def copy_of(run: Path, to: Path, *names: str) -> Path:
    to.mkdir()
    for name in names:
        (to / name).write_bytes((run / name).read_bytes())
    return to


def test_what_is_missing_is_said(run: Path, tmp_path: Path) -> None:
    only_log = copy_of(run, tmp_path / "log", "log.jsonl")
    text = write_report([only_log]).read_text(encoding="utf-8")
    for words in ("no config.json", "no model.safetensors", "no checkpoint.safetensors", "Gradient flow"):
        assert words in text
    only_model = copy_of(run, tmp_path / "model", "model.safetensors", "config.json")
    text = write_report([only_model]).read_text(encoding="utf-8")
    assert "no log.jsonl: no curves" in text
    assert "What units do" in text
    broken = copy_of(run, tmp_path / "broken", "log.jsonl", "config.json")
    (broken / "config.json").write_text("{")
    (broken / "model.safetensors").write_bytes(b"nonsense")
    with (broken / "log.jsonl").open("ab") as file:
        file.write(b'[1]\nwords\n{"event": 3}\n{"event": "step", "step": 9')
    text = write_report([broken]).read_text(encoding="utf-8")
    for words in (
        "3 lines of log.jsonl are no records", "last line of log.jsonl is incomplete", "config.json cannot be read",
        "model.safetensors cannot be read",
    ):  # fmt: skip
        assert words in text, words
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "log.jsonl").touch()
    assert "has not logged an update yet" in write_report([empty]).read_text(encoding="utf-8")


def test_lines_with_norms_alone_tear_no_curve(run: Path, tmp_path: Path) -> None:
    kept = copy_of(run, tmp_path / "norms", "config.json", "log.jsonl")
    records = read_log(kept / "log.jsonl")
    for index, record in enumerate(record for record in records if record["event"] == "inspect"):
        if index % 3:
            for name in ("gates", "dead", "spectra", "updates"):
                del record[name]
    (kept / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    before, after = (all_figures([Run.read(folder)]) for folder in (run, kept))
    assert [figure.title for figure in before] == [figure.title for figure in after]
    looks = len([record for record in records if record["event"] == "inspect"])
    for figure in after:
        if isinstance(figure, HeatMap):
            assert len(figure.x) == looks
        elif figure.key in ("updates", "spectra", "gates") and isinstance(figure, Chart):
            for curve in figure.curves:
                assert len(curve.x) == (looks + 2) // 3
                assert np.isfinite(curve.y).all()
    Reader(write_report([kept]).read_text(encoding="utf-8"))
    only = [{name: r[name] for name in ("event", "step", "lag")} for r in records if r["event"] == "inspect"]
    (kept / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in only))
    assert "flow" in {figure.key for figure in all_figures([Run.read(kept)])}
    Reader(write_report([kept]).read_text(encoding="utf-8"))


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear reader")
    for command in ("report", "plot", "watch"):
        result = CliRunner().invoke(app, [command, str(tmp_path)])
        assert isinstance(result.exception, OSError)
        assert "expected a run, got a folder without checkpoint, model or log" in str(result.exception)


def test_records_of_a_strange_shape_break_nothing(tmp_path: Path) -> None:
    strange: list[dict[str, Any]] = [
        {"event": "step", "step": 1, "loss": None, "grad_norm": "big", "lr": [1]},
        {"event": "step", "step": 2, "loss": 1.5, "perplexity": -1.0, "extra": {"a": 1}},
        {"event": "epoch", "epoch": "x", "valid_loss": "low"},
        {"event": "inspect", "step": 2, "lag": {"l0": []}, "gates": {"l0": {"i": 3}}, "spectra": {"l0": {"h": None}}},
        {"event": "inspect", "step": 3, "lag": [1], "updates": {"w": None}, "dead": {"l0": 2}},
        {"event": "inspect", "lag": {"l0": [1.0]}},
        {"event": "sample", "text": 3},
        {"event": "attention", "source": ["a"], "target": "b", "weights": None},
        {"event": "step", "step": 10**400, "loss": 1.0, "time": 1e305},
        {"event": "step", "step": 3, "loss": "low"},
        {"event": "inspect", "step": 4, "spectra": {"a": 3}, "gates": {"a": 3}, "lag": {"a": 3, "b": [-1.0, "x"]}},
        {"event": "inspect", "step": 4, "gates": {"b": {"i": {"counts": 3}}}, "flow": [1], "updates": {"w": 10**400}},
        {"event": "sample", "text": "wrote", "epoch": None, "step": "<b>"},
        {"event": "attention", "step": [], "source": ["a", "b"], "target": ["c"], "weights": [[None, 0.5]]},
        {"event": "attention", "source": ["a"], "target": ["c"], "weights": [[10**400]]},
        {"event": "epoch", "step": 3, "epoch": None, "valid_loss": 10**400, "valid_f1": 0.5},
    ]
    (tmp_path / "config.json").write_text("[]")
    for records in (strange, *([record] for record in strange)):
        (tmp_path / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        text = write_report([tmp_path]).read_text(encoding="utf-8")
        Reader(text)
        screen = " ".join(inside("watch", tmp_path, "--once").split())
        assert "None" not in text + screen
        assert len(records) == 1 or "update 3, 2 epochs" in screen


@pytest.mark.parametrize("what", ["loss", "all"])
def test_a_picture_of_strange_records_needs_no_warning(tmp_path: Path, what: str) -> None:
    pytest.importorskip("matplotlib")
    looks = {"event": "inspect", "step": 1, "spectra": {"a": 3}, "gates": {"a": 3}, "updates": {"w": 0.5}}
    records = [
        looks,
        {"event": "step", "step": 1, "loss": 1.0},
        {"event": "step", "step": None, "loss": 2.0},
        {"event": "step", "step": 3, "loss": "low"},
        {"event": "epoch", "valid_loss": 2.0},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of charts without curves
        inside("plot", tmp_path, "--what", what, "--out", tmp_path / "picture.svg")


def test_attention_maps_are_drawn_where_there_are_any(tmp_path: Path) -> None:
    record = {"event": "attention", "step": 7, "source": ["le", "<b>"], "target": ["the"], "weights": [[0.9, 0.1]]}
    (tmp_path / "log.jsonl").write_text(json.dumps(record) + "\n")
    text = write_report([tmp_path]).read_text(encoding="utf-8")
    assert "Attention" in Reader(text).headings
    assert "&lt;b&gt;" in text
    assert '<td class="r7" title="0.90">' in text


def step_lines(count: int, start: int = 0) -> list[bytes]:
    return [b'{"event": "step", "step": %d, "loss": %d.5}' % (n, n) for n in range(start, start + count)]


def test_a_long_log_is_thinned_and_keeps_its_end() -> None:
    log = Log()
    for at in range(0, 450_000, 50_000):
        log.feed([*step_lines(50_000, at), b'{"event": "epoch", "epoch": %d}' % at])
    log.feed(step_lines(3, 450_000))
    assert log.lines == 450_012
    assert log.stride == 16
    steps = log.column("step")
    np.testing.assert_array_equal(steps[:-1], np.arange(0, 450_003, 16))
    assert (steps[-1], log.column("loss")[-1]) == (450_002, 450_002.5)
    assert len(log.events("epoch")) == 9
    assert np.isnan(log.column("nothing")).all()


def test_lines_of_another_style_are_read_too() -> None:
    log = Log()
    log.feed([b'{"step":1,"loss":2,"event":"step"}', b'{"event":"step","step":2,"loss":3}', b"", b"nonsense"])
    np.testing.assert_array_equal(log.column("loss"), [2, 3])
    assert (log.lines, log.bad) == (4, 1)


def test_a_log_is_followed_through_kills_and_resumes(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(step_lines(5)) + b'\n{"event": "st')
    file = LogFile(path)
    assert file.poll()
    assert file.incomplete
    assert not file.poll()
    with path.open("ab") as more:
        more.write(b'ep", "step": 5, "loss": 0.5}\n')
    assert file.poll()
    np.testing.assert_array_equal(file.log.column("step"), range(6))
    # Cut back and grown beyond where it was, with other numbers: a resumed run.
    path.write_bytes(b"\n".join(step_lines(3) + step_lines(9, 100)) + b"\n")
    assert file.poll()
    np.testing.assert_array_equal(file.log.column("step"), [0, 1, 2, *range(100, 109)])
    path.unlink()
    with pytest.raises(FileNotFoundError):
        file.poll()
    file.reset()
    path.write_bytes(b"")
    file.poll()
    assert len(file.log.column("step")) == 0


def test_watch_shows_how_a_run_stands(run: Path) -> None:
    output = inside("watch", run, "--once")
    for words in ("update ", "2 epochs", "gradient norm", "gradient by lag, rnn.l0", "valid perplexity", "sample of"):
        assert words in output, words
    assert sparkline([0.0, 1.0] * 50, 10) == sparkline([0.5] * 10, 10)
    assert sparkline([], 5) == sparkline([float("nan")], 5) == ""


def test_curves_keep_their_spikes_and_axes_are_round() -> None:
    y = np.zeros(100_000)
    y[54_321] = 7.0
    picture = svg(Chart("loss", "a spike", "", (Curve("y", np.arange(1e5), y),)))
    [points] = re.findall(r'points="([^"]*)"', picture)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert len(heights) < 1000
    assert min(heights) < 30 < max(heights)
    assert ticks(0.013, 0.047, 5) == [0.02, 0.03, 0.04]
    np.testing.assert_allclose(smoothed(np.array([1.0, 2.0, np.nan, 4.0])), [1.0, 1.5, 3.0, 4.0])
    assert "no finite number" in svg(Chart("loss", "", "", (Curve("y", np.arange(2.0), np.full(2, np.nan)),)))
