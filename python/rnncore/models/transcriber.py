"""Transcriber: frames of sound to labels, by a bidirectional stack and connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnncore import Generator, Tensor
from rnncore._messages import message
from rnncore.data.acoustic import AcousticFeatures, Frames
from rnncore.data.audio import Samples, units_of
from rnncore.models.features import FeatureModel
from rnncore.nn import functional as F

BLANK = 0  # output 0 is no label; output i is labels[i - 1]


@dataclass(frozen=True)
class SpeechBatch:
    """Padded recordings: `frames` (T, N, F), `lengths` (N,), `targets` (N, S) of outputs, `target_lengths` (N,)."""

    frames: NDArray[np.float32]
    lengths: NDArray[np.int64]
    targets: NDArray[np.int64]
    target_lengths: NDArray[np.int64]

    @property
    def items(self) -> int:
        """Recordings."""
        return len(self.lengths)


class Transcriber(FeatureModel):
    """p(labels | sound), summed over all alignments (Graves et al. 2006).

    The stack gives at each frame the logits of the blank and of the labels; training needs to know which labels were
    said, not when.

    Args:
        labels: what texts are made of: characters, or words.
        units: "char" (default) or "word": how a text falls into labels.
        features: an `AcousticFeatures`, or its fields; default: MFCC with two derivatives.
        bidirectional: default True.
        options: see `FeatureModel`; defaults there, with two layers.
    """

    kind: ClassVar[str] = "transcriber"

    def __init__(
        self,
        labels: Sequence[str],
        *,
        units: str = "char",
        features: AcousticFeatures | Mapping[str, Any] | None = None,
        num_layers: int = 2,
        bidirectional: bool = True,
        **options: Any,
    ) -> None:
        if not labels or len(set(labels)) != len(labels) or not all(isinstance(label, str) for label in labels):
            raise ValueError(message("transcriber", "labels", "distinct strings", repr(list(labels))[:80]))
        units_of("", units)
        self.labels, self.units = list(labels), units
        self.features = features if isinstance(features, AcousticFeatures) else AcousticFeatures(**(features or {}))
        size = self.features.size
        super().__init__(size, len(labels) + 1, num_layers=num_layers, bidirectional=bidirectional, **options)

    def assets(self) -> dict[str, Any]:
        """Names of the outputs ("" is the blank's) and features."""
        return {"labels": ["", *self.labels], "units": self.units, "features": self.features.to_json()}

    @classmethod
    def from_dict(
        cls, config: Mapping[str, Any], assets: Mapping[str, Any], *, generator: Generator | None = None
    ) -> Transcriber:
        """See `Model.from_dict`."""
        return cls(**{**config, **assets, "labels": assets["labels"][1:]}, generator=generator)

    def encode(self, text: str) -> list[int]:
        """The outputs that stand for a text.

        Raises:
            ValueError: it has a label that the model does not know.
        """
        known = {label: index + 1 for index, label in enumerate(self.labels)}
        units = units_of(text, self.units)
        missing = [unit for unit in units if unit not in known]
        if missing:
            raise ValueError(message("transcriber", "text", f"labels {self.labels}", repr(missing[0])))
        return [known[unit] for unit in units]

    def decode(self, outputs: Sequence[int]) -> str:
        """The text that outputs stand for."""
        return ("" if self.units == "char" else " ").join(self.labels[output - 1] for output in outputs)

    def batch_of(self, frames: Sequence[Frames], texts: Sequence[str]) -> SpeechBatch:
        """Recordings of any lengths as one padded batch."""
        lengths = np.array([len(one) for one in frames], dtype=np.int64)
        padded = np.zeros((int(lengths.max()), len(frames), self.features.size), dtype=np.float32)
        for n, one in enumerate(frames):
            padded[: len(one), n] = one
        rows = [self.encode(text) for text in texts]
        sizes = np.array([len(row) for row in rows], dtype=np.int64)
        targets = np.full((len(rows), max(1, int(sizes.max()))), BLANK, dtype=np.int64)
        for n, row in enumerate(rows):
            targets[n, : len(row)] = row
        return SpeechBatch(padded, lengths, targets, sizes)

    def log_probs(self, frames: NDArray[np.float32], lengths: Any) -> Tensor:
        """Log-probabilities (T, N, 1 + labels) of blank and labels at each frame of (T, N, F)."""
        outputs, _ = self(frames, lengths=lengths)
        log_probs: Tensor = outputs.log_softmax(-1)
        return log_probs

    def loss(self, batch: SpeechBatch) -> Tensor:
        """The mean negative log-likelihood of a recording's labels, in nats a label."""
        log_probs = self.log_probs(batch.frames, batch.lengths)
        return F.ctc_loss(log_probs, batch.targets, batch.lengths, batch.target_lengths, blank=BLANK)

    def transcribe(self, frames: Sequence[Frames], *, beam: int = 8, batch: int = 64) -> list[str]:
        """What is said in recordings, given as frames (T_i, F).

        Args:
            frames: as `features` makes them.
            beam: of the prefix search; 1: the best path.
            batch: recordings at a time.
        """
        texts: list[str] = []
        with self.evaluating():
            for at in range(0, len(frames), batch):
                part = self.batch_of(frames[at : at + batch], [""] * len(frames[at : at + batch]))
                log_probs = self.log_probs(part.frames, part.lengths)
                if beam == 1:
                    found = F.ctc_greedy_search(log_probs, part.lengths, blank=BLANK)
                else:
                    found = [best[0] for best in F.ctc_beam_search(log_probs, part.lengths, beam=beam, blank=BLANK)]
                texts += [self.decode(outputs) for outputs, _ in found]
        return texts

    def hear(self, samples: Samples, rate: int, *, beam: int = 8) -> str:
        """What is said in samples (L,)."""
        return self.transcribe([self.features(samples, rate)], beam=beam)[0]

    def describe(self) -> dict[str, str]:
        """See `Model.describe`."""
        features = self.features
        shown = " ".join(self.labels[:40]) + (" ..." if len(self.labels) > 40 else "")
        sound = f"{features.kind}, {features.size} numbers every {1000 * features.step:g} ms at {features.rate} Hz"
        return {**super().describe(), "labels": f"{len(self.labels)} {self.units}s: {shown}", "features": sound}
