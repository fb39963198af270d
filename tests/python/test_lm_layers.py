"""Language models whose layers have cells, sizes and options of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import some_text
from test_cli import inside

import rnncore
from rnncore import nn
from rnncore.data import TextCorpus
from rnncore.generate import SamplingOptions, beam_search, generate
from rnncore.models import LanguageModel
from rnncore.train import RunFolder, TrainConfig, Trainer

MIXED = [
    nn.Layer("lstm", 8, options={"peephole": True, "layer_norm": True, "zoneout_h": 0.1}),
    nn.Layer("gru", 6, delays=(2, 3)),
    nn.Layer("lstm", 8, period=2, proj_size=4),
    nn.Layer("rnn-tanh", 6, group_periods=(1, 2, 4)),
]
NETWORKS: dict[str, dict[str, Any]] = {
    "mixed": {"layers": MIXED},
    "options": {"layers": [nn.Layer("lstm", 8, options={"coupled": True})] * 2, "connection": "residual"},
    "learnt": {"layers": [nn.Layer("gru", 8, delays=(2,)), nn.Layer("gru", 5)], "learn_initial_state": True},
    "mgu": {"cell": "mgu", "hidden_size": 8, "num_layers": 2},
    "indrnn": {"cell": "indrnn", "hidden_size": 8, "num_layers": 2},
}
networks = pytest.mark.parametrize("name", NETWORKS)


def a_model(corpus: TextCorpus, name: str) -> LanguageModel:
    return LanguageModel(vocabulary=corpus.vocabulary, generator=rnncore.Generator(1), **NETWORKS[name])


@networks
def test_read_at_once_in_pieces_and_in_a_stream(name: str) -> None:
    model = a_model(TextCorpus.from_text(some_text(500)), name)
    tokens = np.random.default_rng(0).integers(0, model.config.vocab_size, 101)
    whole = model.score(tokens, chunk=100)
    assert model.score(tokens, chunk=7) == pytest.approx(whole, rel=1e-6)
    with model.evaluating():
        at_once, state = model(tokens[:20, None])
        first, before = model(tokens[:11, None])
        model.check_state(before, 1)
        second, after = model(tokens[11:20, None], before)
    np.testing.assert_array_equal(np.concatenate([first.numpy(), second.numpy()]), at_once.numpy())
    for part, same in zip(after, state, strict=True):
        np.testing.assert_array_equal(part.numpy(), same.numpy())
    # The likeliest continuation is the stream's own, token by token.
    prompt = model.require_vocabulary().decode(tokens[:9].tolist())
    [greedy] = generate(model, prompt, length=6, options=SamplingOptions(temperature=0))
    ids = list(tokens[:9])
    with model.evaluating():
        for _ in range(6):
            ids.append(int(model(np.array(ids)[:, None])[0].numpy()[-1, 0].argmax()))
    assert greedy.text == model.require_vocabulary().decode(ids[9:])
    assert beam_search(model, prompt, length=6, beams=1).text == greedy.text
    assert len(beam_search(model, prompt, length=4, beams=3).text) == 4


@networks
def test_a_file_holds_the_same_model(name: str, tmp_path: Path) -> None:
    model = a_model(TextCorpus.from_text(some_text(500)), name)
    model.save(tmp_path / "model.safetensors")
    again = LanguageModel.load(tmp_path / "model.safetensors")
    assert again.config == model.config
    assert again.describe() == model.describe()
    ids = np.zeros((5, 2), np.int64)
    with model.evaluating(), again.evaluating():
        np.testing.assert_array_equal(again(ids)[0].numpy(), model(ids)[0].numpy())


@pytest.mark.parametrize("name", ["mixed", "learnt"])
def test_a_resumed_run_gives_the_bits_of_one_never_stopped(name: str, tmp_path: Path) -> None:
    corpus = TextCorpus.from_text(some_text(3000))
    runs = {}
    for folder, steps in (("whole", 12), ("stopped", 7)):
        config = TrainConfig(steps=steps, batch=8, bptt=20)
        trainer = Trainer(a_model(corpus, name), corpus, config, run=RunFolder.create(tmp_path / folder))
        trainer.fit()
        runs[folder] = trainer
    resumed = Trainer.resume(tmp_path / "stopped", steps=12, data=corpus)
    resumed.fit()
    for key, value in runs["whole"].model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), resumed.model.state_dict()[key].numpy(), err_msg=key)


def test_what_does_not_go_together_is_refused() -> None:
    for options, text in (
        ({"layers": MIXED, "hidden_size": 9}, "hidden_size: expected 8, as layers have it"),
        ({"layers": MIXED, "cell": "gru"}, "cell: expected 'lstm', as layers have it"),
        ({"layers": MIXED, "narrow_last": True}, "narrow_last: expected False"),
        ({"layers": [{"cell": "lstm"}]}, "hidden_size"),
        ({"layers": MIXED, "tie_weights": True}, "tie_weights: expected embedding_size = hidden_size = 6"),
        ({"cell": "elman"}, "cell: expected"),
    ):
        with pytest.raises(ValueError, match=text):
            LanguageModel(10, **options)  # type: ignore[arg-type]


def test_the_command_line_takes_options_and_whole_stacks(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(some_text(2000))
    common = ("train", "lm", "--text", tmp_path / "text.txt", "--batch", "8", "--bptt", "20", "--steps", "3")
    inside(
        *common, "--out", tmp_path / "a", "--hidden", "8", "--layers", "2", "--cell-options", '{"peephole": true}',
        "--proj-size", "4",
    )  # fmt: skip
    model = LanguageModel.load(tmp_path / "a" / "model.safetensors")
    assert "weight_peephole_l1" in " ".join(model.state_dict())
    assert model.config.layer_sizes == [4, 4]
    stack = '[{"cell": "gru", "hidden_size": 6, "delays": [3]}, {"cell": "mgu", "hidden_size": 8}]'
    inside(*common, "--out", tmp_path / "b", "--stack", stack)
    assert LanguageModel.load(tmp_path / "b" / "model.safetensors").config.cell == "gru"
    for given, text in (
        (("--stack", "["), "--stack: expected JSON"),
        (("--stack", "{}"), "--stack: expected a JSON list"),
        (("--stack", stack, "--hidden", "7"), "hidden_size: expected 6"),
        (("--stack", stack, "--cell-options", "{}"), "no --cell-options"),
        (("--cell-options", '{"peepholes": true}'), "peepholes"),
    ):
        with pytest.raises(ValueError, match=text):
            inside(*common, "--out", tmp_path / "c", *given)
