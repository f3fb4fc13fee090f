# SPDX-License-Identifier: Apache-2.0
"""Errors that the user can correct.

OpenmwaaError
├── EnvironmentFileError                     the YAML file is missing, is not YAML, or has wrong fields
├── EnvironmentNotFoundError                 a command names no environment, or several
├── SubprocessError                          a program cannot be started or does not end in time
├── TerraformError                           Terraform ended with an error
├── PlanUnreadableError                      the JSON of Terraform's plan is of an unknown version
├── CostError                                a quantity or a price is unknown
├── openmwaa.operate.errors.OperateError     a running environment, in AWS or on this machine
└── openmwaa.local.errors.LocalError         the environment on this machine
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final


class OpenmwaaError(Exception):
    """An error whose text names the remedy; the command line prints it without a traceback."""


class SubprocessError(OpenmwaaError):
    """A program cannot be started or does not end in time."""


class TerraformError(OpenmwaaError):
    """Terraform ended with an error; the text has Terraform's own message."""


class PlanUnreadableError(OpenmwaaError):
    """The JSON of Terraform's plan is of an unknown version."""


class CostError(OpenmwaaError):
    """A quantity or a price is unknown, so the cost is too."""


@dataclass(frozen=True)
class Problem:
    """One wrong field of an environment file."""

    file: Path
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        parts = (place, _shorten(self.field, 200), _shorten(self.message, 1000))
        line = ": ".join(part for part in parts if part)
        return "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


MAX_SHOWN: Final = 50
"""Problems in the text of an error."""


class EnvironmentFileError(OpenmwaaError):
    """All problems of an environment file together."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        lines = [str(problem) for problem in problems[:MAX_SHOWN]]
        if more := len(problems) - len(lines):
            lines.append(f"and {more} more")
        super().__init__("\n".join(lines))
        self.problems = tuple(problems)


class EnvironmentNotFoundError(OpenmwaaError):
    """The command names no environment, or several; the text lists the candidates."""
