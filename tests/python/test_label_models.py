"""Classifiers and taggers: parity with PyTorch in outputs and all gradients, files that keep every bit (in C++ too)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnncore import Generator, Tensor, _core, models, nn
from rnncore.data import Sentence, TagCorpus, Vectors, Vocabulary, is_bio
from rnncore.models import Classifier, LanguageModel, Tagger
from rnncore.models.classifier import ClassifierBatch, pad_ids

WORDS = Vocabulary.build("the cat sat on a mat", level="word")
LETTERS = Vocabulary.build("thecasonm", unknown=True)
BIO = ["O", "B-a", "I-a", "B-b", "I-b"]
TEXTS = ["the cat sat", "on", "a mat on the mat a cat"]
SENTENCES = [["the", "cat", "sat"], ["unseen", "On"], ["a", "mat", "on", "the", "mat"]]


def classifier(**options: Any) -> Classifier:
    chosen = {"embedding_size": 5, "hidden_size": 6, "generator": Generator(3), **options}
    return Classifier(WORDS, ["x", "y", "z"], **chosen)


def tagger(**options: Any) -> Tagger:
    sizes = {"embedding_size": 5, "char_embedding_size": 4, "char_hidden_size": 3, "hidden_size": 6}
    chosen: dict[str, Any] = {"characters": LETTERS, "generator": Generator(3), **sizes, **options}
    return Tagger(WORDS, chosen.pop("labels", BIO), **chosen)


def gradients(model: nn.Module) -> dict[str, Any]:
    found = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        found[name] = parameter.grad.numpy()
    return found


def torch_stack(torch: Any, spec: Any, parameters: dict[str, Any], prefix: str, size: int) -> Any:
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[spec.cell]
    stack = kind(size, spec.hidden_sizes[0], len(spec.hidden_sizes), bidirectional=spec.bidirectional).double()
    stack.load_state_dict({name: parameters[f"{prefix}{name}"].detach() for name, _ in stack.named_parameters()})
    return stack


def torch_parameters(torch: Any, model: nn.Module) -> dict[str, Any]:
    return {name: torch.tensor(np.array(value.numpy())) for name, value in model.state_dict().items()}


def run_packed(torch: Any, stack: Any, x: Any, lengths: Any) -> tuple[Any, Any]:
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    output, state = stack(packed)
    return torch.nn.utils.rnn.pad_packed_sequence(output)[0], state[0] if isinstance(state, tuple) else state


def same_gradients(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert mine.keys() == theirs.keys()
    for name in mine:
        np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-8, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_classifier_is_pytorchs(pooling: str, cell: str) -> None:
    torch = pytest.importorskip("torch")
    model = classifier(pooling=pooling, cell=cell, num_layers=2, dtype="float64")
    ids, lengths = pad_ids(model.encode(TEXTS))
    targets = np.array([2, 0, 1])
    loss = model.loss(ClassifierBatch(lengths, ids, targets=targets))
    loss.backward()

    leaves = torch_parameters(torch, model)
    stack = torch_stack(torch, model.rnn.spec, leaves, "rnn.", 5)
    table, weight, bias = (leaves[name].requires_grad_() for name in ("embedding.weight", "head.weight", "head.bias"))
    output, state = run_packed(torch, stack, table[torch.tensor(ids)], lengths)
    if pooling == "last":
        pooled = torch.cat([state[-2], state[-1]], 1)
    else:
        rows = [output[:length, n] for n, length in enumerate(lengths)]
        pooled = torch.stack([row.max(0).values if pooling == "max" else row.mean(0) for row in rows])
    theirs = torch.nn.functional.cross_entropy(pooled @ weight.T + bias, torch.tensor(targets))
    theirs.backward()
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-12)
    wanted = {f"rnn.{name}": value.grad.numpy() for name, value in stack.named_parameters()}
    named = {"embedding.weight": table, "head.weight": weight, "head.bias": bias}
    same_gradients(gradients(model), {**wanted, **{name: leaf.grad.numpy() for name, leaf in named.items()}})


def torch_crf(torch: Any, logits: Any, tags: Any, transitions: Any, start: Any, end: Any) -> Any:
    """-log p(tags) of one sentence (L, K), by the forward algorithm."""
    score, alpha = start[tags[0]] + logits[0, tags[0]], start + logits[0]
    for t in range(1, len(tags)):
        score = score + transitions[tags[t - 1], tags[t]] + logits[t, tags[t]]
        alpha = torch.logsumexp(alpha[:, None] + transitions, 0) + logits[t]
    return torch.logsumexp(alpha + end, 0) - score - end[tags[-1]]


@pytest.mark.parametrize("crf", [False, True])
def test_a_tagger_with_characters_is_pytorchs(crf: bool) -> None:
    torch = pytest.importorskip("torch")
    model = tagger(crf=crf, dtype="float64", labels=["DET", "NOUN", "VERB"])
    if crf:
        for parameter in (model.crf.transitions, model.crf.start, model.crf.end):
            Generator(9).normal_(parameter.detach(), 0.0, 1.0)
    tags = [np.array([0, 1, 2]), np.array([2, 1]), np.array([0, 1, 1, 0, 1])]
    batch = model.batch_of(SENTENCES, tags)
    assert batch.char_ids is not None
    assert batch.char_ids.shape[1] == 8, "each different word once"
    loss = model.loss(batch)
    loss.backward()

    leaves = torch_parameters(torch, model)
    stack = torch_stack(torch, model.rnn.spec, leaves, "rnn.", 11)
    letters = torch_stack(torch, model.characters.rnn.spec, leaves, "characters.rnn.", 4)
    names = ["embedding.weight", "characters.embedding.weight", "head.weight", "head.bias"]
    names += ["crf.transitions", "crf.start", "crf.end"] if crf else []
    own = {name: leaves[name].requires_grad_() for name in names}
    total = 0
    for sentence, wanted in zip(SENTENCES, tags, strict=True):  # each alone, nothing padded
        features = []
        for word in sentence:
            ids = torch.tensor(np.array(LETTERS.encode(word), dtype=np.int64))
            _, state = letters(own["characters.embedding.weight"][ids][:, None])
            last = state[0] if isinstance(state, tuple) else state
            features.append(torch.cat([last[-2, 0], last[-1, 0]]))
        words = own["embedding.weight"][torch.tensor(model.encode(sentence).astype(np.int64))]
        output, _ = stack(torch.cat([words, torch.stack(features)], 1)[:, None])
        logits = output[:, 0] @ own["head.weight"].T + own["head.bias"]
        if crf:
            weights = (own["crf.transitions"], own["crf.start"], own["crf.end"])
            total = total + torch_crf(torch, logits, wanted.tolist(), *weights)
        else:
            total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(wanted), reduction="sum")
    theirs = total / 10
    theirs.backward()
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-12)
    wanted_gradients = {f"rnn.{name}": value.grad.numpy() for name, value in stack.named_parameters()}
    wanted_gradients |= {f"characters.rnn.{name}": value.grad.numpy() for name, value in letters.named_parameters()}
    same_gradients(gradients(model), wanted_gradients | {name: leaf.grad.numpy() for name, leaf in own.items()})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_a_saved_classifier_predicts_the_same_bits_in_python_and_cpp(tmp_path: Path, pooling: str, dtype: str) -> None:
    model = classifier(pooling=pooling, num_layers=2, dropout=0.3, dtype=dtype)
    model.save(tmp_path / "m.safetensors")
    loaded = models.load(tmp_path / "m.safetensors")
    assert isinstance(loaded, Classifier)
    assert (loaded.labels, loaded.config) == (model.labels, model.config)
    assert loaded.probabilities(TEXTS).tobytes() == model.probabilities(TEXTS).tobytes()
    native = _core.Model.load(tmp_path / "m.safetensors")
    assert native.labels == ["x", "y", "z"]
    ids, lengths = pad_ids(model.encode(TEXTS))
    with model.evaluating():
        logits = model(ClassifierBatch(lengths, ids))
    assert native.forward(ids=ids, lengths=lengths).numpy().tobytes() == logits.numpy().tobytes()
    assert [native.labels[i] for i in native.decode(ids=ids, lengths=lengths).tolist()] == model.predict(TEXTS)
    assert native.label(TEXTS) == [[label] for label in model.predict(TEXTS)]
    drawn = model.spec().draw(Generator(3), dtype)
    for name, value in model.state_dict().items():
        assert drawn[name].numpy().tobytes() == value.numpy().tobytes(), f"C++ starts {name} otherwise"


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("characters", [LETTERS, None])
def test_a_saved_tagger_predicts_the_same_bits_in_python_and_cpp(tmp_path: Path, crf: bool, characters: Any) -> None:
    model = tagger(crf=crf, characters=characters, lower=True, dropout=0.2)
    model.save(tmp_path / "m.safetensors")
    loaded = models.load(tmp_path / "m.safetensors")
    assert isinstance(loaded, Tagger)
    assert (loaded.config, loaded.assets()) == (model.config, model.assets())
    batch = model.batch_of(SENTENCES)
    with model.evaluating(), loaded.evaluating():
        logits, again = model(batch).numpy().tobytes(), loaded(batch).numpy().tobytes()
    assert again == logits
    given = {name: getattr(batch, name) for name in ("ids", "lengths", "char_ids", "char_lengths", "char_index")}
    given = {name: value for name, value in given.items() if value is not None}
    native = _core.Model.load(tmp_path / "m.safetensors")
    assert native.forward(**given).numpy().tobytes() == logits
    with pytest.raises(ValueError, match=r"char_lengths, char_index, got 'chars'"):
        native.forward(**given, chars=1)
    tags = native.decode(**given).numpy()
    found = [[native.labels[i] for i in tags[:length, n]] for n, length in enumerate(batch.lengths)]
    assert found == loaded.predict(SENTENCES) == model.predict(SENTENCES)
    assert native.label([" ".join(words) for words in SENTENCES]) == found
    texts = ["  The CAT\u00a0sat\n", "", "ΟΔΟΣ İzmir ÉTÉ ЖУК"]
    assert native.label(texts) == model.predict([text.split() for text in texts])


def test_only_the_right_kind_is_loaded(tmp_path: Path) -> None:
    classifier().save(tmp_path / "m.safetensors")
    with pytest.raises(OSError, match="expected a LanguageModel, got a Classifier"):
        LanguageModel.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize("crf", [False, True])
def test_tags_are_bio_whatever_the_weights(crf: bool) -> None:
    for seed in range(20):
        model = tagger(crf=crf, generator=Generator(seed))
        for _, parameter in model.named_parameters():
            Generator(seed).normal_(parameter.detach(), 0.0, 3.0)
        assert all(is_bio(tags) for tags in model.predict(SENTENCES))


def test_a_batch_is_its_texts_alone() -> None:
    model = classifier(pooling="max", dtype="float64")
    together = model.probabilities(TEXTS)
    alone = np.concatenate([model.probabilities([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert model.probabilities(["", "the"]).shape == (2, 3), "an empty text has probabilities too"
    assert model.predict([]) == []


def test_features_instead_of_tokens() -> None:
    model = Classifier(None, ["a", "b"], input_size=3, hidden_size=4)
    draw = np.random.default_rng(1)
    batch = ClassifierBatch(
        np.array([5, 2]), x=draw.normal(size=(5, 2, 3)).astype(np.float32), targets=np.array([0, 1])
    )
    model.loss(batch).backward()
    gradients(model)
    with pytest.raises(ValueError, match="vocabulary"):
        model.predict(["x"])


def test_vectors_start_the_embedding() -> None:
    model = classifier(embedding_size=2)
    before = np.array(model.embedding.weight.detach().numpy())
    model.use_vectors(Vectors(np.full((len(WORDS), 2), 7.0), np.arange(len(WORDS)) == 3))
    after = model.embedding.weight.detach().numpy()
    assert after[3].tolist() == [7, 7]
    assert np.delete(after, 3, 0).tolist() == np.delete(before, 3, 0).tolist()


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"\[ModelSpec\] pooling"):
        classifier(pooling="sum")
    with pytest.raises(ValueError, match="embedding_dropout"):
        classifier(embedding_dropout=1.0)
    with pytest.raises(ValueError, match=r"\[classifier\] label: expected one of x, y, z, got 'w'"):
        classifier().index_of("w")
    with pytest.raises(ValueError, match=r"\[crf\] labels"):
        nn.CRF(3, labels=["O"])
    with pytest.raises(ValueError, match="tags that the transitions allow"):
        nn.CRF(3, labels=["O", "B-a", "I-a"]).loss(Tensor(np.zeros((2, 1, 3), np.float32)), [[0], [2]])


def test_a_crf_over_tags_that_are_no_bio_is_refused() -> None:
    from rnncore.train import Trainer
    from rnncore.train.tag import TagTask

    corpus = TagCorpus.build([Sentence(["a", "b"], ["O", "I-x"]), Sentence(["c"], ["B-x"])], min_count=1)
    model = Tagger(corpus.vocabulary, corpus.labels, crf=True)
    with pytest.raises(ValueError, match="BIO sequences"):
        Trainer(model, TagTask(corpus))
