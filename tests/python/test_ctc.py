"""CTC loss and the losses of real values against PyTorch: results and gradients; threads; errors reach Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rnncore
from rnncore import nn
from rnncore.nn import functional as F

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}  # of losses relative to their size, of gradients absolute
DTYPES = ("float64", "float32")


def both(array: np.ndarray[Any, Any], dtype: str) -> tuple[Any, Any]:
    """A leaf of ours and PyTorch's of the same numbers, the latter in float64: its own float32 CTC is 2e-5 off that."""
    torch = pytest.importorskip("torch")
    ours = rnncore.Tensor(array.astype(dtype), requires_grad=True)
    return ours, torch.tensor(array.astype(dtype).astype("float64"), requires_grad=True)


def compare(ours: Any, theirs: Any, leaves: tuple[Any, Any], dtype: str, seed: int = 0) -> None:
    """The same values, and the same gradients of a random weighting of them."""
    import torch

    want = theirs.detach().numpy()
    np.testing.assert_allclose(ours.numpy(), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    weights = np.random.default_rng(seed).normal(size=want.shape).astype(dtype)
    weights[~np.isfinite(want)] = 1.0
    ours.backward(rnncore.Tensor(weights))
    theirs.backward(torch.tensor(weights.astype("float64")))
    np.testing.assert_allclose(leaves[0].grad.numpy(), leaves[1].grad.numpy(), rtol=0, atol=TOLERANCE[dtype])


CASES = {
    "labels": {"T": 12, "C": 5, "frames": [12, 9, 5], "labels": [[1, 2, 3, 4], [2, 1], [4]]},
    "repeated labels": {"T": 12, "C": 4, "frames": [12, 7, 3], "labels": [[1, 1, 1, 1], [2, 2, 1], [3, 3]]},
    "empty targets": {"T": 6, "C": 4, "frames": [6, 3, 1], "labels": [[], [2], []]},
    "no labels at all": {"T": 4, "C": 3, "frames": [4, 2], "labels": [[], []]},
    "just enough frames": {"T": 7, "C": 4, "frames": [5, 3], "labels": [[1, 1, 2, 2][:3], [1, 2, 3]]},
    "too few frames": {"T": 7, "C": 4, "frames": [7, 2, 4], "labels": [[1, 2], [1, 1], [1, 2, 1, 2, 3]]},
    "one frame": {"T": 1, "C": 3, "frames": [1, 1, 1], "labels": [[1], [2], []]},
    "many": {
        "T": 90,
        "C": 30,
        "frames": list(range(90, 50, -5)),
        "labels": [list(range(1, 1 + 3 * n)) for n in range(8)],
    },
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", CASES)
def test_ctc_is_pytorchs(name: str, reduction: str, blank: int, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    T, C, frames, labels = (CASES[name][key] for key in ("T", "C", "frames", "labels"))  # noqa: N806
    labels = [[label - 1 if label <= blank else label for label in row] for row in labels]  # 0..C-1 without the blank
    N, S = len(labels), max(1, *(len(row) for row in labels))  # noqa: N806
    padded = np.full((N, S), 77)
    for n, row in enumerate(labels):
        padded[n, : len(row)] = row
    logits = np.random.default_rng(T * 7 + N).normal(size=(T, N, C)) * 2
    options: dict[str, Any] = {"blank": blank, "reduction": reduction}
    # PyTorch's gradient of an infinite loss is no number everywhere or nowhere, as its path through frames has it:
    # only where it is asked to count nothing is there something to compare.
    for zero in (False, True) if name != "too few frames" else (True,):
        ours, theirs = both(logits, dtype)
        lengths = [len(row) for row in labels]
        got = F.ctc_loss(ours.log_softmax(-1), padded, frames, lengths, zero_infinity=zero, **options)
        want = torch.nn.functional.ctc_loss(
            theirs.log_softmax(-1), torch.tensor(padded), torch.tensor(frames), torch.tensor(lengths),
            zero_infinity=zero, **options,
        )  # fmt: skip
        compare(got, want, (ours, theirs), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ctc_of_leaves_and_concatenated_targets(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    log_probs = torch.tensor(np.random.default_rng(3).normal(size=(9, 3, 6))).log_softmax(-1).numpy()
    ours, theirs = both(log_probs, dtype)
    flat, frames, lengths = [1, 2, 2, 5, 3, 1], [9, 8, 4], [3, 1, 2]
    got = F.ctc_loss(ours, flat, frames, lengths)
    want = torch.nn.functional.ctc_loss(theirs, torch.tensor(flat), torch.tensor(frames), torch.tensor(lengths))
    compare(got, want, (ours, theirs), dtype)


def test_ctc_of_one_sequence_without_a_batch_axis() -> None:
    torch = pytest.importorskip("torch")
    logits = np.random.default_rng(4).normal(size=(9, 6))
    ours, theirs = both(logits, "float64")
    got = nn.CTCLoss(5, reduction="sum")(ours.log_softmax(-1), [1, 2, 2], 8, 3)
    want = torch.nn.CTCLoss(5, reduction="sum")(
        theirs.log_softmax(-1), torch.tensor([1, 2, 2]), torch.tensor(8), torch.tensor(3)
    )
    compare(got, want, (ours, theirs), "float64")


def test_an_infinite_loss_is_infinite_as_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = both(np.zeros((3, 1, 3)), "float64")
    got = F.ctc_loss(ours.log_softmax(-1), [[1, 1, 1]], [3], [3])
    want = torch.nn.functional.ctc_loss(
        theirs.log_softmax(-1), torch.tensor([[1, 1, 1]]), torch.tensor([3]), torch.tensor([3])
    )
    assert got.item() == want.item() == np.inf
    got.backward()
    want.backward()
    assert np.isnan(ours.grad.numpy()).all()
    assert np.isnan(theirs.grad.numpy()).all()


def test_ctc_errors() -> None:
    log_probs = rnncore.zeros(4, 2, 3)
    with pytest.raises(ValueError, match=r"\[ctc_loss\] targets of sequence 1, label 0: expected a class in \[0, 3\)"):
        F.ctc_loss(log_probs, [[1], [3]], [4, 4], [1, 1])
    with pytest.raises(ValueError, match=r"\[ctc_loss\] input_lengths"):
        F.ctc_loss(log_probs, [[1], [2]], [4, 5], [1, 1])
    with pytest.raises(TypeError, match=r"targets"):
        F.ctc_loss(log_probs, [[1.5], [2.0]], [4, 4], [1, 1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "binary_cross_entropy_with_logits"])
def test_losses_of_values_are_pytorchs(name: str, reduction: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(40, 3, 9)) * 4, rng.random((40, 3, 9))
    ours, theirs = both(x, dtype)
    got = getattr(F, name)(ours, y.astype(dtype), reduction=reduction)
    want = getattr(torch.nn.functional, name)(
        theirs, torch.tensor(y.astype(dtype).astype("float64")), reduction=reduction
    )
    compare(got, want, (ours, theirs), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [False, True])
def test_masked_losses_are_those_of_what_counts(rows: bool, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(20, 3, 9)), rng.random((20, 3, 9))
    mask = rng.random((20, 3) if rows else (20, 3, 9)) < 0.6
    ours, theirs = both(x, dtype)
    got = nn.BCEWithLogitsLoss()(ours, y.astype(dtype), mask=mask)
    chosen = torch.tensor(np.broadcast_to(mask[..., None] if rows else mask, x.shape).copy())
    target = torch.tensor(y.astype(dtype).astype("float64"))
    want = torch.nn.functional.binary_cross_entropy_with_logits(theirs[chosen], target[chosen])
    compare(got, want, (ours, theirs), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantile_loss_is_its_definition(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    x, y, q = rng.normal(size=(20, 3, 4)), rng.normal(size=(20, 3)), (0.05, 0.3, 0.5, 0.9)
    ours, theirs = both(x, dtype)
    got = nn.QuantileLoss(q)(ours, y.astype(dtype))
    error = torch.tensor(y.astype(dtype).astype("float64"))[..., None] - theirs
    levels = torch.tensor(q, dtype=theirs.dtype)
    compare(got, torch.maximum(levels * error, (levels - 1) * error).mean(), (ours, theirs), dtype)


def test_modules_say_what_they_are() -> None:
    assert repr(nn.CTCLoss(3)) == "CTCLoss(blank=3, reduction='mean', zero_infinity=False)"
    assert repr(nn.MSELoss(reduction="sum")) == "MSELoss(reduction='sum')"
    assert nn.L1Loss()(rnncore.zeros(2), [1.0, 3.0]).item() == 2.0
    assert nn.MSELoss()(rnncore.zeros(2), [1.0, 3.0]).item() == 5.0
