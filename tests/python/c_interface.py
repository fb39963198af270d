"""The C interface through ctypes: declarations as in rnncore/c_api.h, and a model behind them."""

from __future__ import annotations

import ctypes as c
from pathlib import Path
from typing import Any

import numpy as np

from rnncore import _core

INT64, SIZE, TEXT, POINTER = c.c_int64, c.c_size_t, c.c_char_p, c.c_void_p
OK, ARGUMENT, TYPE, IO, NUMERIC, MEMORY, INTERNAL = range(7)


class ModelInfo(c.Structure):
    """rnncore_model_info."""

    _fields_ = [
        ("kind", TEXT),
        ("vocab_size", INT64),
        ("input_size", INT64),
        ("output_size", INT64),
        ("num_layers", INT64),
        ("is_double", c.c_int32),
        ("per_sequence", c.c_int32),
        ("has_vocabulary", c.c_int32),
    ]


class GenerateOptions(c.Structure):
    """rnncore_generate_options."""

    _fields_ = [
        ("length", INT64),
        ("temperature", c.c_double),
        ("top_k", INT64),
        ("top_p", c.c_double),
        ("seed", c.c_uint64),
        ("stop", TEXT),
    ]


FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "version": (TEXT, []),
    "last_error": (TEXT, []),
    "set_num_threads": (c.c_int, [c.c_int]),
    "model_load": (c.c_int, [TEXT, POINTER]),
    "model_parse": (c.c_int, [TEXT, SIZE, POINTER]),
    "model_free": (None, [POINTER]),
    "model_describe": (c.c_int, [POINTER, POINTER]),
    "model_spec_json": (TEXT, [POINTER]),
    "model_forward": (c.c_int, [POINTER, POINTER, INT64, INT64, POINTER, POINTER]),
    "model_forward_double": (c.c_int, [POINTER, POINTER, INT64, INT64, POINTER, POINTER]),
    "model_forward_ids": (c.c_int, [POINTER, POINTER, INT64, INT64, POINTER, POINTER]),
    "encode": (c.c_int, [POINTER, TEXT, SIZE, c.c_int, POINTER, SIZE, POINTER]),
    "decode": (c.c_int, [POINTER, POINTER, SIZE, POINTER, SIZE, POINTER]),
    "log_prob": (c.c_int, [POINTER, TEXT, SIZE, TEXT, POINTER]),
    "score": (c.c_int, [POINTER, POINTER, SIZE, POINTER]),
    "generate_defaults": (GenerateOptions, []),
    "generate": (c.c_int, [POINTER, TEXT, POINTER, POINTER, SIZE, POINTER]),
    "generate_ids": (c.c_int, [POINTER, POINTER, SIZE, POINTER, POINTER, SIZE, POINTER]),
    "stream_create": (c.c_int, [POINTER, INT64, POINTER]),
    "stream_free": (None, [POINTER]),
    "stream_step": (c.c_int, [POINTER, POINTER, POINTER]),
    "stream_step_double": (c.c_int, [POINTER, POINTER, POINTER]),
    "stream_step_ids": (c.c_int, [POINTER, POINTER, POINTER]),
    "stream_reset": (c.c_int, [POINTER]),
    "stream_reset_one": (c.c_int, [POINTER, INT64]),
    "stream_state_bytes": (SIZE, [POINTER]),
    "stream_save": (c.c_int, [POINTER, POINTER]),
    "stream_restore": (c.c_int, [POINTER, POINTER]),
    "stream_save_one": (c.c_int, [POINTER, INT64, POINTER]),
    "stream_restore_one": (c.c_int, [POINTER, INT64, POINTER]),
}


def library_path() -> Path:
    """The librnncore that the Python module itself uses."""
    beside = sorted((Path(_core.__file__).parent / "lib").glob("librnncore.*"))
    if beside:
        return beside[0]
    for line in Path("/proc/self/maps").read_text().splitlines():  # a build tree
        if "librnncore.so" in line:
            return Path(line.split(maxsplit=5)[5])
    raise FileNotFoundError("librnncore")


def open_library() -> c.CDLL:
    """The library with all its C functions declared."""
    library = c.CDLL(str(library_path()))
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, f"rnncore_{name}")
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY = open_library()


class CFailure(Exception):  # noqa: N818 (it is no error of Python's)
    """A status that is not OK, and the message."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(LIBRARY.rnncore_last_error().decode())


def call(name: str, *arguments: Any) -> None:
    """Call a function that gives a status; CFailure unless it is OK."""
    status = getattr(LIBRARY, f"rnncore_{name}")(*arguments)
    if status != OK:
        raise CFailure(status)


def address(array: Any) -> Any:
    """A pointer to an array's elements."""
    return array.ctypes.data


class CModel:
    """A model file behind the C interface."""

    def __init__(self, path: Path) -> None:
        self.handle = POINTER()
        call("model_load", str(path).encode(), c.byref(self.handle))
        self.info = ModelInfo()
        call("model_describe", self.handle, c.byref(self.info))
        self.dtype = np.float64 if self.info.is_double else np.float32

    def __del__(self) -> None:
        LIBRARY.rnncore_model_free(self.handle)

    def forward(self, values: Any, lengths: Any = None) -> Any:
        """(T, N) ids or (T, N, features) to the outputs."""
        steps, batch = values.shape[:2]
        name = "forward_ids" if self.info.vocab_size else "forward_double" if self.info.is_double else "forward"
        shape = (batch,) if self.info.per_sequence else (steps, batch)
        out = np.empty((*shape, self.info.output_size), self.dtype)
        kept = None if lengths is None else np.asarray(lengths, np.int64)
        array = np.ascontiguousarray(values, np.int64 if self.info.vocab_size else self.dtype)
        given = None if kept is None else address(kept)
        call(f"model_{name}", self.handle, address(array), steps, batch, given, address(out))
        return out

    def encode(self, text: bytes, *, end_line: bool = True) -> list[int]:
        """Ids of a text, asked for in two calls as C does it."""
        count = SIZE()
        call("encode", self.handle, text, len(text), end_line, None, 0, c.byref(count))
        ids = np.empty(count.value, np.int64)
        call("encode", self.handle, text, len(text), end_line, address(ids), count.value, c.byref(count))
        return ids.tolist()

    def decode(self, ids: list[int]) -> bytes:
        """The text of ids."""
        array, size = np.array(ids, np.int64), SIZE()
        call("decode", self.handle, address(array), len(ids), None, 0, c.byref(size))
        text = c.create_string_buffer(size.value + 1)
        call("decode", self.handle, address(array), len(ids), text, size.value + 1, None)
        return text.raw[:-1]

    def log_prob(self, text: str, start: str | None = None) -> float:
        """log P(text) in nats."""
        nats, raw = c.c_double(), text.encode()
        call("log_prob", self.handle, raw, len(raw), None if start is None else start.encode(), c.byref(nats))
        return nats.value

    def score(self, ids: Any) -> float:
        """Negative log-likelihood of ids."""
        nats, array = c.c_double(), np.asarray(ids, np.int64)
        call("score", self.handle, address(array), len(array), c.byref(nats))
        return nats.value

    def generate_ids(self, prompt: Any, **options: Any) -> list[int]:
        """Ids after those of the prompt."""
        array, chosen = np.asarray(prompt, np.int64), self._options(options)
        found, ids = SIZE(), np.empty(chosen.length, np.int64)
        call(
            "generate_ids", self.handle, address(array), len(array), c.byref(chosen), address(ids), len(ids),
            c.byref(found),
        )  # fmt: skip
        return ids[: found.value].tolist()

    @staticmethod
    def _options(options: dict[str, Any]) -> GenerateOptions:
        chosen: GenerateOptions = LIBRARY.rnncore_generate_defaults()
        for name, value in options.items():
            setattr(chosen, name, value)
        return chosen

    def generate(self, prompt: str, **options: Any) -> str:
        """A text after the prompt."""
        chosen = self._options(options)
        size, text = SIZE(), c.create_string_buffer(100_000)
        call("generate", self.handle, prompt.encode(), c.byref(chosen), text, len(text), c.byref(size))
        return text.raw[: size.value].decode()


class CStream:
    """A stream behind the C interface."""

    def __init__(self, model: CModel, batch: int = 1) -> None:
        self.handle, self.model, self.batch = POINTER(), model, batch
        call("stream_create", model.handle, batch, c.byref(self.handle))

    def __del__(self) -> None:
        LIBRARY.rnncore_stream_free(self.handle)

    def step(self, values: Any) -> Any:
        """Ids (N,) or features (N, I) to outputs (N, O)."""
        info = self.model.info
        name = "step_ids" if info.vocab_size else "step_double" if info.is_double else "step"
        array = np.ascontiguousarray(values, np.int64 if info.vocab_size else self.model.dtype)
        out = np.empty((self.batch, info.output_size), self.model.dtype)
        call(f"stream_{name}", self.handle, address(array), address(out))
        return out
