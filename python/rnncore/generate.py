"""Text from a language model: sampling (temperature, top-k, top-p), greedy and beam search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnncore import Generator, Tensor, _core
from rnncore._messages import message, positive
from rnncore.data.vocabulary import Vocabulary
from rnncore.models.files import file_parameters
from rnncore.models.language_model import LanguageModel


@dataclass(frozen=True)
class Generated:
    """One generated text.

    Attributes:
        text: what came after the prompt, up to a stop string (which is left out).
        tokens: its ids, stop string included.
        stopped: whether a stop string ended it.
    """

    text: str
    tokens: tuple[int, ...]
    stopped: bool


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is chosen.

    Args:
        temperature: logits are divided by it; 0 takes the most likely token; default 1.
        top_k: choose among the k most likely tokens; 0 (default): among all.
        top_p: choose among the most likely tokens that together have this probability; default 1: all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(message("generate", "temperature", "0 or more", str(self.temperature)))
        if self.top_k < 0:
            raise ValueError(message("generate", "top_k", "0 (all) or more", str(self.top_k)))
        if not 0 < self.top_p <= 1:
            raise ValueError(message("generate", "top_p", "a probability in (0, 1]", str(self.top_p)))


def generate(
    model: LanguageModel,
    prompt: str = "",
    *,
    length: int = 500,
    options: SamplingOptions | None = None,
    stop: Sequence[str] = (),
    num_samples: int = 1,
    seed: int = 0,
) -> list[Generated]:
    """Sample texts: the sampled token is the next input.

    Sample i depends on (seed, i) and not on how many others are drawn.

    Args:
        model: with a vocabulary.
        prompt: what to continue; default: the start of a line.
        length: at most this many tokens.
        options: temperature, top-k, top-p.
        stop: a text ends where one of these strings appears.
        num_samples: how many, drawn together as one batch.
        seed: of the random numbers.

    Raises:
        ValueError: unknown characters in the prompt, sizes below 1.
    """
    positive("generate", "length", length)
    positive("generate", "num_samples", num_samples)
    if not 0 <= seed < 1 << 64:
        raise ValueError(message("generate", "seed", "0 to 2^64 - 1", str(seed)))
    if any(not string for string in stop):
        raise ValueError(message("generate", "stop", "strings of at least one character", "an empty one"))
    chosen = options or SamplingOptions()
    generator = Generator(seed)
    collectors = [_Collector(model.require_vocabulary(), tuple(stop)) for _ in range(num_samples)]
    with model.evaluating():
        stream = _core.ModelStream(model.spec(), file_parameters(model), num_samples)
        for token in _prompt_ids(model, prompt).tolist():
            stream.step(np.full(num_samples, token))
        for _ in range(length):
            ids = stream.draw(generator, chosen.temperature, chosen.top_k, chosen.top_p)
            for collector, token in zip(collectors, ids.tolist(), strict=True):
                collector.add(token)
            if all(collector.stopped for collector in collectors):
                break
    return [collector.result() for collector in collectors]


def beam_search(model: LanguageModel, prompt: str = "", *, length: int = 100, beams: int = 4) -> Generated:
    """The most likely continuation of `length` tokens among `beams` kept at each step; 1 beam is greedy.

    Raises:
        ValueError: unknown characters in the prompt, sizes below 1.
    """
    positive("beam search", "length", length)
    positive("beam search", "beams", beams)
    vocabulary = model.require_vocabulary()
    tokens: list[tuple[int, ...]] = [()]
    scores = np.zeros(1)
    with model.evaluating():
        features, state = model.features(_prompt_ids(model, prompt)[:, None])
        logits = model.logits(features[-1])
        for step in range(length):
            total = scores[:, None] + _log_softmax(logits.numpy().astype(np.float64))
            best = np.argsort(-total, axis=None, kind="stable")[:beams]
            rows, ids = np.unravel_index(best, total.shape)
            tokens = [(*tokens[row], int(token)) for row, token in zip(rows, ids, strict=True)]
            scores = total[rows, ids]
            if step + 1 < length:
                kept = tuple(Tensor(np.ascontiguousarray(part.numpy()[:, rows])) for part in state)
                features, state = model.features(ids.astype(np.int64)[None, :], kept)
                logits = model.logits(features[-1])
    return Generated(vocabulary.decode(tokens[0]), tokens[0], stopped=False)


class _Collector:
    """The tokens of one sample, and whether a stop string has come."""

    def __init__(self, vocabulary: Vocabulary, stop: tuple[str, ...]) -> None:
        self._vocabulary = vocabulary
        self._stop = stop
        self._tokens: list[int] = []
        self._longest = max((len(string.encode()) for string in stop), default=0)
        self.stopped = False

    def add(self, token: int) -> None:
        if self.stopped:
            return
        self._tokens.append(token)
        if self._stop:
            # A token is at least one byte, so this tail holds every stop string that the new token can end.
            tail = self._vocabulary.decode(self._tokens[-2 * self._longest :])
            self.stopped = any(string in tail for string in self._stop)

    def result(self) -> Generated:
        text = self._vocabulary.decode(self._tokens)
        if self.stopped:
            text = text[: min(text.index(string) for string in self._stop if string in text)]
        return Generated(text, tuple(self._tokens), self.stopped)


def _prompt_ids(model: LanguageModel, prompt: str) -> NDArray[np.int64]:
    """The prompt's tokens, or the line end that stands for an empty one."""
    vocabulary = model.require_vocabulary()
    ids = vocabulary.encode(prompt, end_line=False)
    if len(ids):
        return ids
    if vocabulary.end_id is None:
        hint = "its vocabulary has no line end to start from"
        raise ValueError(message("generate", "prompt", "at least one token for this model", "none", hint))
    return np.array([vocabulary.end_id])


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_probabilities
