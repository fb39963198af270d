"""Frames of sound as numbers: log-mel energies or mel-frequency cepstral coefficients, by SciPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncore._messages import message
from rnncore.data.audio import Samples

Frames = NDArray[np.float32]
KINDS = ("mfcc", "log-mel")
_SILENCE = 1e-8  # of power, below 16-bit noise


@dataclass(frozen=True)
class AcousticFeatures:
    """How sound becomes frames (T, F).

    A frame is the power spectrum of a Hann window of pre-emphasised samples, summed in triangular bands that are
    equally wide on the mel scale (Stevens et al.; 2595 log10(1 + f / 700)), as logarithms; "mfcc" takes their first
    cosine coefficients (Davis & Mermelstein 1980). Each column is brought to mean 0 and deviation 1 over the recording.

    Attributes:
        kind: "mfcc" (default) or "log-mel".
        rate: samples a second that recordings are brought to; default 8000.
        window: seconds of a frame; default 0.025. step: seconds between frames; default 0.01.
        bands: default 26. coefficients: of "mfcc"; default 13.
        deltas: how many derivatives in time are added (0 to 2, each by a line through five frames); default 2.
        normalise: whether to normalise each recording; default True.

    Example:
        >>> AcousticFeatures()(np.zeros(800, np.float32), 8000).shape
        (8, 39)
    """

    kind: str = "mfcc"
    rate: int = 8000
    window: float = 0.025
    step: float = 0.01
    bands: int = 26
    coefficients: int = 13
    deltas: int = 2
    normalise: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(message("features", "kind", " | ".join(KINDS), repr(self.kind)))
        if not 0 < self.step <= self.window:
            got = f"{self.step}, {self.window}"
            raise ValueError(message("features", "step, window", "seconds with 0 < step <= window", got))
        if not 1 <= self.coefficients <= self.bands:
            got = f"{self.coefficients}, {self.bands}"
            raise ValueError(message("features", "coefficients, bands", "1 <= coefficients <= bands", got))
        if self.rate < 1 or self.deltas not in (0, 1, 2):
            raise ValueError(
                message("features", "rate, deltas", "a rate, and 0, 1 or 2", f"{self.rate}, {self.deltas}")
            )

    @property
    def size(self) -> int:
        """F, numbers a frame."""
        return (self.coefficients if self.kind == "mfcc" else self.bands) * (1 + self.deltas)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> AcousticFeatures:
        """Rebuild what `to_json` gave."""
        return cls(**value)

    def __call__(self, samples: Samples, rate: int) -> Frames:
        """Frames (T, F) of samples (L,); a recording that is shorter than a frame is filled with silence."""
        fft = _scipy("fft")
        if rate != self.rate:
            samples = _scipy("signal").resample_poly(samples, self.rate, rate)
        length, hop = round(self.window * self.rate), round(self.step * self.rate)
        signal = np.append(samples[:1], samples[1:] - 0.97 * samples[:-1]).astype(np.float64)
        if len(signal) < length:
            signal = np.pad(signal, (0, length - len(signal)))
        count = 1 + (len(signal) - length) // hop
        at = np.arange(count)[:, None] * hop + np.arange(length)[None, :]
        size = 1 << (length - 1).bit_length()
        power = np.abs(fft.rfft(signal[at] * np.hanning(length), n=size, axis=1)) ** 2 / length
        frames = np.log(power @ _mel_bands(self.bands, size, self.rate).T + _SILENCE)
        if self.kind == "mfcc":
            frames = fft.dct(frames, type=2, norm="ortho", axis=1)[:, : self.coefficients]
        parts = [frames]
        for _ in range(self.deltas):
            parts.append(_slopes(parts[-1]))
        result = np.concatenate(parts, axis=1)
        if self.normalise:
            result = (result - result.mean(axis=0)) / (result.std(axis=0) + 1e-5)
        return result.astype(np.float32)


def _scipy(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"scipy.{name}")
    except ImportError:
        hint = "pip install 'rnncore[speech]'"
        raise ImportError(message("features", "scipy", "the package scipy", "none installed", hint)) from None


@lru_cache(maxsize=8)
def _mel_bands(bands: int, size: int, rate: int) -> NDArray[np.float64]:
    """Triangles (bands, size / 2 + 1) over the frequencies of a transform of `size` samples."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    frequencies = np.arange(size // 2 + 1) * rate / size
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - left) / (middle - left), (right - frequencies) / (right - middle)
    triangles = np.maximum(0, np.minimum(rising, falling))
    nearest = np.abs(frequencies[None, :] - middle).argmin(axis=1)  # a narrow band has at least the nearest frequency
    triangles[np.arange(bands), nearest] = np.maximum(triangles[np.arange(bands), nearest], 0.1)
    return np.asarray(triangles)


def _slopes(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """The slope at each frame of a line through five."""
    padded = np.pad(frames, ((2, 2), (0, 0)), mode="edge")
    count = len(frames)
    slopes = sum(k * (padded[2 + k : 2 + k + count] - padded[2 - k : 2 - k + count]) for k in (1, 2))
    return np.asarray(slopes) / 10.0
