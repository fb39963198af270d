"""Loading draws no start values, whatever the kind; what is built to be trained starts as ever."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnncore import Generator, Tensor, models, nn
from rnncore.data import Vocabulary
from rnncore.nn import init

WORDS = Vocabulary.build("abcdef!", level="char")
LINES = Vocabulary.build("a b c\nd e\n", level="word", unknown=True)
KINDS: dict[str, Any] = {
    "language model": lambda **o: models.LanguageModel(vocabulary=WORDS, hidden_size=8, num_layers=2, **o),
    "wired, tied": lambda **o: models.LanguageModel(
        vocabulary=WORDS, hidden_size=8, embedding_size=8, num_layers=2, tie_weights=True, connection="residual",
        learn_initial_state=True, init="orthogonal", forget_bias=1.0, **o),
    "adaptive": lambda **o: models.LanguageModel(
        vocab_size=50, hidden_size=8, num_layers=1, softmax="adaptive", cutoffs=(10, 20), init_range=0.1, **o),
    "classifier": lambda **o: models.Classifier(WORDS, ["a", "b"], hidden_size=6, embedding_scale=0.1, **o),
    "tagger": lambda **o: models.Tagger(WORDS, ["O", "B-x"], characters=WORDS, hidden_size=6, crf=True, **o),
    "forecaster": lambda **o: models.Forecaster(["x"], hidden_size=6, **o),
    "music": lambda **o: models.PolyphonicMusic(hidden_size=6, **o),
    "seq2seq": lambda **o: models.Seq2Seq(LINES, LINES, hidden_size=6, embedding_size=6, tie_weights=True, **o),
    "captioner": lambda **o: models.Captioner(LINES, 3, embedding_size=5, hidden_size=6, **o),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_loading_draws_nothing_and_gives_every_bit(kind: str, tmp_path: Path) -> None:
    """A parameter that the file does not fill would show: blank memory holds what freed tensors left there."""
    model = KINDS[kind](generator=Generator(3))
    model.save(tmp_path / "m.safetensors")
    generator = Generator(11)
    loaded = models.load(tmp_path / "m.safetensors", generator=generator)
    assert generator.get_state() == Generator(11).get_state()
    want, got = model.state_dict(), loaded.state_dict()
    assert want.keys() == got.keys()
    for name, value in want.items():
        assert value.numpy().tobytes() == got[name].numpy().tobytes(), name
    again = KINDS[kind](generator=Generator(3))  # after loading, building draws as before
    for name, value in again.state_dict().items():
        assert value.numpy().tobytes() == want[name].numpy().tobytes(), name


def test_only_the_block_and_only_its_thread_skips() -> None:
    found: dict[str, Any] = {}

    def build() -> None:
        found["other"] = nn.LSTM(3, 4, generator=Generator(2)).state_dict()

    tensor = Tensor(np.full((4, 4), 5.0))
    with init.skipped():
        other = threading.Thread(target=build)
        other.start()
        other.join()
        for fill in (init.zeros_, init.eye_, init.identity_):
            fill(tensor)
        for draw in (init.normal_, init.uniform_, init.orthogonal_, init.xavier_uniform_, init.kaiming_uniform_):
            draw(tensor, generator=Generator(1))
        init.scale_(tensor, 2.0)
    assert (tensor.numpy() == 5).all()
    with pytest.raises(ValueError, match="xavier"), init.skipped():
        init.xavier_uniform_(Tensor(np.zeros(3)), generator=Generator(1))
    build_here = nn.LSTM(3, 4, generator=Generator(2)).state_dict()
    for name, value in build_here.items():
        np.testing.assert_array_equal(value.numpy(), found["other"][name].numpy())
        assert len(np.unique(value.numpy())) > 4
