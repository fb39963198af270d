"""Batches: contiguous parallel streams for backpropagation through time, and padded sentences with lengths."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message, positive

Ids = NDArray[Any]
IGNORE = -100  # the target of a padded position: the losses' default ignore_index


def _checked(operation: str, tokens: Ids) -> Ids:
    """The tokens, which are integers (they may be mapped from a file, so nothing is copied).

    Raises:
        TypeError: numbers of another kind.
    """
    if tokens.dtype.kind not in "iu" and len(tokens):
        raise TypeError(message(operation, "tokens", "integers", str(tokens.dtype)))
    return tokens


@dataclass(frozen=True)
class Chunk:
    """A piece of N parallel streams: `inputs` (T, N) and `targets` (T, N), the inputs one step later; int64.

    Padded targets are -100 (`IGNORE`).
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]

    @property
    def tokens(self) -> int:
        """How many targets count."""
        return int(np.count_nonzero(self.targets != IGNORE))


class Streams:
    """A token sequence cut into N contiguous streams, read T steps at a time; the state is carried by the reader.

    Stream n holds tokens n*M .. (n+1)*M-1, so the target of its last step is the first token of the next stream.

    Args:
        tokens: ids (L,).
        batch: N, the number of parallel streams.
        bptt: T, the steps of a chunk.
        every_token: False (training): full chunks only, all streams equally long, a short rest is left out.
            True (evaluation): every token but the very first is a target exactly once; the last chunk may be
            shorter and the last streams are padded.

    Raises:
        ValueError: sizes below 1, or too few tokens (it says how many are needed).

    Example:
        >>> streams = Streams(np.arange(9), batch=2, bptt=2)
        >>> streams.chunk(1).inputs.T.tolist()
        [[2, 3], [6, 7]]
    """

    def __init__(self, tokens: Ids, *, batch: int, bptt: int, every_token: bool = False) -> None:
        self.batch = positive("streams", "batch", batch)
        self.bptt = positive("streams", "bptt", bptt)
        needed = 2 if every_token else batch * bptt + 1
        if len(tokens) < needed:
            detail = "" if every_token else f" for one batch of {batch} streams of {bptt} steps"
            raise ValueError(
                message(
                    "streams",
                    "tokens",
                    f"at least {needed} tokens{detail}",
                    str(len(tokens)),
                    "" if every_token else "use a longer text, or a smaller batch or bptt",
                )
            )
        self._tokens = _checked("streams", tokens)
        targets = len(tokens) - 1
        if every_token:
            self.length = -(-targets // batch)
            self._chunks = -(-self.length // bptt)
        else:
            self.length = targets // batch // bptt * bptt
            self._chunks = self.length // bptt
        self._targets = targets
        # Without padding a stream still begins where the text divides evenly, so that little of its end is lost.
        self._stride = self.length if every_token else targets // batch

    def __len__(self) -> int:
        """The number of chunks."""
        return self._chunks

    def rows(self, start: int, stop: int) -> Chunk:
        """Steps start..stop-1 of all streams (0 <= start < stop <= `length`)."""
        if not 0 <= start < stop <= self.length:
            raise ValueError(message("streams", "rows", f"0 <= start < stop <= {self.length}", f"{start}, {stop}"))
        where = np.arange(start, stop)[:, None] + (np.arange(self.batch) * self._stride)[None, :]
        real = where < self._targets
        at = np.minimum(where, self._targets - 1)
        inputs = self._tokens[at].astype(np.int64)
        targets = self._tokens[at + 1].astype(np.int64)
        if not real.all():
            targets[~real] = IGNORE
        return Chunk(inputs, targets)

    def chunk(self, index: int) -> Chunk:
        """Chunk number `index` (0 <= index < len)."""
        if not 0 <= index < self._chunks:
            raise IndexError(f"chunk {index} of {self._chunks}")
        return self.rows(index * self.bptt, min((index + 1) * self.bptt, self.length))

    def __iter__(self) -> Iterator[Chunk]:
        return (self.chunk(index) for index in range(self._chunks))


@dataclass(frozen=True)
class SentenceBatch:
    """Padded sentences: `inputs` (T, N), `targets` (T, N) with -100 where padded, `lengths` (N,); int64."""

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def tokens(self) -> int:
        """How many targets count."""
        return int(self.lengths.sum())


class Sentences:
    """Sentences (lines) of a token sequence in padded batches.

    The end token starts each sentence (so that its first token is predicted too) and is its last target.

    Args:
        tokens: ids (L,), sentences ended by `end_id`; an unfinished last one counts.
        end_id: the id of the end token.
        batch: N sentences a batch; the last batch may be smaller.
        max_length: longer sentences are cut into pieces of this many tokens; default: none are.

    Raises:
        ValueError: sizes below 1, or no sentence.
    """

    def __init__(self, tokens: Ids, *, end_id: int, batch: int, max_length: int | None = None) -> None:
        self.batch = positive("sentences", "batch", batch)
        self.end_id = end_id
        ends = np.flatnonzero(_checked("sentences", tokens) == end_id) + 1
        pieces = [piece for piece in np.split(tokens, ends) if len(piece)]
        if max_length is not None:
            positive("sentences", "max_length", max_length)
            pieces = [piece[at : at + max_length] for piece in pieces for at in range(0, len(piece), max_length)]
        if not pieces:
            raise ValueError(message("sentences", "tokens", "at least one sentence", "none"))
        self.sentences: list[Ids] = pieces

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self.sentences) // self.batch)

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """The order of the sentences in an epoch: a permutation that depends on (seed, epoch) alone."""
        return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(len(self.sentences))

    def batch_of(self, index: int, order: NDArray[np.int64] | None = None) -> SentenceBatch:
        """Batch number `index` of the sentences in `order` (default: as in the text)."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        numbers = np.arange(len(self.sentences)) if order is None else order
        chosen = [self.sentences[n] for n in numbers[index * self.batch : (index + 1) * self.batch]]
        lengths = np.array([len(sentence) for sentence in chosen], dtype=np.int64)
        targets = np.full((int(lengths.max()), len(chosen)), IGNORE, dtype=np.int64)
        inputs = np.full_like(targets, self.end_id)
        for column, sentence in enumerate(chosen):
            targets[: len(sentence), column] = sentence
            inputs[1 : len(sentence), column] = sentence[:-1]
        return SentenceBatch(inputs, targets, lengths)

    def __iter__(self) -> Iterator[SentenceBatch]:
        return (self.batch_of(index) for index in range(len(self)))
