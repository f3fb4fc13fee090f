# SPDX-License-Identifier: Apache-2.0
"""The state file: replaced atomically, so that a killed daemon leaves the old or the new one.

It is not synced to the disk: it has to survive the end of the process, not of the machine.
"""

import json
from pathlib import Path
from typing import Any

from local_ecs.model import EcsModel


class StateFileError(Exception):
    """The state file cannot be read. The message has its path and the next step."""


class StateFile:
    """Stores the persistent part of a model in a file. Does nothing without a path."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written = ""

    def restore(self, model: EcsModel) -> bool:
        """Load the file into a model. Returns whether it exists. Raises StateFileError if it cannot be read."""
        if self._path is None or not self._path.exists():
            return False
        try:
            text = self._path.read_text(encoding="utf-8")
            model.restore(_object(json.loads(text)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateFileError(
                f"{self._path} is not a state file of this version ({error}). Delete it and apply again."
            ) from error
        self._written = text
        return True

    def save(self, model: EcsModel) -> None:
        """Write the persistent part of the model if it changed."""
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
        raise ValueError("not a JSON object")  # noqa: TRY004 - an error of the file, like those of json
    return value
