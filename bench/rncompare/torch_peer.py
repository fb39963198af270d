"""PyTorch in its best CPU configuration: oneDNN on, inference_mode, gradients set to None, fused optimisers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rncompare.cases import Case
from rncompare.peer import Peer, Run

Cell = type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]
LAYERS: dict[str, Cell] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn-tanh": nn.RNN}


class LanguageModel(nn.Module):
    """Embedding (V, H), recurrent stack, linear head (V, H)."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.embedding = nn.Embedding(case.V, case.H)
        self.rnn = LAYERS[case.cell](case.H, case.H, case.L)
        self.head = nn.Linear(case.H, case.V)

    def forward(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """ids (T, N) -> logits (T*N, V) and the state after the last step."""
        output, state = self.rnn(self.embedding(ids), state)
        return self.head(output.flatten(0, 1)), state


def detached(state: Any) -> Any:
    """The state cut off the graph, as chunked training carries it."""
    return state.detach() if isinstance(state, Tensor) else tuple(part.detach() for part in state)


class TorchPeer(Peer):
    """torch.nn.{RNN,LSTM,GRU} and a language model made of them."""

    name = "torch"

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        torch.set_flush_denormal(True)

    def version(self) -> str:
        """PyTorch's version, the instruction set that it dispatches to, and whether oneDNN runs its LSTM."""
        onednn = "oneDNN" if torch.backends.mkldnn.is_available() else "without oneDNN"
        return f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()} {onednn}"

    def prepare(self, case: Case) -> Run:
        """See Peer.prepare."""
        torch.manual_seed(case.seed)
        if case.work == "model":
            return self._model(case)
        if case.work == "sample":
            return self._sample(case)
        layer = LAYERS[case.cell](case.H, case.H, case.L)
        x = torch.randn(case.T, case.N, case.H)
        if case.work == "infer":
            layer.eval()

            def infer() -> None:
                with torch.inference_mode():
                    layer(x)

            return infer
        dy = torch.randn(case.T, case.N, case.H)

        def train() -> None:
            layer.zero_grad(set_to_none=True)
            output, _ = layer(x)
            output.backward(dy)

        return train

    def _sample(self, case: Case) -> Run:
        model = LanguageModel(case).eval()

        def draw() -> None:
            with torch.inference_mode():
                ids, state = torch.zeros(1, case.N, dtype=torch.int64), None
                for _ in range(case.T):
                    logits, state = model(ids, state)
                    ids = torch.multinomial(logits.softmax(dim=1), 1).reshape(1, case.N)

        return draw

    def _model(self, case: Case) -> Run:
        model = LanguageModel(case)
        ids = torch.randint(case.V, (case.T, case.N))
        targets = torch.randint(case.V, (case.T * case.N,))
        optimizer: torch.optim.Optimizer
        if case.optimizer == "adam":
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
        else:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=True)
        parameters = list(model.parameters())
        state: Any = None

        def step() -> None:
            nonlocal state
            optimizer.zero_grad(set_to_none=True)
            logits, state = model(ids, state)
            state = detached(state)
            nn.functional.cross_entropy(logits, targets).backward()
            nn.utils.clip_grad_norm_(parameters, case.clip)
            optimizer.step()

        return step
