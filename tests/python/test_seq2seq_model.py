"""The encoder-decoder: beside PyTorch with all gradients, step by step, alone and in a batch, on disk."""

from __future__ import annotations

from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnncore import Generator, Tensor
from rnncore.beam import Sampling
from rnncore.data import Subwords, Vocabulary
from rnncore.models import Captioner, Seq2Seq, load
from rnncore.models.seq2seq import PairBatch
from rnncore.models.translating import Stepper

SOURCES, TARGETS = ["a b c d", "e", "f g a"], ["u", "v w x u", "x x"]


def vocabularies() -> tuple[Vocabulary, Vocabulary]:
    return Vocabulary.build("a b c d e f g\n", level="word"), Vocabulary.build("u v w x\n", level="word")


def small(seed: int = 0, **options: Any) -> Seq2Seq:
    chosen = {"embedding_size": 6, "hidden_size": 8, "dtype": "float64", **options}
    return Seq2Seq(*vocabularies(), generator=Generator(seed), **chosen)


def batch_of(model: Seq2Seq, numbers: slice = slice(None)) -> PairBatch:
    sources = [model.source_ids(text) for text in SOURCES[numbers]]
    return model.batch_of(sources, [model.target_ids(text) for text in TARGETS[numbers]])


VARIANTS = [
    {"cell": cell, "input_feeding": feed, "score": score, "num_layers": layers, "tie_weights": tie}
    for (cell, feed), (score, layers, tie) in product(
        (("gru", False), ("gru", True), ("lstm", False), ("lstm", True)),
        (("bilinear", 1, False), ("additive", 2, True), ("dot", 2, False)),
    )
]


@pytest.mark.parametrize("options", VARIANTS, ids=lambda o: "-".join(str(value) for value in o.values()))
def test_a_text_in_a_batch_is_the_text_alone_and_steps_are_the_whole(options: dict[str, Any]) -> None:
    model = small(**options)
    batch = batch_of(model)
    with model.evaluating():
        logits = model(batch).numpy()
        for n, text in enumerate(TARGETS):
            alone = model(batch_of(model, slice(n, n + 1))).numpy()[:, 0]
            assert np.array_equal(alone, logits[: len(text.split()) + 1, n])
        stepper = Stepper(model, model.encode(batch.source, batch.lengths))
        for t, tokens in enumerate(batch.inputs):
            step = stepper(tokens, np.arange(3))
            np.testing.assert_allclose(step, Tensor(logits[t]).log_softmax(-1).numpy(), atol=1e-13)
    together = model.translate(SOURCES)
    for text, found in zip(SOURCES, together, strict=True):
        [alone] = model.translate([text])
        assert (alone.text, alone.log_prob) == (found.text, found.log_prob)
        assert found.weights.shape == (len(found.target_pieces), len(text.split()) + 1)
        np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize("options", VARIANTS[1::3], ids=lambda o: "-".join(str(value) for value in o.values()))
def test_a_file_gives_the_same_bits(options: dict[str, Any], tmp_path: Path) -> None:
    model = small(dtype="float32", **{**options, "beams": 3, "alpha": 0.5})
    model.training_facts = {"steps": 7}
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert isinstance(again, Seq2Seq)
    assert again.config == model.config
    assert again.training_facts == {"steps": 7}
    with model.evaluating(), again.evaluating():
        assert np.array_equal(model(batch_of(model)).numpy(), again(batch_of(again)).numpy())
    assert [one.log_prob for one in again.translate(SOURCES)] == [one.log_prob for one in model.translate(SOURCES)]
    again.save(tmp_path / "again.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    with pytest.raises(OSError, match="a Captioner, got a Seq2Seq"):
        Captioner.load(tmp_path / "m.safetensors")


def torch_loss(model: Seq2Seq, batch: PairBatch, parameters: dict[str, Any]) -> Any:
    """The same network of PyTorch's modules (GRU, one layer, additive attention, input feeding by a cell)."""
    torch = pytest.importorskip("torch")
    E, H = model.config.embedding_size, model.config.hidden_size  # noqa: N806
    feed = model.config.input_feeding

    def module(made: Any, prefix: str) -> Any:
        def call(*inputs: Any) -> Any:
            own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
            return torch.func.functional_call(made.double(), own, inputs)

        return call

    encoder = module(torch.nn.GRU(E, H // 2, bidirectional=True), "encoder.")
    decoder = module(torch.nn.GRU(E + (H if feed else 0), H), "decoder.")
    embedded = torch.nn.functional.embedding(torch.tensor(batch.source), parameters["source_embedding.weight"])
    lengths = torch.tensor(batch.lengths)
    packed, last = encoder(torch.nn.utils.rnn.pack_padded_sequence(embedded, lengths, enforce_sorted=False))
    memory, _ = torch.nn.utils.rnn.pad_packed_sequence(packed)
    both = torch.cat([last[0], last[1]], 1)
    state = torch.tanh(both @ parameters["bridge_h_l0.weight"].T + parameters["bridge_h_l0.bias"])[None]
    beyond = torch.arange(memory.shape[0])[None, None, :] >= lengths[:, None, None]

    def attend(hidden: Any) -> Any:
        q = hidden.transpose(0, 1) @ parameters["attention.weight_query"].T
        k = memory.transpose(0, 1) @ parameters["attention.weight_key"].T
        scores = torch.tanh(q[:, :, None] + k[:, None]) @ parameters["attention.v"]
        weights = torch.softmax(scores.masked_fill(beyond, -torch.inf), -1)
        context = (weights @ memory.transpose(0, 1)).transpose(0, 1)
        return torch.tanh(torch.cat([context, hidden], 2) @ parameters["combine.weight"].T)

    inputs = torch.nn.functional.embedding(torch.tensor(batch.inputs), parameters["target_embedding.weight"])
    if feed:
        steps, before = [], torch.zeros(1, inputs.shape[1], H, dtype=torch.float64)
        for one in inputs:
            hidden, state = decoder(torch.cat([one[None], before], 2), state)
            before = attend(hidden)
            steps.append(before)
        attended = torch.cat(steps)
    else:
        attended = attend(decoder(inputs, state)[0])
    logits = attended @ parameters["head.weight"].T + parameters["head.bias"]
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.tensor(batch.targets).flatten(), label_smoothing=model.config.label_smoothing
    )


@pytest.mark.parametrize("feed", [False, True])
def test_loss_and_all_gradients_are_pytorchs(feed: bool) -> None:
    torch = pytest.importorskip("torch")
    model = small(score="additive", input_feeding=feed, label_smoothing=0.1)
    batch = batch_of(model)
    loss = model.loss(batch)
    loss.backward()
    parameters = {
        name: torch.tensor(np.array(value.numpy()), requires_grad=True) for name, value in model.named_parameters()
    }
    wanted = torch_loss(model, batch, parameters)
    wanted.backward()
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-12)
    for name, value in model.named_parameters():
        assert value.grad is not None, name
        np.testing.assert_allclose(value.grad.numpy(), parameters[name].grad.numpy(), atol=1e-12, err_msg=name)


def test_one_beam_is_greedy_and_many_are_exact() -> None:
    model = small(score="dot")
    memory = model.read(SOURCES)
    found = model.translate(memory, beams=1, alpha=0.0)
    with model.evaluating():
        stepper, tokens, seen = Stepper(model, memory), np.full(3, model.target.end_id), []
        for _ in range(25):
            tokens = stepper(tokens, np.arange(3)).argmax(1)
            seen.append(tokens)
    for n, best in enumerate(found):
        greedy = [int(step[n]) for step in seen]
        cut = greedy.index(model.target.end_id) + 1 if best.finished else 2 * int(memory.lengths[n]) + 10
        assert best.target_pieces == model.target.pieces(greedy[:cut])
    for narrow, best in zip(found, model.translate(memory, beams=40, alpha=0.0), strict=True):
        assert best.log_prob >= narrow.log_prob - 1e-12


@pytest.mark.parametrize("feed", [False, True])
@pytest.mark.parametrize("options", [{"beams": 4, "alpha": 0.0}, {"sampling": Sampling(seed=5)}])
def test_several_translations_of_a_text_share_what_was_read(feed: bool, options: dict[str, Any]) -> None:
    """From texts or from a memory, with a prefix: log-probabilities are the model's, weights those of each text."""
    model = small(input_feeding=feed, seed=1)
    memory = model.read(SOURCES)
    state = {name: value.numpy().copy() for name, value in memory.state.items()}
    found = model.translations(memory, top=3, prefix="v w", **options)
    again = model.translations(SOURCES, top=3, prefix="v w", batch=2, **options)
    assert [[one.text for one in each] for each in again] == [[one.text for one in each] for each in found]
    assert all(np.array_equal(value.numpy(), state[name]) for name, value in memory.state.items())
    for text, each in zip(SOURCES, found, strict=True):
        assert len(each) == 3
        for one in each:
            assert one.text.startswith("v w")
            assert one.target_pieces[:2] == ["v", "w"]
            assert len(one.log_probs) == len(one.target_pieces) - 2
            assert one.log_prob == pytest.approx(sum(one.log_probs), abs=1e-12)
            ids = model.target.ids_of(one.target_pieces)  # type: ignore[union-attr]
            with model.evaluating():
                batch = model.batch_of([model.source_ids(text)], [ids])
                logs = model(batch).log_softmax(-1).numpy()[:, 0]
            np.testing.assert_allclose(one.log_probs, logs[np.arange(len(ids)), ids][2:], atol=1e-12)
            [only] = model.translate([text], prefix=one.text, beams=1)
            rows = min(len(only.weights), len(one.weights))
            np.testing.assert_allclose(one.weights[:rows], only.weights[:rows], atol=1e-12)


def test_a_stop_string_ends_a_translation_and_is_left_out() -> None:
    model = small(seed=1)
    free = model.translations(SOURCES, top=40, sampling=Sampling(seed=2))
    cut = model.translations(SOURCES, top=40, sampling=Sampling(seed=2), stop=["x u", "w"])
    changed = 0
    for one, short in zip(chain(*free), chain(*cut), strict=True):
        places = [one.text.index(string) for string in ("x u", "w") if string in one.text]
        assert short.text == (one.text[: min(places)] if places else one.text)
        changed += bool(places)
        if places:
            assert short.finished
            assert len(short.log_probs) == len(short.target_pieces) <= len(one.target_pieces)
            assert short.log_probs == one.log_probs[: len(short.log_probs)]
    assert changed > 10
    [found] = model.translate(["e"], prefix="w", stop=["w"], beams=1)
    assert found.text.startswith("w"), "a stop string in the prefix does not count"
    with pytest.raises(ValueError, match=r"\[write\] stop: expected strings of at least one character"):
        model.translate(SOURCES, stop=["a", ""])


@pytest.mark.parametrize("feed", [False, True])
def test_drawn_translations_have_their_log_probability_and_their_own_numbers(feed: bool) -> None:
    model = small(input_feeding=feed, dropout=0.3)
    before = model.generator.get_state()
    together = model.translate(SOURCES * 3, sampling=Sampling(seed=4), batch=4)
    assert len({one.text for one in together}) > 3
    for n, (text, one) in enumerate(zip(SOURCES * 3, together, strict=True)):
        [alone] = model.translate([text], sampling=Sampling(seed=4, first=n))
        assert (alone.text, alone.log_prob, alone.score) == (one.text, one.log_prob, one.log_prob)
        assert one.weights.shape == (len(one.target_pieces), len(text.split()) + 1)
        if not one.finished:
            continue  # cut: its end was not drawn
        batch = model.batch_of([model.source_ids(text)], [model.target_ids(one.text)])
        with model.evaluating():
            assert one.log_prob == pytest.approx(-model.loss(batch).item() * batch.items, abs=1e-11)
    likeliest = model.translate(SOURCES, sampling=Sampling(temperature=0))
    assert [one.text for one in likeliest] == [one.text for one in model.translate(SOURCES, beams=1)]
    assert model.generator.get_state() == before
    with pytest.raises(ValueError, match="sampling: expected none beside beams"):
        model.translate(SOURCES, beams=3, sampling=Sampling())


def test_subwords_give_texts_back(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    lines = ["Two men, in blue shirts.", "two blue men", "A man's shirt is blue!"] * 5
    table = Subwords.build(lines, size=60, lower=True)
    assert len(table) <= 60
    for line in lines:
        ids = table.encode(line)
        assert ids[-1] == table.end_id
        assert table.decode(ids) == line.lower() + "\n"
    assert table.encode("β", end_line=False).tolist().count(table.unknown_id) == 1
    assert "".join(table.pieces(table.encode("two men", end_line=False))) == "▁two▁men"
    model = Seq2Seq(table, table, embedding_size=4, hidden_size=4, generator=Generator(0))
    model.save(tmp_path / "m.safetensors")
    again = Seq2Seq.load(tmp_path / "m.safetensors")
    assert again.source.to_json() == table.to_json()
    assert again.translate(["two men"])[0].log_prob == model.translate(["two men"])[0].log_prob


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    words = vocabularies()
    with pytest.raises(ValueError, match="hidden_size: expected an even number, got 7"):
        Seq2Seq(*words, hidden_size=7)
    with pytest.raises(ValueError, match="source: expected a vocabulary with an end of line"):
        Seq2Seq(Vocabulary.build("abc"), words[1])
    model = small()
    model.save(tmp_path / "m.safetensors")
    data = (tmp_path / "m.safetensors").read_bytes()
    for old, new in ((b'"bilinear', b'"bilineal'), (b"seq2seq", b"seqtseq"), (b"head.bias", b"head.bibs")):
        (tmp_path / "bad.safetensors").write_bytes(data.replace(old, new))
        with pytest.raises(OSError, match=r"\[load"):
            load(tmp_path / "bad.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(data[:-9])
    with pytest.raises(OSError, match=r"bad\.safetensors"):
        load(tmp_path / "bad.safetensors")


def test_a_captioner_in_a_batch_steps_and_files(tmp_path: Path) -> None:
    vocabulary = Vocabulary.build("low high\n", level="word")
    model = Captioner(vocabulary, 3, embedding_size=5, hidden_size=6, num_layers=2, max_length=6, dtype="float64")
    features = np.random.default_rng(0).standard_normal((4, 3))
    texts = ["low", "high low high", "", "low low"]
    whole = model.batch_of(features, texts)
    with model.evaluating():
        logits = model(whole).numpy()
        for n, text in enumerate(texts):
            alone = model(model.batch_of(features[n : n + 1], [text])).numpy()[:, 0]
            assert np.array_equal(alone, logits[: len(text.split()) + 1, n])
    found = model.caption(features)
    assert found == [model.caption(features[n : n + 1])[0] for n in range(4)]
    drawn = model.generate(features, sampling=Sampling(top_k=2, seed=6))
    assert drawn != model.generate(features, sampling=Sampling(top_k=2, seed=7))
    for n, one in enumerate(drawn):
        assert [one] == model.generate(features[n : n + 1], sampling=Sampling(top_k=2, seed=6, first=n))
    for options in ({"sampling": Sampling(seed=8)}, {"beams": 2, "alpha": 0.5}):
        for n, one in enumerate(model.generate(features, **options)):
            batch = model.batch_of(features[n : n + 1], [one.text])
            if batch.items <= 6:  # else it was cut, and its end is not in the sum
                with model.evaluating():
                    assert one.log_prob == pytest.approx(-model.loss(batch).item() * batch.items, abs=1e-11)
    several = model.captions(features, top=3, prefix="high", beams=3)
    for n, each in enumerate(several):
        assert [one.text.split()[0] for one in each] == ["high"] * 3
        assert each == model.captions(features[n : n + 1], top=3, prefix="high", beams=3)[0]
    drawn_twice = model.captions(features, top=2, sampling=Sampling(seed=6, top_k=2), stop=["low low"])
    assert [len(each) for each in drawn_twice] == [2] * 4
    assert not any("low low" in one.text for each in drawn_twice for one in each)
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert isinstance(again, Captioner)
    with again.evaluating():
        assert np.array_equal(again(whole).numpy(), logits)
    assert again.caption(features) == found
    with pytest.raises(ValueError, match=r"features: expected shape \(N, 3\)"):
        model.caption(np.zeros((2, 4)))
