"""Checkpoints: everything a run needs to go on bit for bit, in one file that is replaced as a whole.

A safetensors file with ``model.*`` (parameters), ``optimizer.*`` (its slots) and ``state.*`` (the carried recurrent
state); one metadata key ``rnncore`` holds the rest as JSON: configurations, vocabulary and the like, progress, the
generator's counter, the length of the log, and a checksum over all of it, so that a flipped bit is an error and no
other run.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnncore import Generator, Tensor, _core
from rnncore._messages import message
from rnncore.models.base import Model
from rnncore.nn import init
from rnncore.train.config import TrainConfig
from rnncore.train.progress import Progress
from rnncore.train.task import Source, State, build_model, task_class

FORMAT = 3  # 1 had no checksum, 2 knew of language models alone


@dataclass
class Checkpoint:
    """The content of a checkpoint file; `task`: the kind of the model, `model` and `assets`: what it is built from."""

    task: str
    model: dict[str, Any]
    assets: dict[str, Any]
    train: TrainConfig
    source: Source | None
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
            "task": self.task,
            "model": self.model,
            "assets": self.assets,
            "train": self.train.to_json(),
            "source": None if self.source is None else self.source.to_json(),
            "fingerprint": self.fingerprint,
            "progress": self.progress.to_json(),
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
        if rest["log_bytes"] < 0:
            raise ValueError(f"log_bytes {rest['log_bytes']}")
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "state": {}}
        for name, value in tensors.items():
            group, _, inner = name.partition(".")
            groups[group][inner] = value
        seed, call = rest["generator"]
        state = tuple(groups["state"][str(index)] for index in range(len(groups["state"])))
        source, optimizer = rest["source"], dict(rest["optimizer"])
        for name in ("kind", "lr", "step_count"):
            optimizer[name]  # KeyError: no such checkpoint
        return cls(
            task=rest["task"],
            model=dict(rest["model"]),
            assets=dict(rest["assets"]),
            train=TrainConfig.from_json(rest["train"]),
            source=None if source is None else task_class(rest["task"]).source_from_json(source),
            fingerprint=str(rest["fingerprint"]),
            progress=Progress.from_json(rest["progress"]),
            generator=(int(seed), int(call)),
            optimizer=optimizer,
            schedule=dict(rest["schedule"]),
            log_bytes=int(rest["log_bytes"]),
            parameters=groups["model"],
            slots=groups["optimizer"],
            state=state or None,
        )

    def build_model(self) -> Model:
        """The model with the parameters and the random state of the checkpoint.

        Raises:
            ValueError: parameters that do not fit the configuration.
        """
        generator = Generator(self.generator[0])
        with init.skipped():
            model = build_model(self.task, self.model, self.assets, generator)
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


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result
