"""Models that Python made, run through the C interface: the same ids, texts and numbers, to the bit."""

from __future__ import annotations

import ctypes as c
import importlib.util
import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_interface import ARGUMENT, FUNCTIONS, IO, LIBRARY, NUMERIC, TYPE, CFailure, CModel, CStream, address, call
from hypothesis import given, settings
from hypothesis import strategies as st
from language_models import CELLS, small_model, some_text

import rnncore
from rnncore import Generator, _core, no_grad
from rnncore.data import TextCorpus, Vocabulary
from rnncore.generate import SamplingOptions, generate
from rnncore.models import LanguageModel
from rnncore.train import TrainConfig, Trainer

HEADER = Path(__file__).resolve().parents[2] / "cpp" / "include" / "rnncore" / "c_api.h"


@pytest.fixture(scope="module")
def corpus() -> TextCorpus:
    return TextCorpus.from_text(some_text(3000) + "é€🙂" * 20)


def in_c(model: LanguageModel, folder: Path) -> CModel:
    model.save(folder / "model.safetensors")
    return CModel(folder / "model.safetensors")


def test_every_function_of_the_header_is_declared_here() -> None:
    declared = re.findall(r"^RNNCORE_C_FUNCTION .*?\brnncore_(\w+)\(", HEADER.read_text(), re.MULTILINE)
    assert sorted(declared) == sorted(FUNCTIONS)
    assert LIBRARY.rnncore_version().decode() == rnncore.__version__


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "options", [{}, {"tie_weights": True, "num_layers": 2, "dtype": "float64"}, {"projection_size": 5}]
)
def test_a_language_model_has_the_same_bits(tmp_path: Path, corpus: TextCorpus, cell: str, options: Any) -> None:
    model = small_model(corpus, cell=cell, **options)
    other = in_c(model, tmp_path)
    ids = np.random.default_rng(1).integers(0, len(corpus.vocabulary), (9, 3))
    with model.evaluating():
        logits = model(ids)[0].numpy()
    assert other.forward(ids).tobytes() == logits.tobytes()
    stream = CStream(other, 3)
    assert b"".join(stream.step(row).tobytes() for row in ids) == logits.tobytes()
    tokens = corpus.train[:1200]
    assert other.score(tokens) == model.score(tokens)[0]
    assert other.log_prob("To be 🙂", "\n") == model.log_prob("To be 🙂", start="\n")
    assert other.log_prob("To be") == model.log_prob("To be")


def levels() -> dict[str, TextCorpus]:
    """A text of 3000 characters at every level."""
    sizes: dict[Any, int | None] = {"char": None, "byte": None, "word": 300, "subword": 300}
    names = [name for name in sizes if name != "subword" or importlib.util.find_spec("tokenizers")]
    return {name: TextCorpus.from_text(some_text(3000), level=name, max_size=sizes[name]) for name in names}


WORDS: dict[str, dict[str, Any]] = {
    "full": {},
    "tied": {"tie_weights": True, "embedding_size": 12},
    "adaptive": {"softmax": "adaptive", "cutoffs": [20, 60]},
    "adaptive, tied": {"softmax": "adaptive", "cutoffs": [20, 60], "tie_weights": True, "embedding_size": 12},
    "class, tied": {"softmax": "class", "tie_weights": True, "embedding_size": 12},
    "adaptive, projections of one size": {"softmax": "adaptive", "div_value": 1.0},
    "class": {"softmax": "class"},
    "sampled": {"softmax": "sampled", "samples": 10},
    "nce": {"softmax": "nce", "samples": 10, "tie_weights": True},
    "linear layer before the softmax": {"projection_size": 7},
    "the same, adaptive": {"projection_size": 16, "softmax": "adaptive"},
    "the same, tied": {"projection_size": 8, "embedding_size": 8, "tie_weights": True},
    "narrow last layer": {"num_layers": 3, "narrow_last": True, "embedding_size": 8, "tie_weights": True},
    "residual": {"num_layers": 3, "connection": "residual"},
    "highway": {"num_layers": 3, "connection": "highway"},
    "dense": {"num_layers": 3, "connection": "dense"},
    "learnt initial state": {"learn_initial_state": True, "init": "orthogonal"},
    "dropout of every kind": {"num_layers": 2, "dropout": 0.4, "variational": True, "weight_drop": 0.3,
                              "embedding_dropout": 0.2, "activation_penalty": 1.0, "temporal_penalty": 1.0},
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WORDS)
def test_every_softmax_and_wiring_scores_and_samples_the_same(tmp_path: Path, name: str, dtype: str) -> None:
    """After a little training, so that what a file may lose (a tied weight, an initial state) is not where it began."""
    corpus = TextCorpus.from_text(some_text(3000), level="word", max_size=150)
    for cell in CELLS if name in ("full", "tied", "adaptive") else ("lstm", "gru"):
        model = small_model(corpus, cell=cell, dtype=dtype, **WORDS[name])
        Trainer(model, corpus, TrainConfig(steps=3, batch=4, bptt=10, lr=0.05)).fit()
        other = in_c(model, tmp_path)
        same_numbers(model, other, corpus)


@pytest.mark.parametrize("level", levels())
def test_every_level_scores_and_samples_the_same(tmp_path: Path, level: str) -> None:
    corpus = levels()[level]
    model = small_model(corpus, num_layers=2)
    other = in_c(model, tmp_path)
    same_numbers(model, other, corpus)
    assert bool(other.info.has_vocabulary) == (level != "subword")
    if level != "subword":
        assert other.generate("the ", length=30) == generate(model, "the ", length=30)[0].text
        assert other.log_prob("First") == model.log_prob("First")
        return
    with pytest.raises(CFailure, match="vocabulary"):
        other.generate("the ")
    with pytest.raises(CFailure, match="vocabulary"):
        other.generate_ids([1], stop=b"x")


def same_numbers(model: LanguageModel, other: CModel, corpus: TextCorpus) -> None:
    """Logits of sequences and of streams, scores and samples, to the bit."""
    ids = np.random.default_rng(1).integers(0, len(corpus.vocabulary), (6, 2))
    with model.evaluating():
        logits = model(ids)[0].numpy()
    assert other.forward(ids).tobytes() == logits.tobytes()
    stream = CStream(other, 2)
    assert b"".join(stream.step(row).tobytes() for row in ids) == logits.tobytes()
    tokens = corpus.train[:300].astype(np.int64)
    assert other.score(tokens) == model.score(tokens)[0]
    prompt = corpus.vocabulary.decode(tokens[:5])
    for seed, options in ((0, {}), (3, {"temperature": 0.7, "top_k": 9})):
        want = generate(model, prompt, length=20, options=SamplingOptions(**options), seed=seed)[0]
        begin = corpus.vocabulary.encode(prompt, end_line=False)
        assert other.generate_ids(begin, length=20, seed=seed, **options) == list(want.tokens)


def test_one_state_goes_to_many_streams(tmp_path: Path, corpus: TextCorpus) -> None:
    model = small_model(corpus, num_layers=2)
    other = in_c(model, tmp_path)
    one, many = CStream(other), CStream(other, 3)
    for row in corpus.train[:7]:
        one.step([row])
    state = np.empty(LIBRARY.rnncore_stream_state_bytes(one.handle), np.uint8)
    call("stream_save_one", one.handle, 0, address(state))
    for n in (0, 2):
        call("stream_restore_one", many.handle, n, address(state))
    rows, wanted = many.step([3, 3, 3]), one.step([3])
    assert rows[0].tobytes() == rows[2].tobytes() == wanted[0].tobytes() != rows[1].tobytes()
    for name in ("stream_save_one", "stream_restore_one"):
        with pytest.raises(CFailure, match="no such stream"):
            call(name, many.handle, 3, address(state))


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.7}, {"temperature": 0.0}, {"top_k": 3}, {"top_p": 0.6}, {"top_k": 9, "top_p": 0.9}],
)
@pytest.mark.parametrize("prompt", ["", "ROMEO:"])
def test_generation_is_the_same(tmp_path: Path, corpus: TextCorpus, prompt: str, options: dict[str, Any]) -> None:
    model = small_model(corpus, num_layers=2)
    other = in_c(model, tmp_path)
    for seed in (0, 7):
        want = generate(model, prompt, length=60, options=SamplingOptions(**options), stop=["e"], seed=seed)[0]
        assert other.generate(prompt, length=60, stop=b"e", seed=seed, **options) == want.text
        want = generate(model, prompt, length=60, options=SamplingOptions(**options), seed=seed)[0]
        assert other.generate(prompt, length=60, seed=seed, **options) == want.text


VOCABULARIES = {
    "char": Vocabulary.build("aàé €🙂\n\tbc", level="char"),
    "char-unknown": Vocabulary("char", ["<unk>", "a", "é", "\n"], "<unk>"),
    "byte": Vocabulary.build("", level="byte"),
    "word": Vocabulary.build("the cat sat\non the mat é 🙂\n", level="word"),
    "word-strict": Vocabulary("word", ["<eos>", "a", "b", "é"]),
}


@pytest.fixture(scope="module", params=list(VOCABULARIES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Vocabulary, CModel]:
    vocabulary = VOCABULARIES[request.param]
    model = LanguageModel(vocabulary=vocabulary, hidden_size=2, num_layers=1)
    return vocabulary, in_c(model, tmp_path_factory.mktemp("vocabulary"))


# Text made of what is known, of every kind of white space, and of anything else.
PIECES = st.sampled_from(
    [*"aàé€🙂bc \n\t\r\v\f", "the", "cat", "<eos>", "<unk>", "\x1c", "\x85", "\xa0", "\u2003", "\u200b"]
)
TEXTS = st.one_of(st.lists(PIECES, max_size=12).map("".join), st.text(max_size=8))


@settings(max_examples=150, deadline=None)
@given(text=TEXTS, end_line=st.booleans())
def test_encoding_is_the_same(pair: tuple[Vocabulary, CModel], text: str, end_line: bool) -> None:
    vocabulary, model = pair
    try:
        want, refusal = vocabulary.encode(text, end_line=end_line).tolist(), ""
    except ValueError as error:
        want, refusal = [], str(error)
    if not refusal:
        assert model.encode(text.encode(), end_line=end_line) == want
        return
    with pytest.raises(CFailure) as caught:
        model.encode(text.encode(), end_line=end_line)
    assert caught.value.status == ARGUMENT
    assert str(caught.value).split(", got")[0] == refusal.split(", got")[0]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_decoding_is_the_same(pair: tuple[Vocabulary, CModel], data: st.DataObject) -> None:
    vocabulary, model = pair
    # Bytes at the borders of UTF-8's ranges come often.
    border = st.sampled_from([0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4])
    anything = st.integers(0, len(vocabulary) - 1)
    ids = data.draw(st.lists(st.one_of(anything, border) if vocabulary.level == "byte" else anything, max_size=10))
    assert model.decode(ids).decode() == vocabulary.decode(ids)


def feature_model(folder: Path, kind: str, dtype: str = "float32", **options: Any) -> tuple[Path, Any]:
    """A model of features with random parameters, and a function that computes it by the Python modules' engine."""
    recurrent = _core.RecurrentSpec("lstm", 3, [4, 5], bidirectional=options.pop("bidirectional", False))
    spec = _core.ModelSpec(kind=kind, recurrent=recurrent, output_size=2, **options)
    generator, parameters = Generator(3), {}
    for name, shape, _ in spec.parameters():
        parameters[name] = rnncore.zeros(*shape, dtype=dtype)
        generator.uniform_(parameters[name], -0.5, 0.5)
    path = folder / f"{kind}.safetensors"
    _core.save_model(path, spec, parameters)

    def outputs(x: Any) -> Any:
        stack = [parameters[name] for name in parameters if name.startswith("rnn.")]
        with no_grad():
            y = _core.recurrent(recurrent, stack, rnncore.Tensor(x))[0]
            return _core.linear(y, parameters["head.weight"], parameters["head.bias"]).numpy()

    return path, outputs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_forecaster_steps_as_it_runs(tmp_path: Path, dtype: str) -> None:
    path, outputs = feature_model(tmp_path, "forecaster", dtype)
    model = CModel(path)
    assert model.info.kind == b"forecaster"
    assert (model.info.vocab_size, model.info.input_size, model.info.output_size, model.info.num_layers) == (0, 3, 2, 2)
    x = np.random.default_rng(1).normal(size=(6, 2, 3)).astype(dtype)
    want = outputs(x)
    assert model.forward(x).tobytes() == want.tobytes()
    stream = CStream(model, 2)
    for t in range(3):
        assert stream.step(x[t]).tobytes() == want[t].tobytes()
    state = np.empty(LIBRARY.rnncore_stream_state_bytes(stream.handle), np.uint8)
    call("stream_save", stream.handle, address(state))
    ahead = [stream.step(row) for row in x[3:]]
    call("stream_restore", stream.handle, address(state))
    for t in range(3, 6):
        assert stream.step(x[t]).tobytes() == ahead[t - 3].tobytes() == want[t].tobytes()
    call("stream_reset_one", stream.handle, 1)
    assert stream.step(x[0])[1].tobytes() == want[0, 1].tobytes()
    call("stream_reset", stream.handle)
    assert stream.step(x[0]).tobytes() == want[0].tobytes()


def test_a_classifier_gives_one_output_a_sequence(tmp_path: Path) -> None:
    path, _ = feature_model(tmp_path, "classifier", pooling="last", bidirectional=True)
    model = CModel(path)
    x = np.random.default_rng(2).normal(size=(5, 2, 3)).astype(np.float32)
    together = model.forward(x, lengths=[5, 3])
    assert together.shape == (2, 2)
    assert together[1].tobytes() == model.forward(x[:3, 1:]).tobytes()
    assert json.loads(LIBRARY.rnncore_model_spec_json(model.handle))["model"]["pooling"] == "last"
    with pytest.raises(CFailure, match="bidirectional"):
        CStream(model)


def test_failures_have_a_status_and_a_message(tmp_path: Path, corpus: TextCorpus) -> None:
    def failure(name: str, *arguments: Any) -> tuple[int, str]:
        with pytest.raises(CFailure) as caught:
            call(name, *arguments)
        return caught.value.status, str(caught.value)

    handle = c.c_void_p()
    out, ids = np.empty(200, np.float32), np.zeros(4, np.int64)
    missing = failure("model_load", str(tmp_path / "none").encode(), c.byref(handle))
    assert missing[0] == IO
    assert "No such file" in missing[1]
    assert failure("model_parse", b"words, no model", 15, c.byref(handle))[0] == IO
    assert handle.value is None
    assert failure("model_load", None, c.byref(handle)) == (
        ARGUMENT,
        "[rnncore_model_load] path: expected a pointer, got null",
    )
    model = in_c(small_model(corpus), tmp_path)
    assert failure("model_forward", model.handle, address(out), 1, 1, None, address(out))[0] == TYPE
    assert failure("model_forward_ids", model.handle, address(ids), 0, 1, None, address(out))[0] == ARGUMENT
    ids[0] = 10**6
    assert failure("model_forward_ids", model.handle, address(ids), 4, 1, None, address(out))[0] == ARGUMENT
    assert failure("stream_create", model.handle, 0, c.byref(handle))[0] == ARGUMENT
    stream = CStream(model)
    assert failure("stream_step", stream.handle, address(out), address(out))[0] == TYPE
    assert failure("stream_step_ids", stream.handle, address(ids), address(out))[0] == TYPE
    assert failure("stream_reset_one", stream.handle, 1)[0] == ARGUMENT
    with pytest.raises(CFailure, match="temperature"):
        model.generate("a", temperature=-1.0)
    with pytest.raises(CFailure, match=r"U\+4E2D"):
        model.encode("中".encode())
    bad = small_model(corpus)
    with no_grad():
        bad.head.bias.fill_(float("nan"))
    with pytest.raises(CFailure, match="sample") as caught:
        in_c(bad, tmp_path).generate("a")
    assert caught.value.status == NUMERIC


def test_each_thread_has_its_own_error() -> None:
    handle, seen = c.c_void_p(), []
    LIBRARY.rnncore_model_load(b"/none", c.byref(handle))

    def other() -> None:
        seen.append(LIBRARY.rnncore_last_error())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [b""]
    assert b"/none" in LIBRARY.rnncore_last_error()
