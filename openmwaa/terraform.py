# SPDX-License-Identifier: Apache-2.0
"""Runs Terraform in one folder."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openmwaa.errors import TerraformError
from openmwaa.subprocesses import OnLine, Program, run

AUTOMATION = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}


@dataclass(frozen=True)
class Terraform:
    """The program, its working folder and its whole environment."""

    program: str
    folder: Path
    environment: Mapping[str, str]

    def run(
        self, *arguments: str, on_line: OnLine, on_error_line: OnLine | None = None, within_s: float = math.inf
    ) -> int:
        """Run one command and return its exit code; see `subprocesses.run`."""
        program = Program((self.program, *arguments), self.folder, {**self.environment, **AUTOMATION})
        return run(program, on_line=on_line, on_error_line=on_error_line, within_s=within_s)

    def output(self, *arguments: str, accept: tuple[int, ...] = (0,)) -> str:
        """Run one command and return its standard output.

        Raises:
            TerraformError: with Terraform's own message, if the exit code is not one of `accept`.
        """
        lines: list[str] = []
        errors: list[str] = []
        if self.run(*arguments, on_line=lines.append, on_error_line=errors.append) not in accept:
            message = "\n".join(errors or lines).strip()
            raise TerraformError(f"`terraform {arguments[0]}` in {self.folder} failed:\n{message}")
        return "".join(f"{line}\n" for line in lines)
