"""Runs the C++ examples out of the build folder given, as a user would, and checks what they promise."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from rnncore import Generator
from rnncore.data import Vocabulary
from rnncore.generate import SamplingOptions, generate
from rnncore.models import Classifier, LanguageModel, Tagger

BUILD = Path(sys.argv[1])


def run(name: str, *arguments: object, given: bytes = b"") -> tuple[bytes, str]:
    """Standard output and error of an example that must succeed."""
    command = [str(BUILD / name), *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout, done.stderr.decode()


def text_is_pythons(folder: Path) -> None:
    vocabulary = Vocabulary.build("the quick brown fox jumps over the lazy dog\n")
    model = LanguageModel(vocabulary=vocabulary, hidden_size=16, num_layers=2, generator=Generator(1))
    model.save(folder / "text.safetensors")
    got, _ = run("sample", folder / "text.safetensors", "the ", 80, 0.7, 3)
    want = generate(model, "the ", length=80, options=SamplingOptions(temperature=0.7), seed=3)[0].text
    assert got.decode() == f"the {want}\n"


def labels_are_pythons(folder: Path) -> None:
    texts = ["the quick Fox", "jumps over the LAZY dog", "Ünseen"] * 40
    words = Vocabulary.build("the quick brown fox jumps over the lazy dog", level="word")
    letters = Vocabulary.build("abcdefghijklmnopqrstuvwxyz", unknown=True)
    classes, tags = [f"class {n}" for n in range(5)], ["O", "B-x", "I-x", "B-y", "I-y"]
    path = folder / "labels.safetensors"
    classifier = Classifier(words, classes, hidden_size=8, generator=Generator(1))
    classifier.save(path)
    assert run("label", path, given="\n".join(texts).encode())[0].decode().splitlines() == classifier.predict(texts)
    tagger = Tagger(words, tags, characters=letters, hidden_size=8, crf=True, lower=True, generator=Generator(1))
    tagger.save(path)
    got = run("label", path, given="\n".join(texts).encode())[0].decode().splitlines()
    assert got == [" ".join(tags) for tags in tagger.predict([text.split() for text in texts])]


def a_spike_is_found(folder: Path) -> None:
    noise = random.Random(1)
    wave = [20 + 3 * math.sin(t / 5) + 2 * math.sin(t / 13) + noise.gauss(0, 0.1) for t in range(1500)]
    model = folder / "sensor.safetensors"
    normal = "\n".join(map(str, wave[:1000])).encode()
    output = run("forecaster", model, 150, given=normal)[0].decode()
    ours, repeat = (float(word.rstrip(",")) for word in output.splitlines()[-1].split()[5::5])
    assert ours < 0.5 * repeat, output
    spiked = [value + (4 if i == 400 else 0) for i, value in enumerate(wave[1000:])]
    lines = run("anomaly", model, given="\n".join(map(str, spiked)).encode())[0].decode().splitlines()
    assert len(lines) == 500
    assert [i for i, line in enumerate(lines) if line.endswith("anomaly")] == [400]


def the_effect_is_learnt(folder: Path) -> None:
    model = folder / "effect.safetensors"
    learnt = run("effect", "train", model, 150)[1]
    assert float(learnt.split()[-1]) < 0.1, learnt
    dry = (0.4 * np.random.default_rng(1).normal(size=1000)).astype(np.float32)
    wet, _ = run("effect", "run", model, given=dry.tobytes())
    got, state, want = np.frombuffer(wet, np.float32), 0.0, []
    for sample in dry:
        state += 0.4 * (math.tanh(3 * sample) - state)
        want.append(state)
    assert np.square(got - want)[16:].mean() < 0.1 * np.square(want).mean()


with tempfile.TemporaryDirectory() as name:
    text_is_pythons(Path(name))
    labels_are_pythons(Path(name))
    a_spike_is_found(Path(name))
    the_effect_is_learnt(Path(name))
print("examples: sample, label, forecaster, anomaly and effect do what they promise")
