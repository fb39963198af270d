"""A run folder as a report sees it: whatever of it is there, and notes on what is not."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnncore.report.log import Log, LogFile
from rnncore.train import RunFolder

if TYPE_CHECKING:
    from rnncore.models import Model


@dataclass
class Run:
    """A run.

    Attributes:
        name: of its folder.
        folder: its files.
        log: its log, empty where there is none.
        config: of ``config.json``; empty where there is none.
        notes: what is missing, cut short or not understood, for people.
    """

    name: str
    folder: RunFolder
    log: Log
    config: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Run:
        """Read what there is of a run.

        Raises:
            OSError: no such folder, or none of a run's files in it.
        """
        folder = RunFolder.open(path)
        run = cls(folder.path.resolve().name, folder, Log(), {})
        run._read_config()
        run._read_log()
        if not folder.checkpoint.exists():
            run.notes.append("no checkpoint.safetensors: this run cannot be resumed")
        return run

    def model(self) -> Model | None:
        """The best model, or None with a note."""
        from rnncore import models

        if not self.folder.model.exists():
            self.notes.append("no model.safetensors: nothing about what its units do")
            return None
        try:
            return models.load(self.folder.model)
        except (OSError, ValueError, TypeError, KeyError) as error:
            self.notes.append(f"model.safetensors cannot be read: {error}")
            return None

    def _read_config(self) -> None:
        path = self.folder.config
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            self.notes.append("no config.json: its options and its machine are not known")
            return
        except (OSError, ValueError) as error:
            self.notes.append(f"config.json cannot be read: {error}")
            return
        if isinstance(content, dict):
            self.config = content
        else:
            self.notes.append("config.json is no object: left out")

    def _read_log(self) -> None:
        file = LogFile(self.folder.log)
        try:
            file.poll()
        except FileNotFoundError:
            self.notes.append("no log.jsonl: no curves")
            return
        except OSError as error:
            self.notes.append(f"log.jsonl cannot be read: {error.strerror or error}")
            return
        self.log = log = file.log
        if file.incomplete:
            self.notes.append("the last line of log.jsonl is incomplete (still being written, or cut short): left out")
        if log.bad:
            self.notes.append(f"{log.bad:,} lines of log.jsonl are no records of rnncore: left out")
        if log.lines == 0:
            self.notes.append("log.jsonl is empty: the run has not logged an update yet")
        if log.stride > 1:
            self.notes.append(f"a log of {log.lines:,} lines: of its updates 1 in {log.stride} is shown")
