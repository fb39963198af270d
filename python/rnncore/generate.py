"""Text from a language model: sampling (temperature, top-k, top-p, typical, penalties), greedy and beam search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore import Generator, Tensor, _core, beam
from rnncore._messages import message, positive
from rnncore.data.subwords import TextVocabulary, decode_after
from rnncore.models.language_model import LanguageModel
from rnncore.models.prompt import Prompt, log_softmax


@dataclass(frozen=True)
class Generated:
    """One generated text.

    Attributes:
        text: what came after the prompt, up to a stop string (which is left out).
        tokens: its ids, stop string included.
        stopped: whether a stop string ended it.
        log_probs: log P(token | all before) in nats under the model itself (temperature 1, nothing left out), one for
            each of `tokens`; empty unless asked for.
    """

    text: str
    tokens: tuple[int, ...]
    stopped: bool
    log_probs: tuple[float, ...] = ()


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is chosen.

    Args:
        temperature: logits are divided by it; 0 takes the most likely token; default 1.
        top_k: choose among the k most likely tokens; 0 (default): among all.
        top_p: choose among the most likely tokens that together have this probability; default 1: all.
        typical_p: choose among the tokens whose surprise is nearest to the entropy, and that together have this
            probability (Meister et al. 2023, equation 12); default 1: all.
        repetition_penalty: positive logits of tokens that are in the text already are divided by it, negative ones
            multiplied (Keskar et al. 2019, section 4.1); default 1: nothing.
        forbidden: tokens that never come.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    forbidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(message("generate", "temperature", "0 or more", str(self.temperature)))
        if self.top_k < 0:
            raise ValueError(message("generate", "top_k", "0 (all) or more", str(self.top_k)))
        if not 0 < self.top_p <= 1:
            raise ValueError(message("generate", "top_p", "a probability in (0, 1]", str(self.top_p)))
        if not 0 < self.typical_p <= 1:
            raise ValueError(message("generate", "typical_p", "a probability in (0, 1]", str(self.typical_p)))
        if not 1 <= self.repetition_penalty < float("inf"):
            raise ValueError(message("generate", "repetition_penalty", "1 or more", str(self.repetition_penalty)))

    @property
    def is_plain(self) -> bool:
        """Whether the engine alone can draw."""
        return self.typical_p == 1 and self.repetition_penalty == 1 and not self.forbidden


def generate(
    model: LanguageModel,
    prompt: str | Prompt = "",
    *,
    length: int = 500,
    options: SamplingOptions | None = None,
    stop: Sequence[str] = (),
    num_samples: int = 1,
    seed: int = 0,
    log_probs: bool = False,
) -> list[Generated]:
    """Sample texts: the sampled token is the next input.

    Sample i depends on (seed, i) and not on how many others are drawn.

    Args:
        model: with a vocabulary.
        prompt: what to continue, read once for all samples; default: the start of a line. A `Prompt` is read already.
        length: at most this many tokens.
        options: temperature, top-k, top-p.
        stop: a text ends where one of these strings appears.
        num_samples: how many, drawn together as one batch.
        seed: of the random numbers.
        log_probs: give the log-probability of each token too.

    Raises:
        ValueError: unknown characters in the prompt, unknown forbidden tokens, sizes below 1.
    """
    _check(length, num_samples, seed)
    if any(not string for string in stop):
        raise ValueError(message("generate", "stop", "strings of at least one character", "an empty one"))
    begun, stream = _begin(model, prompt, num_samples)
    collectors = [_Collector(begun, tuple(stop)) for _ in range(num_samples)]
    steps = _draw_steps(begun, stream, length, options or SamplingOptions(), seed, log_probs, _AT_ONCE)
    for ids, logs in steps:
        for index, collector in enumerate(collectors):
            collector.add(int(ids[index]), float(logs[index]) if logs is not None else None)
        if all(collector.stopped for collector in collectors):
            break
    return [collector.result() for collector in collectors]


def generate_text(
    model: LanguageModel,
    prompt: str | Prompt = "",
    *,
    length: int = 500,
    options: SamplingOptions | None = None,
    seed: int = 0,
) -> Iterator[str]:
    """One text, piece by piece as it comes: with the same seed, joined the text of `generate`.

    A byte that is not yet a whole character is kept back until it is.
    """
    vocabulary = model.require_vocabulary()
    _check(length, 1, seed)
    begun, stream = _begin(model, prompt, 1)
    tokens: list[int] = []
    shown = ""
    for ids, _ in _draw_steps(begun, stream, length, options or SamplingOptions(), seed):
        tokens.append(int(ids[0]))
        text = decode_after(vocabulary, begun.tokens, tokens)
        if text.startswith(shown) and not text.endswith("\ufffd"):
            piece, shown = text[len(shown) :], text
            if piece:
                yield piece
    rest = decode_after(vocabulary, begun.tokens, tokens)[len(shown) :]
    if rest:
        yield rest


def generate_steps(
    model: LanguageModel,
    prompt: str | Prompt = "",
    *,
    length: int = 500,
    options: SamplingOptions | None = None,
    num_samples: int = 1,
    seed: int = 0,
    log_probs: bool = False,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64] | None]]:
    """The ids (N,) of all samples step by step as they are drawn, and their log-probabilities (N,) where asked for.

    Arguments as `generate`.
    """
    _check(length, num_samples, seed)
    return _draw_steps(*_begin(model, prompt, num_samples), length, options or SamplingOptions(), seed, log_probs)


# Tokens drawn in one call of the engine where nobody waits for each: Python between two steps, whose weights have
# emptied the caches, costs a quarter of a step of three layers of 512. So many at most are drawn after a stop string.
_AT_ONCE = 32


def _check(length: int, num_samples: int, seed: int) -> None:
    positive("generate", "length", length)
    positive("generate", "num_samples", num_samples)
    if not 0 <= seed < 1 << 64:
        raise ValueError(message("generate", "seed", "0 to 2^64 - 1", str(seed)))


def _draw_steps(
    prompt: Prompt,
    stream: _core.ModelStream,
    length: int,
    options: SamplingOptions,
    seed: int,
    log_probs: bool = False,
    at_once: int = 1,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64] | None]]:
    generator = Generator(seed)
    vocabulary = prompt.model.require_vocabulary()
    forbidden = vocabulary.ids_of(options.forbidden).astype(np.int64)
    if options.is_plain and not log_probs:
        for first in range(0, length, at_once):
            steps = min(at_once, length - first)
            for ids in stream.draw(generator, options.temperature, options.top_k, options.top_p, steps):
                yield ids, None
        return
    seen = np.zeros((stream.batch, len(vocabulary)), dtype=bool)
    seen[:, list(prompt.tokens)] = True
    rows = np.arange(stream.batch)
    for _ in range(length):
        logs = log_softmax(stream.logits.numpy().astype(np.float64)) if log_probs else None
        if options.is_plain:
            [ids] = stream.draw(generator, options.temperature, options.top_k, options.top_p)
        else:
            logits = _adjusted(stream.logits.numpy(), options, seen, forbidden)
            drawn = _core.sample(Tensor(logits), generator, options.temperature, options.top_k, options.top_p)
            ids = np.array(drawn.numpy())
            stream.step(ids)
        seen[rows, ids] = True
        yield ids, None if logs is None else logs[rows, ids]


def _adjusted(
    logits: NDArray[Any], options: SamplingOptions, seen: NDArray[np.bool_], forbidden: NDArray[np.int64]
) -> NDArray[Any]:
    """Logits (N, V) after penalty, forbidden tokens and typical sampling, in this order."""
    penalised = np.where(logits > 0, logits / options.repetition_penalty, logits * options.repetition_penalty)
    result = np.where(seen, penalised, logits).astype(logits.dtype)
    result[:, forbidden] = -np.inf
    if not np.isfinite(result).any(axis=1).all():
        raise ValueError(message("generate", "forbidden", "at least one token that may come", "all forbidden"))
    if options.typical_p < 1:
        logs = log_softmax(result.astype(np.float64) / (options.temperature or 1.0))
        probabilities = np.exp(logs)
        surprise = np.where(probabilities > 0, -logs, 0.0)
        distance = np.abs(surprise - (probabilities * surprise).sum(axis=1, keepdims=True))
        distance[probabilities == 0] = np.inf
        order = np.argsort(distance, axis=1, kind="stable")
        mass = np.take_along_axis(probabilities, order, 1).cumsum(axis=1)
        dropped = np.zeros_like(mass, dtype=bool)
        dropped[:, 1:] = mass[:, :-1] >= options.typical_p  # the one that reaches the mass is kept
        hidden = np.zeros_like(dropped)
        np.put_along_axis(hidden, order, dropped, 1)
        result[hidden] = -np.inf
    return result


def beam_search(
    model: LanguageModel,
    prompt: str | Prompt = "",
    *,
    length: int = 100,
    beams: int = 4,
    alpha: float = 0.0,
    stop: Sequence[str] = (),
) -> Generated:
    """The most likely continuation among `beams` kept at each step; 1 beam is greedy.

    Args:
        model: with a vocabulary.
        prompt: what to continue, as in `generate`.
        length: of the continuation, in tokens; at most, where there is a `stop`.
        beams: default 4.
        alpha: of the length penalty (Wu et al. 2016, equation 14); default 0. It matters only with `stop`.
        stop: tokens that end a continuation.

    Raises:
        ValueError: unknown characters in the prompt, unknown stop tokens, sizes below 1.
    """
    positive("beam search", "length", length)
    positive("beam search", "beams", beams)
    vocabulary = model.require_vocabulary()
    ends = [int(token) for token in vocabulary.ids_of(list(stop))]
    begun, stream = _begin(model, prompt, beams)
    is_first = True

    def step(tokens: beam.Rows, rows: beam.Rows) -> NDArray[np.float64]:
        nonlocal is_first
        if not is_first:  # the prompt's last token was read already
            for to, state in enumerate([stream.state(row) for row in rows.tolist()]):
                stream.set_state(to, state)
            stream.step(np.resize(tokens, beams))  # rows beyond those asked for are not looked at
        is_first = False
        return log_softmax(stream.logits.numpy()[: len(rows)].astype(np.float64))

    [[best]] = beam.beam_search(step, begun.tokens[-1:], beams=beams, max_length=length, stop=ends, alpha=alpha)
    return Generated(decode_after(vocabulary, begun.tokens, best.tokens), best.tokens, stopped=best.finished)


class _Collector:
    """The tokens of one sample, and whether a stop string has come."""

    def __init__(self, prompt: Prompt, stop: tuple[str, ...]) -> None:
        self._vocabulary: TextVocabulary = prompt.model.require_vocabulary()
        self._before = prompt.tokens
        self._stop = stop
        self._tokens: list[int] = []
        self._log_probs: list[float] = []
        self._longest = max((len(string.encode()) for string in stop), default=0)
        self.stopped = False

    def add(self, token: int, log_prob: float | None = None) -> None:
        if self.stopped:
            return
        self._tokens.append(token)
        if log_prob is not None:
            self._log_probs.append(log_prob)
        if self._stop:
            # A token is at least one byte, so this tail holds every stop string that the new token can end.
            tail = self._vocabulary.decode(self._tokens[-2 * self._longest :])
            self.stopped = any(string in tail for string in self._stop)

    def result(self) -> Generated:
        text = decode_after(self._vocabulary, self._before, self._tokens)
        if self.stopped:
            text = text[: min((text.index(string) for string in self._stop if string in text), default=None)]
        return Generated(text, tuple(self._tokens), self.stopped, tuple(self._log_probs))


def _begin(model: LanguageModel, prompt: str | Prompt, count: int) -> tuple[Prompt, _core.ModelStream]:
    """The prompt as read, and so many streams that go on from it."""
    if isinstance(prompt, str):
        read = Prompt(model, prompt)
        return read, read.reader if count == 1 else read.streams(count)
    if prompt.model is not model:
        raise ValueError(message("generate", "prompt", "one of this model", "one of another model"))
    return prompt, prompt.streams(count)
