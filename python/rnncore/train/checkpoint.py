"""Checkpoints: everything a run needs to go on bit for bit, in one file that is replaced as a whole.

A safetensors file with ``model.*`` (parameters), ``optimizer.*`` (its slots) and ``state.*`` (the carried recurrent
state); one metadata key ``rnncore`` holds the rest as JSON: configurations, vocabulary, progress, the generator's
counter, the length of the log, and a checksum over all of it, so that a flipped bit is an error and no other run.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rnncore import Generator, Tensor, _core
from rnncore._messages import message
from rnncore.data import TextSource, Vocabulary
from rnncore.models.language_model import LanguageModel, State
from rnncore.train.config import TrainConfig

FORMAT = 2  # 1 had no checksum


@dataclass
class Progress:
    """Where a run stands; every number that a later step depends on.

    Attributes:
        epoch: whole epochs done; `chunk`: updates done in the one after; `step`: updates done in all.
        seconds: training time so far.
        epoch_nats, epoch_tokens: sums of the epoch so far.
        window_nats, window_tokens, window_clipped, window_steps: sums since the last line of the log.
        clipped_steps: updates in which clipping by norm acted.
        best_valid, best_epoch: the best validation (nats) and its epoch; `bad_epochs`: validations since.
        finished: "" while it goes on, else why it ended.
    """

    epoch: int = 0
    chunk: int = 0
    step: int = 0
    seconds: float = 0.0
    epoch_nats: float = 0.0
    epoch_tokens: int = 0
    window_nats: float = 0.0
    window_tokens: int = 0
    window_clipped: int = 0
    window_steps: int = 0
    clipped_steps: int = 0
    best_valid: float | None = None
    best_epoch: int = 0
    bad_epochs: int = 0
    finished: str = ""


@dataclass
class Checkpoint:
    """The content of a checkpoint file."""

    model: dict[str, Any]
    vocabulary: dict[str, Any] | None
    train: TrainConfig
    source: TextSource | None
    fingerprint: str
    progress: Progress
    generator: tuple[int, int]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    log_bytes: int
    parameters: dict[str, Tensor] = field(repr=False)
    slots: dict[str, Tensor] = field(repr=False)
    state: State | None = field(repr=False)

    def save(self, path: Path) -> None:
        """Write it atomically.

        Raises:
            OSError: it cannot be written (the one before stays).
        """
        tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in self.parameters.items()}
        tensors.update({f"optimizer.{name}": value for name, value in self.slots.items()})
        tensors.update({f"state.{index}": value for index, value in enumerate(self.state or ())})
        rest = {
            "format": FORMAT,
            "kind": "checkpoint",
            "model": self.model,
            "vocabulary": self.vocabulary,
            "train": self.train.to_json(),
            "source": None if self.source is None else self.source.to_json(),
            "fingerprint": self.fingerprint,
            "progress": asdict(self.progress),
            "generator": list(self.generator),
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "log_bytes": self.log_bytes,
        }
        rest["checksum"] = checksum(tensors, rest)
        _core.save_tensors(os.fspath(path), tensors, {"rnncore": json.dumps(rest, allow_nan=False)})

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read and check one.

        Raises:
            OSError: no such file, a damaged or foreign one.
        """
        tensors, metadata = _core.load_tensors(os.fspath(path))
        try:
            return cls._from_parts(tensors, json.loads(metadata["rnncore"], object_pairs_hook=_no_duplicates))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise OSError(message("load checkpoint", str(path), "an rnncore checkpoint", reason)) from None

    @classmethod
    def _from_parts(cls, tensors: dict[str, Tensor], rest: dict[str, Any]) -> Checkpoint:
        if rest["kind"] != "checkpoint" or rest["format"] != FORMAT:
            raise ValueError(f"{rest['kind']} of format {rest['format']}, this version reads format {FORMAT}")
        if rest["checksum"] != checksum(tensors, rest):
            raise ValueError("one whose content does not fit its checksum: the file is damaged")
        _check_progress(rest["progress"])
        if rest["log_bytes"] < 0:
            raise ValueError(f"log_bytes {rest['log_bytes']}")
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "state": {}}
        for name, value in tensors.items():
            group, _, inner = name.partition(".")
            groups[group][inner] = value
        seed, call = rest["generator"]
        state = tuple(groups["state"][str(index)] for index in range(len(groups["state"])))
        source = rest["source"]
        return cls(
            model=dict(rest["model"]),
            vocabulary=rest["vocabulary"],
            train=TrainConfig.from_json(rest["train"]),
            source=None if source is None else TextSource.from_json(source),
            fingerprint=str(rest["fingerprint"]),
            progress=Progress(**rest["progress"]),
            generator=(int(seed), int(call)),
            optimizer={name: rest["optimizer"][name] for name in ("kind", "lr", "step_count")},
            schedule=dict(rest["schedule"]),
            log_bytes=int(rest["log_bytes"]),
            parameters=groups["model"],
            slots=groups["optimizer"],
            state=state or None,
        )

    def build_model(self) -> LanguageModel:
        """The model with the parameters and the random state of the checkpoint.

        Raises:
            ValueError: parameters that do not fit the configuration.
        """
        vocabulary = None if self.vocabulary is None else Vocabulary.from_json(self.vocabulary)
        generator = Generator(self.generator[0])
        model = LanguageModel(**self.model, vocabulary=vocabulary, generator=generator)
        model.load_state_dict(self.parameters)
        generator.set_state(self.generator)
        return model


def checksum(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> int:
    """CRC-32 of the tensors (names, dtypes, shapes, bytes; in the order of their names) and of the JSON part."""
    described = {name: value for name, value in rest.items() if name != "checksum"}
    crc = zlib.crc32(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        values = tensors[name].numpy()
        crc = zlib.crc32(f"{name} {values.dtype} {values.shape}".encode(), crc)
        crc = zlib.crc32(values.reshape(-1).view("uint8").data, crc)
    return crc


def _check_progress(progress: dict[str, Any]) -> None:
    if set(progress) != {part.name for part in fields(Progress)}:
        raise ValueError("other fields in progress")
    for part in fields(Progress):
        value, kind = progress[part.name], str(part.type)
        if isinstance(value, str) or value is None:
            good = kind == ("str" if isinstance(value, str) else "float | None")
        else:
            good = type(value) is int or (type(value) is float and kind != "int")
            good = good and kind != "str" and math.isfinite(value) and value >= 0
        if not good:
            raise ValueError(f"{part.name} {value!r} in progress")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result
