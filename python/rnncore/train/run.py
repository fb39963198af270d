"""A run folder: ``model.safetensors``, ``checkpoint.safetensors``, ``config.json``, ``log.jsonl``, ``loss.png``."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnncore import _core
from rnncore._messages import message
from rnncore.train.log import lock_of


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    path: Path

    @property
    def model(self) -> Path:
        """The best model so far (by validation; the latest where there is none)."""
        return self.path / "model.safetensors"

    @property
    def checkpoint(self) -> Path:
        """What the run goes on from."""
        return self.path / "checkpoint.safetensors"

    @property
    def config(self) -> Path:
        """All options, for people."""
        return self.path / "config.json"

    @property
    def log(self) -> Path:
        """One JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def picture(self) -> Path:
        """The loss curve."""
        return self.path / "loss.png"

    def holds_run(self) -> bool:
        """Whether there is a run in the folder."""
        return any(file.exists() for file in (self.checkpoint, self.model, self.log))

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, force: bool = False) -> RunFolder:
        """Make the folder.

        Args:
            path: where.
            force: take the place of a run that is there; its files are removed.

        Raises:
            FileExistsError: there is a run (or a file) already.
            OSError: the folder cannot be made or written, or another process is training in it.
        """
        run = cls(Path(path))
        if run.path.exists() and not run.path.is_dir():
            raise FileExistsError(message("run folder", str(run.path), "a folder or a new name", "a file"))
        if run.holds_run():
            if not force:
                hint = f"go on with: rnncore train --resume {run.path}; or choose another --out, or --force"
                raise FileExistsError(message("run folder", str(run.path), "no run in it", "one", hint))
            with lock_of(run.log):
                for file in (run.checkpoint, run.model, run.log, run.picture):
                    file.unlink(missing_ok=True)
        try:
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OSError(message("run folder", str(run.path), "a folder that can be made", reason)) from None
        return run

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """A folder with a run in it.

        Raises:
            OSError: there is none.
        """
        run = cls(Path(path))
        if not run.path.exists():
            raise FileNotFoundError(message("run folder", str(run.path), "a run", "no such folder"))
        if not run.path.is_dir():
            raise NotADirectoryError(message("run folder", str(run.path), "a folder with a run", "a file"))
        if not run.holds_run():
            got = "a folder without checkpoint, model or log"
            raise FileNotFoundError(message("run folder", str(run.path), "a run", got))
        return run

    def remove_leftovers(self) -> None:
        """Remove the temporary files that a kill in the middle of a write left."""
        for file in self.path.glob(".*.tmp"):
            if file.name.split(".", 2)[1] in ("model", "checkpoint", "config"):
                file.unlink(missing_ok=True)

    def write_config(self, content: dict[str, Any]) -> None:
        """Write ``config.json`` atomically."""
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        _core.write_file_atomically(os.fspath(self.config), text.encode())
