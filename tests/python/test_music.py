"""Polyphonic music: the loader, the model, its command; the same bits everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_interface import CModel, CStream
from numeric_data import chords, inside, write_music

from rnncore import Generator, data, models
from rnncore.data.music import KEYS, pad, transposed
from rnncore.models import PolyphonicMusic
from rnncore.models.music import MusicBatch
from rnncore.train import TrainConfig
from rnncore.train.music import MusicBatches, MusicSource, MusicTask


def test_pieces_are_read(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"train": [[[21, 108], [], [-1]]], "test": [chords(4, 0), chords(3, 1)]}))
    train, test = data.read_music(file), data.read_music(file, "test")
    assert [np.flatnonzero(step).tolist() for step in train.rolls[0]] == [[0, 87], [], []]
    assert (len(test), test.steps) == (2, 7)
    assert data.piece_of(test.rolls[0]) == chords(4, 0)
    file.write_text(json.dumps([chords(4, 2)]))
    assert data.piece_of(data.read_music(file, "test").rolls[0]) == chords(4, 2)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ('{"train": [[[60], [61],]]}', r"x.json, line 1: expected JSON"),
        ('{"valid": []}', r"part: expected valid, got 'train'"),
        ('{"train": []}', r"a list of pieces"),
        ('{"train": [[[60], [61]], [[60], [109]]]}', r"piece 1, step 1: expected pitches of 21 to 108, got 109"),
        ('{"train": [[[60], 61]]}', r"piece 0, step 1: expected a list of pitches, got int"),
        ('{"train": [[[60], [60.5]]]}', r"step 1: expected pitches"),
        ('{"train": [[[60], [Infinity]]]}', r"step 1: expected pitches of 21 to 108, got inf"),
        ('{"train": [[[60], [NaN]]]}', r"step 1: expected pitches of 21 to 108, got nan"),
        ('{"train": [[[60]]]}', r"piece 0: expected a list of at least two steps, got 1 steps"),
    ],
)
def test_what_is_malformed_is_named(tmp_path: Path, content: str, error: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=error):
        data.read_music(tmp_path / "x.json")


def test_malformed_pieces_are_skipped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"train": [chords(3, 0), [[1], [2]], "no", chords(5, 1)]}))
    music = data.read_music(tmp_path / "x.json", skip_malformed=True)
    assert (len(music), music.steps, music.skipped) == (2, 8, 2)


def test_transposition_stays_on_the_keyboard() -> None:
    roll = data.roll_of([[22, 60], [61]])
    assert data.piece_of(transposed(roll, 2)) == [[24, 62], [63]]
    assert data.piece_of(transposed(roll, -2)) == [[22, 60], [61]]


def some(*lengths: int) -> MusicBatch:
    return MusicBatch(*pad([data.roll_of(chords(length, n)) for n, length in enumerate(lengths)]))


def model_of(**options: Any) -> PolyphonicMusic:
    return PolyphonicMusic(**{"hidden_size": 12, "generator": Generator(1), **options})


def test_the_loss_is_the_likelihood_of_what_sounds_next() -> None:
    model, batch = model_of(dtype="float64"), some(9, 5)
    total = 0.0
    for n, length in enumerate(batch.lengths):
        y = model(batch.x[: length - 1, n : n + 1])[0].numpy()[:, 0]
        p = 1 / (1 + np.exp(-y))
        x = batch.x[1:length, n]
        total -= (x * np.log(p) + (1 - x) * np.log(1 - p)).sum()
    np.testing.assert_allclose(model.total(batch).item(), total, rtol=1e-10)
    np.testing.assert_allclose(model.loss(batch).item(), total / (8 + 4), rtol=1e-10)
    score = model.score([data.roll_of(chords(9, 0)), data.roll_of(chords(5, 1))])
    np.testing.assert_allclose(score["loss"], total / 12, rtol=1e-6)
    alone = [model.score([data.roll_of(chords(n, k))])["loss"] for k, n in enumerate((9, 5))]
    np.testing.assert_allclose(score["by_piece"], np.mean(alone), rtol=1e-6)


def test_padding_counts_nothing() -> None:
    model = model_of()
    batch = some(9, 5)
    batch.x[5:, 1] = 1.0
    assert model.total(batch).item() == pytest.approx(model.total(some(9, 5)).item(), rel=1e-6)


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    music = data.Music([data.roll_of(chords(6 + n, n)) for n in range(5)])
    batches = MusicBatches(music, MusicSource("", transpose=3), TrainConfig(epochs=1, batch=2, seed=3))
    assert len(batches) == 3
    assert sum(batches.batch(0, index).items for index in range(3)) == music.steps - 5
    assert batches.batch(4, 1).x.tobytes() == batches.batch(4, 1).x.tobytes()
    assert any(batches.batch(0, i).x.shape != batches.batch(1, i).x.shape for i in range(3))


def test_batches_hold_pieces_of_about_equal_lengths() -> None:
    lengths = np.random.default_rng(0).integers(20, 140, 229)
    music = data.Music([data.roll_of(chords(int(length), 0)) for length in lengths])
    batches = MusicBatches(music, MusicSource(""), TrainConfig(epochs=1, batch=8))
    assert batches.padding < 0.05
    assert sum(batches.batch(2, index).items for index in range(len(batches))) == lengths.sum() - 229


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn-tanh"])
def test_save_load_and_cpp_give_the_same_bits(tmp_path: Path, cell: str, dtype: str) -> None:
    path, x = tmp_path / "model.safetensors", some(9, 7).x.astype(dtype)
    model = model_of(cell=cell, dtype=dtype, num_layers=2, dropout=0.5, same_mask=True)
    model.save(path)
    loaded = models.load(path)
    assert isinstance(loaded, PolyphonicMusic)
    assert loaded.to_dict() == model.to_dict()
    with model.evaluating(), loaded.evaluating():
        want = model(x)[0].numpy()
        assert loaded(x)[0].numpy().tobytes() == want.tobytes()
    assert loaded.play(x[:, 0], 5).tobytes() == model.play(x[:, 0], 5).tobytes()
    native = CModel(path)
    assert native.info.kind == b"multilabel"
    assert native.forward(x).tobytes() == want.tobytes()
    stream = CStream(native, 2)
    assert all(stream.step(x[t]).tobytes() == want[t].tobytes() for t in range(len(x)))


def test_every_part_is_in_the_fingerprint() -> None:
    one, two = (data.Music([data.roll_of(chords(6, n))]) for n in (0, 1))
    parts = [(one, one, one), (two, one, one), (one, two, one), (one, one, two)]
    assert len({MusicTask(*each, MusicSource("")).fingerprint for each in parts}) == len(parts)


def test_eval_skips_malformed_pieces_as_training_did(tmp_path: Path) -> None:
    pieces = [chords(6, 0), [[1], [2]], chords(8, 1)]
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"train": pieces, "valid": pieces, "test": pieces}))
    small = ["--hidden", "4", "--steps", "1"]
    inside("train", "music", "--data", file, "--skip-malformed", *small, "--out", tmp_path / "run")
    scores = json.loads(inside("eval", tmp_path / "run", "--data", file, "--json"))
    assert (scores["pieces"], scores["steps"]) == (2, 14)


def test_a_backward_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="would read what is to be told"):
        PolyphonicMusic(bidirectional=True)


def test_the_command_learns_and_plays(tmp_path: Path) -> None:
    file = write_music(tmp_path / "chords.json")
    output = inside(
        "train", "music", "--data", file, "--hidden", "24", "--dropout", "0.1", "--batch", "4", "--epochs", "50",
        "--lr", "0.02", "--out", tmp_path / "run",
    )  # fmt: skip
    assert "12 pieces, 210 steps, to train on, 3 to validate on, 3 to test" in output
    scores = json.loads(inside("eval", tmp_path / "run", "--data", file, "--json"))
    assert f"test: {scores['nats_per_step']:.4f} nats a step (mean over steps" in output
    assert scores["nats_per_step"] < 2.0, "always the mean of the three chords: 6.6"
    assert "multilabel" in inside("info", tmp_path / "run")
    played = json.loads(inside("predict", tmp_path / "run", given=json.dumps(chords(6, 0)) + "\n"))
    known = [set(chord) for chord in chords(3, 0)]
    assert len(played) == 32
    assert np.mean([any(set(step) == chord for chord in known) for step in played[:8]]) > 0.5
    assert "line 1" in inside("predict", tmp_path / "run", given="[[1], [2]]\n", fails=True)
    assert KEYS == 88
