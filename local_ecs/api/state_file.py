# SPDX-License-Identifier: Apache-2.0
"""The state on disk: replaced atomically, so that a killed daemon leaves the old or the new one.

It is not synced to the disk: what counts is the death of a process, not of the machine.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from local_ecs.api.errors import StateFileError


class Lasting(Protocol):
    """A model that has a lasting part."""

    def snapshot(self) -> Mapping[str, Any]:
        """Return it as JSON data."""
        ...

    def restore(self, data: dict[str, Any]) -> None:
        """Take what `snapshot` gave; raises KeyError, TypeError or ValueError for anything else."""
        ...


class StateFile:
    """Keeps a model's lasting part in a file; does nothing without a path."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written = ""

    def restore(self, model: Lasting) -> bool:
        """Fill a model from the file; tells whether there was one. Raises StateFileError when it cannot be read."""
        if self._path is None or not self._path.exists():
            return False
        try:
            text = self._path.read_text(encoding="utf-8")
            model.restore(_object(json.loads(text)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateFileError(
                f"{self._path} is not a state file of this version ({error}). Delete it; then apply again."
            ) from error
        self._written = text
        return True

    def save(self, model: Lasting) -> None:
        """Write the model's lasting part if it changed."""
        if self._path is None:
            return
        text = json.dumps(model.snapshot(), separators=(",", ":"))
        if text == self._written:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f"{self._path.name}.new")
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o600)
        draft.replace(self._path)
        self._written = text


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - it is the file that is wrong, as for the errors of json
    return value
