"""What descriptions of a run's files share: dataclasses that go through JSON and come back whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any, TypeVar

from rnncore._messages import message

S = TypeVar("S", bound="FileSource")


class FileSource:
    """Base of such dataclasses; the training data's path is their field `train`."""

    train: str

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    def describe(self) -> str:
        """The training path."""
        return self.train

    @classmethod
    def from_json(cls: type[S], value: Mapping[str, Any]) -> S:
        """Rebuild what `to_json` gave; what an older version did not write has its default.

        Raises:
            ValueError: unknown names, or no training data.
        """
        known = fields(cls)  # type: ignore[arg-type]
        names = {one.name for one in known}
        needed = {one.name for one in known if one.default is MISSING and one.default_factory is MISSING}
        if not needed <= set(value) <= names:
            raise ValueError(message("data source", "fields", ", ".join(sorted(names)), ", ".join(sorted(value))))
        return cls(**value)
