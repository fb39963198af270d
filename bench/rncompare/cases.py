"""What is measured: every row of the comparison, its shapes and its arithmetic.

Letters: T time, N batch, L layers, H hidden (= input size I for the layer rows), V vocabulary.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

GATES = {"lstm": 4, "gru": 3, "rnn-tanh": 1}
CELLS = tuple(GATES)
LAYER_SHAPES = (
    (35, 20, 2, 200),
    (35, 20, 2, 650),
    (50, 50, 2, 128),
    (50, 64, 3, 512),
    (100, 32, 1, 256),
    (100, 1, 1, 32),
    (100, 1, 1, 64),
    (100, 1, 1, 256),
    (1000, 1, 1, 32),
    (1000, 1, 1, 64),
    (1000, 1, 1, 256),
    (784, 16, 1, 100),
)
# V, H, L, T, N, optimiser: characters as char-rnn has them, words as Zaremba et al. 2014 (small) have them.
MODEL_SHAPES = (
    (65, 128, 2, 50, 50, "adam"),
    (65, 512, 3, 50, 50, "adam"),
    (10_000, 200, 2, 35, 20, "sgd"),
)
# V, H, L, T, N: T tokens drawn one after another for N texts at a time, each the input of the next step.
SAMPLE_SHAPES = (
    (65, 512, 3, 100, 1),
    (65, 512, 3, 100, 64),
)
WORK = ("train", "infer", "model", "sample")


@dataclass(frozen=True)
class Case:
    """One row: a recurrent layer (`work` "train", "infer"), a language-model step ("model"), drawn text ("sample")."""

    work: str
    cell: str
    T: int
    N: int
    L: int
    H: int
    V: int = 0
    optimizer: str = ""
    clip: float = 5.0
    seed: int = 1

    @property
    def name(self) -> str:
        """Unique and short: `train lstm (35,20,2,200)`."""
        if self.work == "model":
            return f"model {self.cell} V={self.V} H={self.H} L={self.L} T={self.T} N={self.N} {self.optimizer}"
        if self.work == "sample":
            return f"sample {self.cell} V={self.V} H={self.H} L={self.L} T={self.T} N={self.N}"
        return f"{self.work} {self.cell} ({self.T},{self.N},{self.L},{self.H})"

    @property
    def tokens(self) -> int:
        """Time steps of all sequences: T*N."""
        return self.T * self.N

    @property
    def flops(self) -> float:
        """Operations of the matrix products that the equations ask for (a multiply-add counts 2).

        Forward: 2*T*N*G*H*(I+H) a layer. Backward: the same for the weight gradients, 2*T*N*G*H*H for the state and
        2*T*N*G*H*I for the input, which the lowest layer of a layer row does not need. A model adds its head
        (three products of 2*T*N*H*V) and counts the input product of token ids in full, though a library may look
        it up in a table: the number is then useful work a second, not instructions a second.
        """
        step = 2.0 * self.tokens * GATES[self.cell] * self.H * self.H  # one (H, G*H) product over all rows
        forward = 2.0 * step * self.L
        if self.work == "infer":
            return forward
        if self.work == "sample":
            return forward + 2.0 * self.tokens * self.H * self.V
        backward = 4.0 * step * self.L
        if self.work == "train":
            return forward + backward - step
        return forward + backward + 6.0 * self.tokens * self.H * self.V

    def as_dict(self) -> dict[str, Any]:
        """The fields that rebuild the case, for the worker's request and the JSON file."""
        return asdict(self)


def all_cases() -> list[Case]:
    """Every row of the comparison in the order of the report."""
    cases = [Case(work, cell, *shape) for work in ("train", "infer") for cell in CELLS for shape in LAYER_SHAPES]
    cases += [Case("model", "lstm", t, n, layers, h, v, opt) for v, h, layers, t, n, opt in MODEL_SHAPES]
    cases += [Case("sample", "lstm", t, n, layers, h, v) for v, h, layers, t, n in SAMPLE_SHAPES]
    return cases


def select(rows: list[str], cells: list[str]) -> list[Case]:
    """Cases whose work is in `rows` or whose name contains one of them, and whose cell is in `cells`.

    Raises:
        ValueError: nothing is left.
    """
    chosen = [
        case
        for case in all_cases()
        if case.cell in cells and (not rows or any(row == case.work or row in case.name for row in rows))
    ]
    if not chosen:
        raise ValueError(f"[compare] --rows: expected {', '.join(WORK)} or part of a row's name, got {rows}")
    return chosen
