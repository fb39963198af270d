"""Prompt: a text that a language model has read, as the state that its continuations begin with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rnncore import _core
from rnncore._messages import message
from rnncore.data.vocabulary import Ids
from rnncore.models.files import file_parameters
from rnncore.models.language_model import LanguageModel


class Prompt:
    """A text that a model has read, to be continued any number of times: each continuation begins with its state.

    Generating and searching take it in place of a string. It holds the parameters as they were when it was made.

    Args:
        model: with a vocabulary.
        text: what to continue; default: the start of a line.

    Attributes:
        tokens: the ids that were read.
        state: what a stream goes on from, see `_core.ModelStream.state`.
        reader: the stream that read it and whatever came after it.

    Raises:
        ValueError: unknown characters.

    Example:
        >>> from rnncore.data import Vocabulary
        >>> from rnncore.generate import generate
        >>> model = LanguageModel(vocabulary=Vocabulary.build("to be or not"), hidden_size=8, num_layers=1)
        >>> prompt = Prompt(model, "to be")
        >>> [generate(model, prompt, length=3, seed=seed)[0].text for seed in (0, 1)] == [
        ...     generate(model, "to be", length=3, seed=seed)[0].text for seed in (0, 1)]
        True
        >>> longer = prompt.then(" or")  # `prompt` stays what it is
        >>> len(longer.tokens)
        8
    """

    def __init__(self, model: LanguageModel, text: str = "") -> None:
        ids = _ids_of(model, text)
        self.model = model
        self.reader = streams(model, 1)
        self._read(ids)

    def _read(self, ids: Ids, before: tuple[int, ...] = ()) -> None:
        self.reader.read(ids.astype(np.int64))
        self.tokens: tuple[int, ...] = (*before, *ids.tolist())
        self.state: bytes = self.reader.state()

    def then(self, text: str) -> Prompt:
        """This prompt with more text, of which alone is read.

        Raises:
            ValueError: unknown characters.
        """
        ids = self.model.require_vocabulary().encode(text, end_line=False)
        longer = Prompt.__new__(Prompt)
        longer.model, longer.reader = self.model, self.reader
        self.reader.set_state(0, self.state)
        longer._read(ids, self.tokens)
        return longer

    @property
    def log_probs(self) -> NDArray[np.float64]:
        """Log P(next token) in nats (V,)."""
        self.reader.set_state(0, self.state)
        log_probs: NDArray[np.float64] = log_softmax(self.reader.logits.numpy().astype(np.float64))[0]
        return log_probs

    def streams(self, count: int) -> _core.ModelStream:
        """So many streams that go on from here."""
        made = streams(self.model, count)
        for index in range(count):
            made.set_state(index, self.state)
        return made


def streams(model: LanguageModel, count: int) -> _core.ModelStream:
    """So many streams of a model, with a copy of its parameters."""
    return _core.ModelStream(model.spec(), file_parameters(model), count)


def _ids_of(model: LanguageModel, prompt: str) -> Ids:
    """The prompt's tokens, or the line end that stands for an empty one."""
    vocabulary = model.require_vocabulary()
    ids = vocabulary.encode(prompt, end_line=False)
    if len(ids):
        return ids
    if vocabulary.end_id is None:
        hint = "its vocabulary has no line end to start from"
        raise ValueError(message("generate", "prompt", "at least one token for this model", "none", hint))
    return np.array([vocabulary.end_id])


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row (N, V), in nats."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_probabilities
