"""Recipes: every one builds, the command line takes them as defaults, and the loss is scaled as the paper says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_models import small_model, some_text
from typer.main import get_command
from typer.testing import CliRunner

from rnncore import optim
from rnncore.cli.app import app
from rnncore.cli.train_lm import _NAMES
from rnncore.data import TextCorpus, TextSource
from rnncore.models import LanguageModel
from rnncore.train import TrainConfig, Trainer, make_schedule
from rnncore.train.recipes import RECIPES, recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_names_known_options(name: str) -> None:
    chosen = recipe(name)
    LanguageModel(5, **{**chosen.model, **dict.fromkeys(("hidden_size", "embedding_size"), 3)})
    TrainConfig(**chosen.train)
    TextSource("text", **chosen.text)


@pytest.mark.parametrize("name", RECIPES)
def test_the_command_line_takes_every_option_of_a_recipe(name: str) -> None:
    """A name that the command does not know would be left out without a word."""
    root: Any = get_command(app)
    known = {parameter.name for parameter in root.commands["train"].commands["lm"].params}
    chosen = recipe(name)
    options = [*chosen.model, *chosen.train, *chosen.text]
    assert [option for option in options if _NAMES.get(option, option) not in known] == []


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[recipe\] name: expected ptb-small \| .*, got 'ptb'"):
        recipe("ptb")


def test_the_networks_of_le_et_al() -> None:
    """Table 4's: about as many parameters each, those of the softmax left aside."""
    names = ("le-lstm", "le-irnn-4", "le-irnn-1", "le-tanh-4", "le-tanh-1")
    models = [LanguageModel(50, **recipe(name).model) for name in names]
    assert all(model.config.head_inputs == 512 for model in models)
    sizes = [
        sum(p.numel() for n, p in model.named_parameters() if n.startswith(("rnn", "projection"))) for model in models
    ]
    assert max(sizes) < 1.05 * min(sizes)
    for model, start in zip(models, ("uniform", "identity", "identity", "uniform", "uniform"), strict=True):
        assert model.config.init == start
    irnn = dict(models[2].named_parameters())
    np.testing.assert_array_equal(irnn["rnn.weight_hh_l0"].numpy(), 0.5 * np.eye(1024, dtype=np.float32))
    assert irnn["rnn.weight_ih_l0"].numpy().std() == pytest.approx(1e-3, rel=0.02)
    assert not irnn["rnn.bias_ih_l0"].numpy().any()


def test_ptb_small_halves_its_rate_after_four_epochs() -> None:
    config = TrainConfig(**recipe("ptb-small").train)
    optimizer = optim.SGD(small_model(TextCorpus.from_text("ab" * 20)).named_parameters(), lr=config.lr)
    schedule = make_schedule(config, optimizer, steps_per_epoch=1, total_steps=13)
    rates = []
    for _ in range(7):
        rates.append(optimizer.lr)
        schedule.step()
    assert rates == [1.0, 1.0, 1.0, 1.0, 0.5, 0.25, 0.125]


def test_the_command_line_overrides_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("the cat sat\nthe dog sat on it\n" * 60)
    given = ["--text", tmp_path / "text", "--out", tmp_path / "run", "--hidden", 8, "--embedding", 8, "--steps", 2]
    result = CliRunner().invoke(app, [str(word) for word in ["train", "lm", "--recipe", "ptb-small", *given]])
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["model"]["hidden_size"], config["model"]["num_layers"]) == (8, 2)
    assert (config["train"]["reduction"], config["train"]["batch"], config["train"]["steps"]) == ("streams", 20, 2)
    assert config["source"]["level"] == "word"
    bounds = [np.abs(value.numpy()).max() for value in LanguageModel(9, **recipe("ptb-small").model).parameters()]
    assert 0.09 < max(bounds) <= 0.1


def test_a_loss_summed_over_the_steps_moves_so_much_further() -> None:
    """With plain descent and no clipping, the update is `bptt` times the one of the mean over all tokens."""
    corpus = TextCorpus.from_text(some_text(2000))
    moves = []
    for reduction in ("tokens", "streams"):
        model = small_model(corpus, dtype="float64")
        before = model.head.weight.numpy().copy()
        config = TrainConfig(steps=1, batch=4, bptt=7, reduction=reduction, optimizer="sgd", lr=1e-3, clip_norm=0.0)
        trainer = Trainer(model, corpus, config)
        trainer.fit()
        moves.append(model.head.weight.numpy() - before)
    np.testing.assert_allclose(moves[1], 7 * moves[0], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("options", [{"init_range": 0.0}, {"init_range": 0.1, "forget_bias": 1.0}])
def test_start_values_that_cannot_be(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"\[language model\] init_range"):
        LanguageModel(5, hidden_size=3, **options)
