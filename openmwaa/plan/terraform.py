# SPDX-License-Identifier: Apache-2.0
"""Runs terraform init, plan and show in a folder of `openmwaa synth`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from openmwaa.plan.errors import PlanUnreadableError, TerraformFailedError, TerraformMissingError

PLAN_FILE: Final = "openmwaa.tfplan"
_CHANGES: Final = 2


class Terraform:
    """Terraform in one working folder; with `loud`, its output goes to standard error."""

    def __init__(self, folder: Path, *, program: str = "terraform", loud: bool = False) -> None:
        found = shutil.which(program)
        if found is None:
            raise TerraformMissingError(f"`{program}` is not on PATH; see https://developer.hashicorp.com/terraform")
        self._program = found
        self._folder = folder
        self._loud = loud

    @property
    def plan_file(self) -> Path:
        """The plan file for `terraform apply`."""
        return self._folder / PLAN_FILE

    def init(self) -> None:
        """Run init; it takes at most a second if provider and backend are installed.

        Raises:
            TerraformFailedError: with Terraform's error message.
        """
        self._run("init", "-input=false")

    def plan(self, arguments: Sequence[str] = ()) -> dict[str, Any]:
        """Plan, save the plan in `plan_file`, and return it as JSON.

        Raises:
            TerraformFailedError: with Terraform's error message.
            PlanUnreadableError: the output is not JSON.
        """
        self.plan_file.unlink(missing_ok=True)
        self._run("plan", "-input=false", "-detailed-exitcode", f"-out={PLAN_FILE}", *arguments, accepted=(0, _CHANGES))
        # The plan contains values of the state, so only the user may read it.
        self.plan_file.chmod(0o600)
        return self._show(PLAN_FILE)

    def state(self) -> dict[str, Any]:
        """Return the state, without a refresh from AWS.

        Raises:
            TerraformFailedError: with Terraform's error message.
            PlanUnreadableError: the output is not JSON.
        """
        return self._show()

    def forget(self) -> None:
        """Delete the plan, so that it cannot be applied."""
        self.plan_file.unlink(missing_ok=True)

    def _show(self, *what: str) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads(self._run("show", "-json", *what, quiet=True))
        except ValueError as error:
            raise PlanUnreadableError(f"the output of `terraform show -json` is not JSON: {error}") from error
        return document

    def _run(self, *words: str, accepted: tuple[int, ...] = (0,), quiet: bool = False) -> str:
        done = subprocess.run(
            [self._program, words[0], *(() if quiet else ("-no-color",)), *words[1:]],
            cwd=self._folder,
            env={**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if self._loud and not quiet:
            os.write(2, done.stdout.encode())
        if done.returncode not in accepted:
            message = (done.stderr or done.stdout).strip()
            raise TerraformFailedError(f"`terraform {words[0]}` in {self._folder} failed:\n{message}")
        return done.stdout
