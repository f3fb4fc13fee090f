# SPDX-License-Identifier: Apache-2.0
"""Runs Terraform in a folder that `openmwaa synth` wrote: init, plan, show."""

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
    """One working folder; what Terraform says goes to the caller's standard error, where `loud`."""

    def __init__(self, folder: Path, *, program: str = "terraform", loud: bool = False) -> None:
        found = shutil.which(program)
        if found is None:
            raise TerraformMissingError(f"There is no `{program}` on PATH; https://developer.hashicorp.com/terraform")
        self._program = found
        self._folder = folder
        self._loud = loud

    @property
    def plan_file(self) -> Path:
        """Where the plan is kept for `terraform apply`."""
        return self._folder / PLAN_FILE

    def init(self) -> None:
        """Install provider and backend; a second or less when they are there.

        Raises:
            TerraformFailedError: with Terraform's own words.
        """
        self._run("init", "-input=false")

    def plan(self, arguments: Sequence[str] = ()) -> dict[str, Any]:
        """Plan, keep it in `plan_file`, and return it as JSON.

        Raises:
            TerraformFailedError: with Terraform's own words.
            PlanUnreadableError: what it wrote is not JSON.
        """
        self.plan_file.unlink(missing_ok=True)
        self._run("plan", "-input=false", "-detailed-exitcode", f"-out={PLAN_FILE}", *arguments, fine=(0, _CHANGES))
        # The plan holds what the state holds: it is nobody else's to read.
        self.plan_file.chmod(0o600)
        return self._shown(PLAN_FILE)

    def state(self) -> dict[str, Any]:
        """Return what was applied last, without asking AWS.

        Raises:
            TerraformFailedError: with Terraform's own words.
            PlanUnreadableError: what it wrote is not JSON.
        """
        return self._shown()

    def forget(self) -> None:
        """Delete the plan, so that nobody applies it."""
        self.plan_file.unlink(missing_ok=True)

    def _shown(self, *what: str) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads(self._run("show", "-json", *what, quiet=True))
        except ValueError as error:
            raise PlanUnreadableError(f"`terraform show -json` wrote no JSON: {error}") from error
        return document

    def _run(self, *words: str, fine: tuple[int, ...] = (0,), quiet: bool = False) -> str:
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
        if done.returncode not in fine:
            said = (done.stderr or done.stdout).strip()
            raise TerraformFailedError(f"`terraform {words[0]}` in {self._folder} failed:\n{said}")
        return done.stdout
