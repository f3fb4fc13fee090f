# SPDX-License-Identifier: Apache-2.0
"""Makes a Terraform plan in a folder that `openmwaa synth` wrote, and reads it."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from openmwaa.errors import PlanUnreadableError, TerraformError
from openmwaa.progress import Progress, reported
from openmwaa.terraform import Terraform

PLAN_FILE: Final = "openmwaa.tfplan"
_EXIT_CHANGES: Final = 2


class PlanRunner:
    """The plan of one folder; with `verbose`, Terraform's output goes to standard error too."""

    def __init__(self, folder: Path, *, progress: Progress, verbose: bool = False) -> None:
        if (program := shutil.which("terraform")) is None:
            raise TerraformError("`terraform` is not on PATH; see https://developer.hashicorp.com/terraform")
        self._terraform = Terraform(program, folder, os.environ)
        self._progress = progress
        self._verbose = verbose

    @property
    def plan_file(self) -> Path:
        """The plan for `terraform apply`."""
        return self._terraform.folder / PLAN_FILE

    def init(self) -> None:
        """Install provider and backend; takes at most a second if they are there.

        Raises:
            TerraformError: with Terraform's own message.
        """
        self._run("init", "-no-color", "-input=false")

    def create(self, arguments: Sequence[str] = ()) -> dict[str, Any]:
        """Make a plan, keep it in `plan_file`, and return it as JSON.

        Raises:
            TerraformError: with Terraform's own message.
            PlanUnreadableError: Terraform's output is not JSON.
        """
        self.delete()
        options = ("-no-color", "-input=false", "-detailed-exitcode", f"-out={PLAN_FILE}")
        self._run("plan", *options, *arguments, accept=(0, _EXIT_CHANGES))
        self.plan_file.chmod(0o600)  # the plan holds the state, and the state may hold secrets
        return self.show(PLAN_FILE)

    def show(self, *file: str) -> dict[str, Any]:
        """Return a plan, or without `file` the state of the last apply, as JSON; no call of AWS is made.

        Raises:
            TerraformError: with Terraform's own message.
            PlanUnreadableError: Terraform's output is not JSON.
        """
        try:
            document: dict[str, Any] = json.loads(self._terraform.output("show", "-json", *file))
        except ValueError as error:
            raise PlanUnreadableError(f"The output of `terraform show -json` is not JSON: {error}") from error
        return document

    def delete(self) -> None:
        """Delete the plan, so that it cannot be applied."""
        self.plan_file.unlink(missing_ok=True)

    def _run(self, *arguments: str, accept: tuple[int, ...] = (0,)) -> None:
        with reported(f"terraform {arguments[0]}", self._progress):
            output = self._terraform.output(*arguments, accept=accept)
        if self._verbose:
            os.write(2, output.encode())
