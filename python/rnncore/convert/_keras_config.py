"""The configuration of a Keras layer: known options are taken, all others must be off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What has no influence on inference.
_SILENT = (
    "name", "trainable", "dtype", "seed", "noise_shape", "implementation", "batch_shape", "batch_input_shape", "unroll",
    "use_cudnn", "input_length", "unit_forget_bias", "dropout", "recurrent_dropout", "rate", "stddev", "sparse",
    "ragged", "input_shape", "optional",
)  # fmt: skip
_ENDINGS = ("_initializer", "_regularizer", "_constraint")
_OFF = (None, False, 0)


class Config:
    """Options by name.

    Args:
        class_name: The Keras class.
        values: Its configuration.
    """

    def __init__(self, class_name: str, values: Any) -> None:
        if not isinstance(values, Mapping):
            raise ValueError(f"config: expected an object, got {type(values).__name__}")
        self.class_name = class_name
        self._values = dict(values)
        self._left = {key for key in self._values if key not in _SILENT and not key.endswith(_ENDINGS)}

    @property
    def name(self) -> str:
        """The layer's name."""
        return str(self.take("name", ""))

    @property
    def dtype(self) -> str:
        """Of weights and arithmetic alike: "float32" or "float64"."""
        policy = self._values.get("dtype") or "float32"
        if isinstance(policy, Mapping):
            policy = (policy.get("config") or {}).get("name") if isinstance(policy.get("config"), Mapping) else None
        if policy not in ("float32", "float64"):
            raise ValueError(f"dtype: expected float32 or float64, got {policy!r}")
        return str(policy)

    def take(self, key: str, default: Any) -> Any:
        """An option, of the default's type where that is a bool, number or text."""
        self._left.discard(key)
        value = self._values.get(key, default)
        if isinstance(default, bool):
            right = isinstance(value, bool)
        elif isinstance(default, (int, float)):
            right = isinstance(value, (int, float)) and not isinstance(value, bool)
        else:
            right = not isinstance(default, str) or isinstance(value, str)
        if not right:
            raise ValueError(f"{key}: expected {type(default).__name__}, got {value!r}")
        return value

    def size(self, key: str) -> int:
        """A required size."""
        value = self.take(key, None)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
            raise ValueError(f"{key}: expected a positive integer, got {value!r}")
        return value

    def finish(self) -> None:
        """ValueError naming options that are on and were not asked for."""
        on = [f"{key}={self._values[key]!r}" for key in sorted(self._left) if self._values[key] not in _OFF]
        if on:
            raise ValueError(f"options: expected none but known ones, got {', '.join(on)}")
