"""rnncore through its public Python interface: the same modules, inputs and updates as the PyTorch peer."""

from __future__ import annotations

from typing import Any

import numpy as np

import rnncore
from rncompare.cases import Case
from rncompare.peer import Peer, Run
from rnncore import nn, optim
from rnncore.data import Vocabulary
from rnncore.generate import generate
from rnncore.models import LanguageModel
from rnncore.models.language_model import State

LAYERS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn-tanh": nn.RNN}


class RnncorePeer(Peer):
    """rnncore.nn.{RNN,LSTM,GRU} and rnncore.models.LanguageModel."""

    name = "rnncore"

    def __init__(self, threads: int) -> None:
        rnncore.set_num_threads(threads)

    def version(self) -> str:
        """The version and the instruction set in use."""
        return f"{rnncore.__version__} {rnncore.target_name()}"

    def prepare(self, case: Case) -> Run:
        """See Peer.prepare."""
        random = np.random.default_rng(case.seed)
        if case.work == "model":
            return self._model(case, random)
        if case.work == "sample":
            return self._sample(case)
        layer = LAYERS[case.cell](case.H, case.H, case.L, generator=rnncore.Generator(case.seed))
        x = rnncore.Tensor(random.standard_normal((case.T, case.N, case.H), np.float32))
        if case.work == "infer":
            layer.eval()

            def infer() -> None:
                with rnncore.no_grad():
                    layer(x)

            return infer

        dy = rnncore.Tensor(random.standard_normal((case.T, case.N, case.H), np.float32))

        def train() -> None:
            layer.zero_grad()
            output, _ = layer(x)
            output.backward(dy)

        return train

    def _sample(self, case: Case) -> Run:
        letters = [chr(ord("!") + token) for token in range(case.V)]
        model = LanguageModel(
            hidden_size=case.H,
            num_layers=case.L,
            cell=case.cell,
            vocabulary=Vocabulary("char", letters),
            generator=rnncore.Generator(case.seed),
        )

        def draw() -> None:
            generate(model, letters[0], length=case.T, num_samples=case.N)

        return draw

    def _model(self, case: Case, random: np.random.Generator) -> Run:
        model = LanguageModel(
            case.V,
            hidden_size=case.H,
            num_layers=case.L,
            cell=case.cell,
            generator=rnncore.Generator(case.seed),
        )
        ids = rnncore.Tensor(random.integers(case.V, size=(case.T, case.N)))
        targets = rnncore.Tensor(random.integers(case.V, size=(case.T, case.N)))
        make, rate = (optim.Adam, 1e-4) if case.optimizer == "adam" else (optim.SGD, 0.1)
        optimizer = make(model.parameters(), lr=rate)
        state: State | None = None

        def step() -> None:
            nonlocal state
            optimizer.zero_grad()
            loss, state = model.loss(ids, targets, state)
            state = model.detach(state)
            loss.backward()
            optimizer.step(clip_norm=case.clip)

        return step
