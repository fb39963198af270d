"""Ids in a file that is mapped into memory."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np

_FORGET = 256  # reads after which mapped pages are given back


class MappedIds:
    """The ids of a part: as an array (L,) where it is read by index or slice, without holding what was read."""

    def __init__(self, path: Path, dtype: str, start: int, stop: int) -> None:
        self._where = (path, dtype)  # of the whole file
        self.start, self.stop = start, stop
        self.dtype = np.dtype(dtype)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else None
        whole = np.empty(0, self.dtype) if self._map is None else np.frombuffer(self._map, self.dtype)
        self._ids = whole[start:stop]
        self._reads = 0

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: Any) -> Any:
        found = np.array(self._ids[index])
        self._reads += 1
        if self._reads % _FORGET == 0 and self._map is not None and hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)  # the system's cache keeps the pages, this process does not
        return found

    def part(self, start: int, stop: int) -> MappedIds:
        """The ids start..stop-1, mapped too."""
        return MappedIds(*self._where, self.start + start, self.start + stop)
