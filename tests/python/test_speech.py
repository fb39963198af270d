"""Speech: WAV files, features against their definition, transcription, the command."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_interface import CModel
from numeric_data import inside, tone, write_speech, write_wav

from rnncore import Generator, data, metrics, models
from rnncore.data import AcousticFeatures
from rnncore.data.audio import join
from rnncore.models import Transcriber
from rnncore.train import TrainConfig
from rnncore.train.speech import SpeechBatches, SpeechSource, SpeechTask, frames_of

SMALL = {"hidden_size": 8, "num_layers": 1, "generator": Generator(1), "features": {"step": 0.02, "window": 0.04}}


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_wav_files_of_any_width(tmp_path: Path, width: int) -> None:
    samples = np.array([0.0, 0.5, -0.5, 0.25, -0.75, 0.125])
    read, rate = data.read_wav(write_wav(tmp_path / "x.wav", samples, rate=16000, width=width))
    assert rate == 16000
    np.testing.assert_allclose(read, samples, atol=0.01 if width == 1 else 2.0 ** (-8 * width + 1))
    both, _ = data.read_wav(write_wav(tmp_path / "y.wav", samples, width=width, channels=2))
    np.testing.assert_allclose(both, samples.reshape(-1, 2).mean(axis=1), atol=0.01)


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"RIFF", "cut|uncompressed"), (b"no sound at all", "an uncompressed WAV file"), (b"", "WAV")],
)
def test_what_is_no_wav_file(tmp_path: Path, content: bytes, error: str) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(ValueError, match=error) as caught:
        data.read_wav(tmp_path / "x.wav")
    assert "x.wav" in str(caught.value)


def test_folders_and_archives(tmp_path: Path) -> None:
    folder = write_speech(tmp_path / "all" / "train", 2)
    (folder / "notes.txt").write_text("no recording")
    speech = data.read_speech(folder)
    assert (len(speech), speech.speakers) == (8, ["ann", "bob"])
    assert [(u.text, u.speaker) for u in speech.utterances[:3]] == [("a", "ann"), ("a", "ann"), ("a", "bob")]
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "all", arcname="all")
    packed = data.read_speech(tmp_path / "all.tar.gz" / "all" / "train")
    assert [u.samples.tobytes() for u in packed.utterances] == [u.samples.tobytes() for u in speech.utterances]
    assert len(data.read_speech(tmp_path / "all.tar.gz")) == 8
    with pytest.raises(ValueError, match="WAV files, got none"):
        data.read_speech(tmp_path / "all.tar.gz" / "all" / "test")
    with pytest.raises(OSError, match=r"\[read speech\]"):
        data.read_speech(tmp_path / "none")


def test_names_of_recordings_may_end_in_capitals(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write_wav(folder / "a_ann_0.WAV", tone([500], 0))
    write_wav(folder / "b_ann_0.wav", tone([500], 0))
    assert len(data.read_speech(folder)) == 2
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(folder, arcname="x")
    assert len(data.read_speech(tmp_path / "x.tar")) == 2


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz", ""])
def test_a_cut_archive_is_one_clear_error(tmp_path: Path, mode: str) -> None:
    folder = write_speech(tmp_path / "x", 2)
    path = tmp_path / "x.tar"
    with tarfile.open(path, f"w:{mode}") as tar:  # type: ignore[call-overload]
        tar.add(folder, arcname="x")
    whole = path.read_bytes()
    damaged = [bytearray(whole) for _ in range(4)]
    for at, content in enumerate(damaged):
        content[(at + 1) * len(whole) // 5] ^= 0xFF
    for content in (whole[: len(whole) // 2], whole[:5], *(damaged if mode else [b"no archive"])):
        path.write_bytes(content)
        with pytest.raises(OSError, match=r"\[read speech\] .*x.tar: expected a whole tar archive, got"):
            data.read_speech(path)


def test_malformed_recordings_are_named_or_skipped(tmp_path: Path) -> None:
    folder = write_speech(tmp_path / "x", 1)
    (folder / "b_bob_7.wav").write_bytes(b"RIFFnothing")
    write_wav(folder / "noname.wav", tone([500], 0))
    with pytest.raises(ValueError, match=r"b_bob_7\.wav"):
        data.read_speech(folder)
    speech = data.read_speech(folder, skip_malformed=True)
    assert (len(speech), speech.skipped) == (4, 2)


def test_transcripts(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    write_wav(folder / "1.wav", tone([500], 0))
    write_wav(folder / "2.wav", tone([500], 1))
    table = tmp_path / "said.csv"
    table.write_text('1.wav,"good, morning",ann\n2.wav,evening\n')
    speech = data.read_speech(folder, transcripts=table)
    assert [(u.text, u.speaker) for u in speech.utterances] == [("good, morning", "ann"), ("evening", "")]
    assert data.labels_of(speech.utterances, "word") == ["evening", "good,", "morning"]
    table.write_text("1.wav,one\n2.wav\n")
    with pytest.raises(ValueError, match=r"said.csv, line 2: expected file,text or file,text,speaker"):
        data.read_speech(folder, transcripts=table)
    some = data.read_speech(folder, transcripts=table, skip_malformed=True)
    assert ([u.name for u in some.utterances], some.skipped) == (["1.wav"], 2), "the line, and the file without a text"
    table.write_text("1.wav,one\n2.wav," + "x" * 200_000 + "\n")
    with pytest.raises(
        ValueError, match=r"said.csv, line 2: expected file,text or file,text,speaker, got field larger"
    ):
        data.read_speech(folder, transcripts=table)
    table.write_text("1.wav,one\n")
    with pytest.raises(ValueError, match=r"2\.wav: expected a line with its text"):
        data.read_speech(folder, transcripts=table)


def test_features_are_their_definition() -> None:
    """Straight from the definitions, with a plain discrete Fourier transform and cosine sums."""
    pytest.importorskip("scipy")
    options = AcousticFeatures(deltas=1, normalise=False)
    samples = tone([700.0], 1)[:440]
    frames = options(samples, 8000)
    assert frames.shape == (4, 26)
    signal = np.append(samples[:1], samples[1:] - 0.97 * samples[:-1]).astype(np.float64)
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 28) / 2595) - 1)
    cepstra = []
    for t in range(4):
        part = signal[80 * t : 80 * t + 200] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 199))
        power = [abs(sum(part * np.exp(-2j * np.pi * k * np.arange(200) / 256))) ** 2 / 200 for k in range(129)]
        bands = []
        for b in range(26):
            low, middle, high = edges[b : b + 3]
            weights = [
                max(0.0, min((f - low) / (middle - low), (high - f) / (high - middle))) for f in np.arange(129) * 31.25
            ]
            nearest = int(np.abs(np.arange(129) * 31.25 - middle).argmin())
            weights[nearest] = max(weights[nearest], 0.1)
            bands.append(np.log(np.dot(weights, power) + 1e-8))
        scale = [np.sqrt((1 if k == 0 else 2) / 26) for k in range(13)]
        cosines = [[np.cos(np.pi * k * (2 * b + 1) / 52) for b in range(26)] for k in range(13)]
        cepstra.append([scale[k] * np.dot(cosines[k], bands) for k in range(13)])
    np.testing.assert_allclose(frames[:, :13], cepstra, rtol=1e-4, atol=1e-4)
    around = [cepstra[min(max(t, 0), 3)] for t in range(-2, 6)]
    slopes = [sum(k * (np.array(around[t + 2 + k]) - around[t + 2 - k]) for k in (1, 2)) / 10 for t in range(4)]
    np.testing.assert_allclose(frames[:, 13:], slopes, rtol=1e-3, atol=1e-4)


def test_features_of_any_rate_and_length() -> None:
    pytest.importorskip("scipy")
    features = AcousticFeatures(kind="log-mel", deltas=0)
    slow, fast = features(tone([600], 0), 8000), features(tone([600], 0, rate=16000), 16000)
    assert slow.shape == fast.shape == (13, 26)
    assert features(np.zeros(3, np.float32), 8000).shape == (1, 26)
    np.testing.assert_allclose(slow.mean(axis=0), 0, atol=1e-5)
    loud = AcousticFeatures(kind="log-mel", deltas=0, normalise=False)
    bands = [int(loud(tone([600], 0, rate=rate), rate).mean(axis=0).argmax()) for rate in (8000, 16000)]
    assert bands[0] == bands[1]
    with pytest.raises(ValueError, match=r"kind: expected mfcc \| log-mel"):
        AcousticFeatures(kind="wave")


def test_texts_and_labels() -> None:
    model = Transcriber(["yes", "no"], units="word", **SMALL)
    assert model.encode("no yes  no") == [2, 1, 2]
    assert model.decode([2, 1]) == "no yes"
    with pytest.raises(ValueError, match="got 'maybe'"):
        model.encode("no maybe")
    with pytest.raises(ValueError, match="distinct strings"):
        Transcriber(["a", "a"], **SMALL)


def test_a_batch_says_what_each_of_its_recordings_says_alone() -> None:
    pytest.importorskip("scipy")
    model = Transcriber(list("ab"), **SMALL)
    frames = [model.features(tone([500.0] * n, n), 8000) for n in (1, 3, 2)]
    together = model.transcribe(frames, beam=4)
    assert together == [model.transcribe([one], beam=4)[0] for one in frames]
    batch = model.batch_of(frames, ["a", "aba", "bb"])
    with model.evaluating():
        whole = model.loss(batch).item()
        alone = [
            model.loss(model.batch_of([one], [text])).item()
            for one, text in zip(frames, ["a", "aba", "bb"], strict=True)
        ]
    assert whole == pytest.approx(np.mean(alone), rel=1e-5)


def test_a_recording_needs_frames_for_its_labels() -> None:
    pytest.importorskip("scipy")
    model = Transcriber(list("ab"), **SMALL)
    short = data.Utterance("x.wav", np.zeros(900, np.float32), 8000, "aabb")
    with pytest.raises(ValueError, match=r"x.wav: expected at least 6 frames for 'aabb', got 4"):
        frames_of(model, short)


def test_joined_recordings() -> None:
    one, two = (data.Utterance(text, np.ones(10, np.float32), 100, text, "ann") for text in "ab")
    both = join([one, two], pause=0.05)
    assert (both.text, len(both.samples), both.samples[10:15].sum()) == ("ab", 25, 0)
    assert join([one, two], units="word").text == "a b"


def test_batches_depend_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    speech = data.read_speech(write_speech(tmp_path, 2))
    model = Transcriber(list("ab"), **SMALL)
    config = TrainConfig(epochs=1, batch=3, seed=2)
    source = SpeechSource("", join=3, augment=True)
    first, second = (SpeechBatches(model, speech, config, source) for _ in range(2))
    for epoch, index in ((0, 0), (0, 2), (5, 1)):
        one = first.batch(epoch, index)
        first.batch(epoch, 0)
        two = second.batch(epoch, index)
        assert one.frames.tobytes() == two.frames.tobytes()
        assert one.targets.tolist() == two.targets.tolist()
    assert max(first.batch(0, 0).target_lengths.tolist() + first.batch(0, 1).target_lengths.tolist()) > 1


def test_batches_hold_recordings_of_about_equal_lengths() -> None:
    pytest.importorskip("scipy")
    draw = np.random.default_rng(0)
    sounds = [np.zeros(int(draw.integers(1500, 16000)), np.float32) for _ in range(600)]
    speech = data.Speech([data.Utterance(f"{n}.wav", x, 8000, "a", "ann") for n, x in enumerate(sounds)])
    model, config = Transcriber(list("ab"), **SMALL), TrainConfig(epochs=1, batch=16)
    for source in (SpeechSource(""), SpeechSource("", augment=True, join=2)):
        batches = SpeechBatches(model, speech, config, source)
        assert batches.padding < 0.05
        shares = [batches.batch(1, index).lengths for index in range(0, len(batches), 5)]
        assert 1 - np.mean([lengths.mean() / lengths.max() for lengths in shares]) < 0.05
    seen = sorted(int(n) for part in batches._plan(3)[1] for n in part)
    assert seen == list(range(600))


def test_error_rates() -> None:
    assert metrics.edit_distance("", "abc") == 3
    assert metrics.edit_distance([1, 2, 3], [1, 3]) == 1
    assert metrics.error_rate(["ab", ""], ["ab", "cd"]) == 0.5
    with pytest.raises(ValueError, match="at least one label"):
        metrics.error_rate([""], [""])


def test_held_out_speakers_are_not_trained_on(tmp_path: Path) -> None:
    train, test = write_speech(tmp_path / "train", 4), write_speech(tmp_path / "test", 2)
    source = SpeechSource(str(train), test=str(test), hold_out="bob", valid_fraction=0.25)
    kept, valid, held = source.load()
    assert valid is not None
    assert held is not None
    assert (kept.speakers, valid.speakers, held.speakers) == (["ann"], ["ann"], ["bob"])
    assert (len(kept), len(valid), len(held)) == (9, 3, 12)
    with pytest.raises(ValueError, match=r"hold_out: expected ann \| bob, got 'eve'"):
        SpeechSource(str(train), hold_out="eve").load()


def test_a_held_out_speaker_and_a_validation_folder_go_together(tmp_path: Path) -> None:
    train, other = write_speech(tmp_path / "train", 4), write_speech(tmp_path / "valid", 2)
    for number, folder in enumerate((train, train, other)):
        (folder / f"a_ann_9{number}.wav").write_bytes(b"RIFF")
    source = SpeechSource(str(train), valid=str(other), hold_out="bob", skip_malformed=True)
    kept, valid, held = source.load()
    assert valid is not None
    assert held is not None
    assert (kept.speakers, valid.speakers, held.speakers) == (["ann"], ["ann"], ["bob"])
    assert (len(kept), len(valid), len(held)) == (8, 4, 8 + 4)
    assert "8 recordings (3 malformed files skipped)" in SpeechTask(kept, valid, held, source).describe()
    alone = tmp_path / "alone"
    for file in other.glob("*_bob_*.wav"):
        write_wav(alone / file.name, data.read_wav(file)[0])
    with pytest.raises(ValueError, match=r"hold_out: expected recordings of others in .*alone, got none"):
        SpeechSource(str(train), valid=str(alone), hold_out="bob", skip_malformed=True).load()
    with pytest.raises(ValueError, match=r"hold_out: expected recordings of others in .*alone, got none"):
        SpeechSource(str(alone), hold_out="bob").load()


def test_recordings_of_one_name_are_not_taken_for_each_other() -> None:
    pytest.importorskip("scipy")
    model = Transcriber(list("ab"), **SMALL)
    both = [data.Utterance("x.wav", tone([pitch], 0), 8000, text) for pitch, text in ((500, "a"), (1500, "b"))]
    batches = SpeechBatches(model, data.Speech(both), TrainConfig(epochs=1, batch=1), SpeechSource(""))
    for epoch in (0, 1):
        for index in (0, 1):
            batch = batches.batch(epoch, index)
            said = both[int(batch.targets[0, 0]) - 1]
            np.testing.assert_array_equal(batch.frames[:, 0], model.features(said.samples, said.rate))


@pytest.mark.parametrize("joined", [1, 3])
def test_a_recording_that_just_fits_is_not_made_too_short(joined: int) -> None:
    pytest.importorskip("scipy")
    model = Transcriber(list("ab"), **SMALL)
    tight = data.Utterance("x.wav", tone([500.0], 0)[:810], 8000, "abba"[:3])
    assert len(frames_of(model, tight)) == 4
    assert len(model.features(tight.samples, 8800)) == 3
    tight = data.Utterance("x.wav", tight.samples, 8000, "abab")
    source = SpeechSource("", augment=True, join=joined)
    batches = SpeechBatches(model, data.Speech([tight] * 8), TrainConfig(epochs=1, batch=8), source)
    for epoch in range(4):
        batch = batches.batch(epoch, 0)
        assert (batch.lengths >= batch.target_lengths).all()


def test_all_parts_are_checked_before_training(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    model = Transcriber(list("ab"), **SMALL)
    good = data.read_speech(write_speech(tmp_path, 1))
    source = SpeechSource("")
    unknown = data.Speech([data.Utterance("u.wav", tone([500.0], 0), 8000, "c")])
    short = data.Speech([data.Utterance("s.wav", np.zeros(900, np.float32), 8000, "aabb")])
    SpeechTask(good, good, good, source).check_model(model)
    for bad, error in ((unknown, "got 'c'"), (short, r"s\.wav: expected at least 6 frames")):
        for parts in ((bad, None, None), (good, bad, None), (good, None, bad)):
            with pytest.raises(ValueError, match=error):
                SpeechTask(*parts, source).check_model(model)


def test_every_part_is_in_the_fingerprint(tmp_path: Path) -> None:
    one, two = (data.read_speech(write_speech(tmp_path / str(n), n)) for n in (1, 2))
    parts: list[Any] = [(one, one, one), (two, one, one), (one, two, one), (one, one, two), (one, None, one)]
    assert len({SpeechTask(*each, SpeechSource("")).fingerprint for each in parts}) == len(parts)


def test_eval_reads_recordings_as_training_did(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    folder, table = tmp_path / "x", tmp_path / "said.csv"
    for name in ("1", "2", "3", "4"):
        write_wav(folder / f"{name}.wav", tone([500.0], int(name)))
    (folder / "5.wav").write_bytes(b"RIFF")
    table.write_text("1.wav,a\n2.wav,b\n3.wav,a\n4.wav,b\n")
    inside(
        "train", "speech", "--data", folder, "--transcripts", table, "--skip-malformed", "--hidden", "4", "--layers",
        "1", "--steps", "1", "--out", tmp_path / "run",
    )  # fmt: skip
    scores = json.loads(inside("eval", tmp_path / "run", "--data", folder, "--json"))
    assert scores["recordings"] == 4
    other = tmp_path / "other.csv"
    other.write_text("1.wav,a\n2.wav,b\n")
    scores = json.loads(inside("eval", tmp_path / "run", "--data", folder, "--transcripts", other, "--json"))
    assert scores["recordings"] == 2, "those without a line are skipped, as in training"


def test_save_load_and_cpp_give_the_same_bits(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    path = tmp_path / "model.safetensors"
    model = Transcriber(list("ab"), dropout=0.2, **{**SMALL, "num_layers": 2})
    model.save(path)
    loaded = models.load(path)
    assert isinstance(loaded, Transcriber)
    assert (loaded.labels, loaded.features, loaded.to_dict()) == (model.labels, model.features, model.to_dict())
    batch = model.batch_of([model.features(tone([500] * n, n), 8000) for n in (2, 1)], ["a", "b"])
    with model.evaluating(), loaded.evaluating():
        want = model(batch.frames, lengths=batch.lengths)[0].numpy()
        assert loaded(batch.frames, lengths=batch.lengths)[0].numpy().tobytes() == want.tobytes()
    native = CModel(path)
    assert native.info.kind == b"transcriber"
    got = native.forward(batch.frames, lengths=batch.lengths)
    for n, length in enumerate(batch.lengths):
        assert got[:length, n].tobytes() == want[:length, n].tobytes()


def test_the_command_learns_two_words(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    train, test = write_speech(tmp_path / "train", 8), write_speech(tmp_path / "test", 3)
    output = inside(
        "train", "speech", "--data", train, "--test", test, "--hidden", "16", "--layers", "1", "--epochs", "18",
        "--batch", "8", "--lr", "0.02", "--join", "2", "--augment", "--out", tmp_path / "run",
    )  # fmt: skip
    assert "29 recordings of 2 speakers, 4 s to train on, 3 to validate on" in output
    assert "test: 100.00% without an error, label error rate 0.00%, 12 recordings" in output
    scores: dict[str, Any] = json.loads(inside("eval", tmp_path / "run", "--data", test, "--json"))
    assert (scores["exact"], scores["error_rate"], scores["recordings"]) == (1.0, 0.0, 12)
    assert "2 chars: a b" in inside("info", tmp_path / "run")
    said = write_wav(tmp_path / "say.wav", np.concatenate([tone([500.0], 90), tone([1500.0], 91)]))
    assert inside("predict", tmp_path / "run", given=f"{said}\n") == f"{said}\tab\n"
    assert "line 1" in inside("predict", tmp_path / "run", given="none.wav\n", fails=True)
