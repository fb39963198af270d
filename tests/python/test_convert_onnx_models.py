"""Whole models written as ONNX: every kind, pooling and softmax, computed by ONNX Runtime as by rnncore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_exports import WORDS, I, N, T, inputs_for, runner

import rnncore
from rnncore import convert, models, nn
from rnncore.data import Vocabulary
from rnncore.models.classifier import ClassifierBatch
from rnncore.models.tagger import TaggerBatch

onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize("tied", [False, True])
def test_language_models(tied: bool, tmp_path: Path) -> None:
    vocabulary = Vocabulary.build("abcdef!", level="char")
    model = models.LanguageModel(vocabulary=vocabulary, hidden_size=8, num_layers=2, tie_weights=tied).eval()
    path = tmp_path / "lm.onnx"
    proto = convert.to_onnx(model, path)
    ids = np.random.default_rng(0).integers(0, 7, (5, 3))
    states = {name: np.zeros((2, 3, 8), np.float32) for name in ("h_0", "c_0")}
    logits, (h, c) = model(ids)
    got = convert.from_onnx(path).run(ids, **states)
    for mine, same in zip(got, (logits, h, c), strict=True):
        np.testing.assert_array_equal(mine, same.numpy())
    convert.verify(list(runner(proto)({"input": ids, **states}).values()), [logits, h, c], tolerance=2e-6)
    assert "rnncore.vocabulary" in {entry.key for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize("opset", [17, 21])
@pytest.mark.parametrize("lengths", [False, True], ids=["", "lengths"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("words", [True, False], ids=["words", "features"])
def test_classifiers(words: bool, pooling: str, lengths: bool, opset: int) -> None:
    """With lengths padded steps do not count; without, the second answer would be another."""
    table, size = (WORDS, 0) if words else (None, I)
    model = models.Classifier(
        table, ["a", "b", "c"], input_size=size, embedding_size=4, hidden_size=5, num_layers=2, pooling=pooling
    ).eval()
    proto = convert.to_onnx(model, opset=opset, lengths=lengths)
    inputs = {name: value * ("_0" not in name) for name, value in inputs_for(proto).items()}
    given = {"ids" if words else "x": inputs["input"]}
    real = np.array(inputs.get("lengths", [T, T]), np.int64)
    wanted = model(ClassifierBatch(real, **given))
    got = runner(proto)(inputs)["output"]
    assert got.shape == (N, 3)
    convert.verify(got, wanted, tolerance=2e-6)
    convert.verify(convert.from_onnx(proto).run(**inputs)[0], wanted, tolerance=2e-6)
    if lengths:
        unpadded = model(ClassifierBatch(np.array([T, T]), **given)).numpy()
        assert np.abs(unpadded[1] - got[1]).max() > 1e-3  # the lengths matter
    facts = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert facts["rnncore.labels"] == ["a", "b", "c"]
    assert ("rnncore.vocabulary" in facts) == words


def test_taggers_forecasters_music_and_speech() -> None:
    tagger = models.Tagger(WORDS, ["O", "B-x", "I-x"], embedding_size=4, hidden_size=5).eval()
    forecaster = models.Forecaster(["x", "y"], block=2, hidden_size=5, num_layers=2, separate=False).eval()
    music, speech = models.PolyphonicMusic(hidden_size=6), models.Transcriber(["a", "b"], hidden_size=4)
    for model, of in ((tagger, 0), (forecaster, 1), (music.eval(), 1), (speech.eval(), 1)):
        proto = convert.to_onnx(model, lengths=True)
        inputs = {name: value * ("_0" not in name) for name, value in inputs_for(proto).items()}
        ids, lengths = inputs["input"], np.array(inputs["lengths"], np.int64)
        wanted = model(TaggerBatch(ids, lengths)) if of == 0 else model(ids, lengths=lengths)[0]
        convert.verify(runner(proto)(inputs)["output"], wanted, tolerance=2e-6)
    facts = {entry.key: json.loads(entry.value) for entry in convert.to_onnx(forecaster).metadata_props}
    assert facts["rnncore.columns"] == ["x", "y"]


SOFTMAXES: list[dict[str, Any]] = [
    {"softmax": "adaptive", "cutoffs": (10, 20)},
    {"softmax": "adaptive", "cutoffs": (10, 20), "tie_weights": True, "projection_size": 4},
    {"softmax": "class", "tie_weights": True, "projection_size": 4},
    {"softmax": "adaptive", "cutoffs": (6,), "div_value": 1.5, "projection_size": 3},
    {"softmax": "class"},
    {"softmax": "class", "cutoffs": (0,)},
    {"softmax": "sampled"},
    {"softmax": "nce", "projection_size": 5},
]


@pytest.mark.parametrize("options", SOFTMAXES, ids=str)
def test_softmaxes_give_exact_log_probabilities(options: dict[str, Any]) -> None:
    model = models.LanguageModel(vocab_size=50, embedding_size=4, hidden_size=8, num_layers=1, **options).eval()
    proto = convert.to_onnx(model)
    inputs = {name: value * ("_0" not in name) for name, value in inputs_for(proto).items()}
    got = runner(proto)(inputs)["output"]
    wanted, _ = model(inputs["input"])
    convert.verify(got, wanted, tolerance=2e-6)
    if options["softmax"] in ("adaptive", "class"):
        np.testing.assert_allclose(np.exp(got.astype(np.float64)).sum(axis=2), 1.0, rtol=1e-6)
    convert.verify(convert.from_onnx(proto).run(**inputs)[0], wanted, tolerance=2e-6)
    head = convert.to_onnx(model.head)  # the layer alone
    x = np.random.default_rng(0).standard_normal((3, 2, model.config.head_inputs)).astype(np.float32)
    name = head.graph.input[0].name
    convert.verify(runner(head)({name: x})["output"], models.output_layer.logits(model.head, rnncore.tensor(x)))


def test_a_language_model_with_learnt_states_streams() -> None:
    model = models.LanguageModel(
        vocabulary=WORDS, hidden_size=8, num_layers=2, learn_initial_state=True, connection="residual"
    ).eval()
    for name, value in model.state_dict().items():
        if "_0_l" in name:
            nn.init.normal_(value, generator=rnncore.Generator(5))
    run = runner(convert.to_onnx(model))
    ids = np.random.default_rng(0).integers(0, 7, (5, 3))
    state = {name: np.full((2, 3, 8), 9, np.float32) for name in ("h_0", "c_0")}
    pieces = []
    for at in range(5):
        begins = np.full(3, at == 0)
        after = run({"input": ids[at : at + 1], "begins": begins, **state})
        state = {"h_0": after["h_n"], "c_0": after["c_n"]}
        pieces.append(after["output"])
    convert.verify(np.concatenate(pieces), model(ids)[0], tolerance=2e-6)


def test_a_run_is_converted_with_all_its_pooling(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from rnncore.cli.app import app

    model = models.Classifier(WORDS, ["a", "b"], hidden_size=5)
    model.save(tmp_path / "m.safetensors")
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "m.safetensors"), str(tmp_path / "m.onnx")])
    assert result.exit_code == 0, result.output
    ids = np.random.default_rng(0).integers(0, 7, (T, N))
    zeros = np.zeros((2, N, 5), np.float32)
    got = runner(onnx.load(tmp_path / "m.onnx"))({"input": ids, "h_0": zeros, "c_0": zeros})["output"]
    convert.verify(got, model.eval()(ClassifierBatch(np.array([T, T]), ids)), tolerance=2e-6)
    chain = convert.load_chain(tmp_path / "m.safetensors")
    assert chain.facts["labels"] == ["a", "b"]
    convert.save_chain(chain, tmp_path / "again.safetensors")
    again = convert.load_chain(tmp_path / "again.safetensors")
    np.testing.assert_array_equal(again(ids).numpy(), chain(ids).numpy())
    assert (again.kind, again.facts) == ("classifier", chain.facts)
