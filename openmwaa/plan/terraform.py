# SPDX-License-Identifier: Apache-2.0
"""Makes a Terraform plan in a folder that `openmwaa synth` wrote, reads it, and applies exactly this plan."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from openmwaa.errors import PlanUnreadableError, TerraformError
from openmwaa.progress import Progress, reported
from openmwaa.terraform import Terraform

PLAN_FILE: Final = "openmwaa.tfplan"
_EXIT_CHANGES: Final = 2
_GRACE_S: Final = 600.0
"""After Ctrl-C Terraform ends its running calls, saves the state and releases the lock."""


class PlanRunner:
    """The plan of one folder; with `verbose`, Terraform's output goes to standard error too."""

    def __init__(self, folder: Path, *, progress: Progress, verbose: bool = False) -> None:
        if (program := shutil.which("terraform")) is None:
            raise TerraformError("`terraform` is not on PATH; see https://developer.hashicorp.com/terraform")
        self._terraform = Terraform(program, folder, os.environ, _GRACE_S, self._interrupted)
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

    def apply(self, total: int) -> int:
        """Apply the kept plan of `total` steps, delete it, and return the number of completed steps.

        Raises:
            TerraformError: with Terraform's own errors.
        """
        try:
            events = self._terraform.apply("-input=false", PLAN_FILE, total=total, progress=self._progress)
        finally:
            self.delete()  # the state has changed, so no other apply takes it
        if events.errors:
            errors = "\n".join(f"- {error}" for error in events.errors)
            raise TerraformError(f"Terraform could not apply the plan in {self._terraform.folder}:\n{errors}")
        return events.done

    def untaint(self, address: str) -> None:
        """Keep a resource whose creation was interrupted.

        Raises:
            TerraformError: with Terraform's own message.
        """
        self._run("untaint", "-no-color", address)

    def outputs(self) -> Mapping[str, Any]:
        """Return the outputs of the last apply by name.

        Raises:
            TerraformError: with Terraform's own message.
        """
        outputs = json.loads(self._terraform.output("output", "-json", "-no-color"))
        return {name: output["value"] for name, output in outputs.items()}

    def delete(self) -> None:
        """Delete the plan, so that it cannot be applied."""
        self.plan_file.unlink(missing_ok=True)

    def _run(self, *arguments: str, accept: tuple[int, ...] = (0,)) -> None:
        with reported(f"terraform {arguments[0]}", self._progress):
            output = self._terraform.output(*arguments, accept=accept)
        if self._verbose:
            os.write(2, output.encode())

    def _interrupted(self) -> None:
        self._progress("Interrupted: Terraform ends its running calls, saves its state and releases the lock.")
        self._progress("A second Ctrl-C ends it at once, and resources can be missing from the state.")
