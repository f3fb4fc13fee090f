# SPDX-License-Identifier: Apache-2.0
"""The steps of a command: their order, their record, and what the steps of deploy and destroy use."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from openmwaa.config.environment import Environment
from openmwaa.cost.stack import Resource
from openmwaa.errors import OpenmwaaError
from openmwaa.local.install.prerequisites import problems
from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import CredentialsError
from openmwaa.operate.sleep import AppliedSleep, hold_awake
from openmwaa.plan.changes import TerraformPlan, read_state
from openmwaa.plan.review import review
from openmwaa.plan.terraform import PlanRunner
from openmwaa.plan.verdict import Verdict
from openmwaa.progress import Progress, reported

Outcome = Literal["done", "planned", "refused", "declined", "unfinished", "failed", "interrupted"]
Synthesise = Callable[[Environment, Path], Path]
"""Writes the Terraform of an environment to a folder and returns the file."""
Confirm = Callable[[str, str | None], bool]
"""Returns the answer to a question; with a text, whether the user types it."""


class DeployError(OpenmwaaError):
    """A step cannot be done; the text gives the reason and the remedy."""


@dataclass
class Step:
    """One step; `details` are its results."""

    name: str
    outcome: Literal["done", "failed", "interrupted"] = "failed"
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Report:
    """What a command did, step by step."""

    environment: str
    region: str
    outcome: Outcome = "failed"
    steps: list[Step] = field(default_factory=list)

    @property
    def details(self) -> dict[str, Any]:
        """The results of all steps."""
        return {name: value for step in self.steps for name, value in step.details.items()}

    def as_data(self, error: str | None) -> dict[str, Any]:
        """Return plain data for `--json`."""
        steps = [{"name": step.name, "outcome": step.outcome, "seconds": round(step.seconds, 1)} for step in self.steps]
        head = {"environment": self.environment, "region": self.region, "outcome": self.outcome, "error": error}
        return {**head, "steps": steps, **self.details}


@dataclass
class StepRunner:
    """One call of a command: its environment, where its Terraform is, and how it reports and is answered."""

    connection: Connection
    terraform_dir: Path
    synthesise: Synthesise
    confirm: Confirm
    say: Progress
    report: Report = field(init=False)
    _held: AppliedSleep | None = None

    def __post_init__(self) -> None:
        self.report = Report(self.environment.name, self.environment.region)
        self.terraform = PlanRunner(self.folder, progress=self.note)

    @property
    def environment(self) -> Environment:
        """The environment as in its file."""
        return self.connection.environment

    @property
    def folder(self) -> Path:
        """The folder of the environment's Terraform."""
        return self.terraform_dir / self.environment.name

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Record a step; its results go to the yielded mapping."""
        step = Step(name)
        self.report.steps.append(step)
        self.say(f"{name}:")
        began = time.monotonic()
        try:
            yield step.details
            step.outcome = "done"
        except KeyboardInterrupt:
            step.outcome = "interrupted"
            raise
        finally:
            step.seconds = time.monotonic() - began

    def note(self, line: str) -> None:
        """Report a line of the current step."""
        self.say(f"  {line}")

    def check_programs(self) -> None:
        """Check that Terraform and Node.js can be used.

        Raises:
            DeployError: names what is missing or too old.
        """
        if found := problems():
            raise DeployError("This command needs the following on this machine:\n" + "\n".join(found))

    def synth(self, environment: Environment) -> dict[str, Any]:
        """Write the Terraform of `environment` and return it."""
        with reported("Writing the Terraform configuration", self.note):
            file = self.synthesise(environment, self.terraform_dir)
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return document

    def open_state(self) -> TerraformPlan:
        """Check the credentials, open the state, and return what was applied.

        Raises:
            DeployError: the state belongs to another account.
            CredentialsError: AWS does not accept the credentials.
        """
        caller = self._caller()
        self.note(f"account {caller['Account']}, {self.environment.region}, as {caller['Arn']}")
        self.report.steps[-1].details["account"] = caller["Account"]
        self.terraform.init()
        state = self.state()
        for resource in state.before:
            owner = str(resource.values.get("arn") or "::::").split(":")[4]
            if resource.type == "aws_ecs_cluster" and owner != caller["Account"]:
                raise DeployError(
                    f"{self.environment.name} is in account {owner}, and the credentials are of account "
                    f"{caller['Account']}. Set AWS_PROFILE."
                )
        return state

    def state(self) -> TerraformPlan:
        """Return what was applied last."""
        return read_state(self.terraform.show())

    def review(self, environment: Environment, arguments: Sequence[str] = ()) -> Verdict:
        """Plan and judge; what an interrupted apply made half is kept, and completed by the next apply."""
        verdict = review(self.terraform, environment, arguments)
        for address in verdict.to_untaint:
            self.note(f"{address} exists already, its creation was interrupted")
            self.terraform.untaint(address)
        return review(self.terraform, environment, arguments) if verdict.to_untaint else verdict

    def hold_awake(self, state: TerraformPlan, reason: str) -> None:
        """Keep the applied environment awake, whatever its schedule: AWS changes no stopped database."""
        for definition in find(state, "aws_ecs_task_definition", "scaler"):
            containers = json.loads(definition.values["container_definitions"])
            if sleep := AppliedSleep.of_containers(self.connection, containers):
                self._held = sleep
                hold_awake(sleep, reason, self.note)

    def release(self, reason: str) -> None:
        """Put the next times of the schedule in force again."""
        if self._held is not None:
            self._held.write("awake", reason)

    def apply(self, verdict: Verdict) -> None:
        """Apply the kept plan."""
        done = self.terraform.apply(verdict.plan.steps)
        self.note(f"{done} of {verdict.plan.steps} resources")

    def _caller(self) -> Mapping[str, str]:
        try:
            with aws_errors(self.connection, "sts:GetCallerIdentity", "*"):
                caller: Mapping[str, str] = self.connection.client("sts").get_caller_identity()
        except CredentialsError as error:
            hint = f"If they are valid elsewhere: is the Region {self.environment.region} enabled in the account?"
            raise CredentialsError(f"{error} {hint}") from error
        return caller


def find(state: TerraformPlan, kind: str, name: str | None = None) -> list[Resource]:
    """Return the applied resources of a type, or of a type and name."""
    return [resource for resource in state.before if resource.type == kind and name in (None, resource.name)]
