# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in a way the user can mend.

OpenmwaaError
├── EnvironmentFileError   the YAML file is missing, is not YAML, or says something wrong
├── openmwaa.operate.errors.OperateError     an environment that runs, in AWS or here
└── openmwaa.local.errors.LocalError   the environment on this machine
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class OpenmwaaError(Exception):
    """An error whose text tells the user what to do; the command line prints it without a traceback."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in an environment file."""

    file: Path
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class EnvironmentFileError(OpenmwaaError):
    """Every problem of an environment file at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
