"""How models that write texts do it: searched for or drawn, from a given beginning, up to a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnncore._messages import message
from rnncore.beam import Hypothesis, Sampling, Step, find
from rnncore.data.subwords import TextVocabulary


@dataclass(frozen=True)
class Writing:
    """How texts are written.

    Args:
        beams, alpha: hypotheses and length penalty of the search, see `beam.beam_search`; default: the model's.
        sampling: draw texts instead; default: search.
        top: texts for each input: the best ones that the search found, or so many drawn; default 1.
        prefix: what every text begins with. It is read once for each input, and all hypotheses and samples go on from
            the state after it. It stands in the text, not in its log-probability. Default: nothing.
        stop: a text ends where one of these appears after the prefix, and is cut there; default: none.

    Raises:
        ValueError: an empty stop string.
    """

    beams: int | None = None
    alpha: float | None = None
    sampling: Sampling | None = None
    top: int = 1
    prefix: str = ""
    stop: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not all(self.stop):
            raise ValueError(message("write", "stop", "strings of at least one character", "an empty one"))

    def find(
        self,
        step: Step,
        vocabulary: TextVocabulary,
        count: int,
        *,
        usual: tuple[int, float],
        max_length: int | Sequence[int],
        numbers: Sequence[int] | None = None,
    ) -> list[list[Hypothesis]]:
        """Texts of `count` inputs, whose states `step` begins with. The vocabulary's end of line starts and ends them.

        `max_length` does not count the prefix; the other arguments are those of `beam.find`.
        """
        end = vocabulary.end_id
        assert end is not None  # noqa: S101  # models that write check it
        return find(
            step, [end] * count, usual=usual, beams=self.beams, alpha=self.alpha, top=self.top, sampling=self.sampling,
            numbers=numbers, prefix=self.prefix_ids(vocabulary), max_length=max_length, stop=[end],
            ended=(lambda tokens: self._stops(self._after(vocabulary, tokens)) is not None) if self.stop else None,
        )  # fmt: skip

    def prefix_ids(self, vocabulary: TextVocabulary) -> list[int]:
        """The tokens of the prefix."""
        return [int(token) for token in vocabulary.encode(self.prefix, end_line=False)] if self.prefix else []

    def text_of(self, vocabulary: TextVocabulary, found: Hypothesis) -> str:
        """Prefix and text, without a stop string and what came with it."""
        whole = vocabulary.decode([*self.prefix_ids(vocabulary), *found.tokens])
        after = self._after(vocabulary, found.tokens)
        cut = self._stops(after)
        return whole if cut is None else whole[: len(whole) - len(after) + cut]

    def _after(self, vocabulary: TextVocabulary, tokens: Sequence[int]) -> str:
        prefix = self.prefix_ids(vocabulary)
        return vocabulary.decode([*prefix, *tokens])[len(vocabulary.decode(prefix)) :]

    def _stops(self, text: str) -> int | None:
        """Where the first stop string begins."""
        return min((text.index(string) for string in self.stop if string in text), default=None)
