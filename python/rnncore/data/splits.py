"""Splits that depend on labels and seed alone: a stratified held-out part, folds, batches of about equal lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message, positive

Indices = NDArray[np.int64]


def _shuffled(indices: Indices, *key: int) -> Indices:
    return np.random.Generator(np.random.Philox(key=list(key))).permutation(indices)


def _by_class(labels: Sequence[str]) -> list[Indices]:
    """Where each class stands, classes in alphabetical order."""
    names = np.asarray(labels)
    return [np.flatnonzero(names == name) for name in sorted(set(labels))]


def stratified_split(labels: Sequence[str], fraction: float, seed: int = 0) -> tuple[Indices, Indices]:
    """Hold out a share of every class: round(fraction * its size), in [0, its size).

    Args:
        labels: of all examples (n,).
        fraction: in (0, 1).
        seed: another one gives another split.

    Returns:
        The indices that are kept and those held out, each ascending.

    Example:
        >>> kept, held = stratified_split(["a"] * 10 + ["b"] * 20, 0.1)
        >>> len(kept), len(held), int((held >= 10).sum())
        (27, 3, 2)
    """
    if not 0 < fraction < 1:
        raise ValueError(message("split", "fraction", "a share in (0, 1)", str(fraction)))
    held = []
    for number, indices in enumerate(_by_class(labels)):
        count = min(round(fraction * len(indices)), len(indices) - 1)
        held.append(_shuffled(indices, seed, number)[:count])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), out), out


def stratified_folds(labels: Sequence[str], folds: int, seed: int = 0) -> list[Indices]:
    """Cut the examples into `folds` parts with about the same share of every class; each part's indices ascending.

    Example:
        >>> [part.tolist() for part in stratified_folds(["a", "a", "b", "b"], 2, seed=1)]
        [[0, 3], [1, 2]]
    """
    if not 2 <= folds <= len(labels):
        raise ValueError(message("split", "folds", f"2 to {len(labels)}", str(folds)))
    order = np.concatenate([_shuffled(indices, seed, number) for number, indices in enumerate(_by_class(labels))])
    return [np.sort(order[fold::folds]) for fold in range(folds)]


def bucketed(lengths: Sequence[int], batch: int, *, seed: int = 0, epoch: int = 0, pool: int = 100) -> list[Indices]:
    """Batches of sequences of about equal lengths, in an order that depends on (seed, epoch) alone.

    The sequences are shuffled and cut into pools of `pool` batches; a pool is sorted by length and cut into batches;
    the batches are shuffled. So little is padding, and yet no two epochs are alike.

    Args:
        lengths: of all sequences (n,).
        batch: sequences in a batch; the last one of a pool may be smaller.
        seed: with `epoch`, of the order.
        epoch: which pass.
        pool: batches that are sorted together.

    Returns:
        The indices of each batch.
    """
    positive("buckets", "batch", batch)
    sizes = np.asarray(lengths)
    order = _shuffled(np.arange(len(sizes)), seed, 2 * epoch)
    batches = []
    for start in range(0, len(order), batch * pool):
        part = order[start : start + batch * pool]
        part = part[np.argsort(sizes[part], kind="stable")]
        batches += [part[at : at + batch] for at in range(0, len(part), batch)]
    return [batches[number] for number in _shuffled(np.arange(len(batches)), seed, 2 * epoch + 1)]


def padding(lengths: Sequence[int], batches: Sequence[Indices]) -> float:
    """The share of padded steps in these batches: what is computed for nothing."""
    sizes = np.asarray(lengths)
    steps = sum(int(sizes[indices].max()) * len(indices) for indices in batches)
    return 1.0 - float(sizes.sum()) / steps
