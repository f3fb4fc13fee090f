# SPDX-License-Identifier: Apache-2.0
"""One example: synthesised, validated, applied, planned again, destroyed, and searched for leftovers."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cdktf_app.errors import SynthError
from cdktf_app.main import document
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from openmwaa.errors import OpenmwaaError
from openmwaa.local.terraform.terraform_override import FILE as OVERRIDE_FILE
from tools.verify import prerequisites, recorder, rules, secret_scan, targets
from tools.verify.errors import FlakeError, StepError, ToolError, VerifyError
from tools.verify.leftovers import split_kept
from tools.verify.report import ROOT, ExampleReport, merge_waits
from tools.verify.targets import Target
from tools.verify.terraform import Events, Workspace

_ATTEMPTS: Final = 2
_SETTLES_WITHIN_S: Final = 60
"""APIs list a deleted resource for a while; some seconds were seen at most."""
STACK_FILE: Final = "cdk.tf.json"
STATE_FILE: Final = "terraform.tfstate"

Say = Callable[[str], None]
EXAMPLES: Final = ROOT / "examples"


def example_files(names: Sequence[str] = ()) -> list[Path]:
    """Return the files of the named examples, or of all.

    Raises:
        VerifyError: there is no example of a name.
    """
    found = {file.parent.name: file for file in sorted(EXAMPLES.glob("*/environment*.yaml"))}
    if unknown := sorted(set(names) - set(found)):
        raise VerifyError(f"There is no example {unknown[0]}; there are {', '.join(found)}.")
    return [file for name, file in found.items() if not names or name in names]


@dataclass(frozen=True)
class Settings:
    """How examples are verified."""

    folder: Path
    """The folder of stacks, overrides and states."""
    kind: Literal["emulators", "real"] = "emulators"
    endpoint: str | None = None
    parallelism: int = 30
    terraform: str = "terraform"
    update: bool = False
    """Whether a changed tag of every resource is applied before the destroy, to record the calls of an update."""


class Run:
    """One attempt at one example."""

    def __init__(self, environment: Environment, settings: Settings, report: ExampleReport, say: Say) -> None:
        self._environment = environment
        self._settings = settings
        self._report = report
        self._say = say
        self._folder = settings.folder / report.name
        self._calls: dict[str, str] = {}

    def __call__(self) -> None:
        """Do all steps and destroy what was applied.

        Raises:
            VerifyError: a step failed; what was applied is destroyed.
        """
        self._report.attempts += 1
        with targets.target(self._settings.kind, self._environment, self._settings.endpoint) as target:
            environment = prerequisites.provide(self._environment, target) if target.emulated else self._environment
            before = target.resources(environment.name)
            workspace = self._prepare(environment, target)
            with self._phase("init"):
                workspace.init()
            with self._phase("validate"):
                workspace.validate()
            self._apply_and_destroy(environment, target, workspace, before)

    def _apply_and_destroy(
        self, environment: Environment, target: Target, workspace: Workspace, before: set[str]
    ) -> None:
        kept: list[str] = []
        try:
            with self._phase("apply"):
                self._report.resources = self._kept("apply", workspace.apply()).added
            with self._phase("plan"):
                self._report.changes = workspace.changes(self._kept("plan", workspace.plan()))
            self._search_secrets(target, workspace)
            kept = _strings(workspace.outputs().get("retained_resources", []))
            if changed := self._changed(environment):
                with self._phase("update"):
                    self._write(changed, target)
                    self._kept("update", workspace.apply())
        except BaseException:
            # Emulators end with their resources; an account keeps what is not destroyed.
            if not target.emulated:
                self._tear_down(environment, target, workspace)
            raise
        with self._phase("destroy"):
            self._kept("destroy", self._destroy(workspace))
        self._check_rules(target)
        left = self._settled_leftovers(environment, target, before, kept)
        self._report.leftovers, self._report.kept = split_kept(left, kept)
        if self._report.leftovers and target.emulated and self._report.attempts < _ATTEMPTS:
            # A busy emulator kept a VPC endpoint whose deletion it had confirmed. A defect of the stack shows again.
            raise FlakeError(f"left over after destroy: {', '.join(self._report.leftovers)}")

    def _kept(self, phase: str, events: Events) -> Events:
        """Add waits and calls of a step to the report."""
        merge_waits(self._report.waits, events.waits)
        self._report.calls[phase] = sorted(set(events.calls.values()))
        self._calls |= events.calls
        return events

    def _check_rules(self, target: Target) -> None:
        """Check the values of every request; one that was not recorded cannot be checked, so it is a violation too."""
        if not target.emulated:
            return
        missing = {call for key, call in self._calls.items() if key not in target.requests}
        self._report.rule_violations = [f"{call}: its request was not recorded" for call in sorted(missing)]
        known = [(call, target.requests[key]) for key, call in self._calls.items() if key in target.requests]
        if known:
            self._report.checked = len(known)
            self._report.rule_violations += rules.violations(recorder.parsed(known))

    def _changed(self, environment: Environment) -> Environment | None:
        """Return what is applied before the destroy: without protection, and with a changed tag of every resource."""
        unprotected = without_protection(environment)
        if not self._settings.update:
            return unprotected
        return (unprotected or environment).model_copy(update={"tags": {**environment.tags, "verified": "1"}})

    def _settled_leftovers(
        self, environment: Environment, target: Target, before: set[str], kept: Sequence[str]
    ) -> set[str]:
        """Return what remains after a destroy; wait until only kept resources remain, at most `_SETTLES_WITHIN_S`."""
        deadline = time.monotonic() + _SETTLES_WITHIN_S
        while True:
            left = target.resources(environment.name) - before
            if not split_kept(left, kept)[0] or time.monotonic() > deadline:
                return left
            time.sleep(1)

    def _search_secrets(self, target: Target, workspace: Workspace) -> None:
        stack = self._folder / STACK_FILE
        if not (known := json.loads(stack.read_text())).get("resource", {}).get("aws_secretsmanager_secret"):
            return
        with self._phase("secrets"):
            files = (stack, self._folder / OVERRIDE_FILE, self._folder / STATE_FILE)
            texts = {file.name: file.read_text() for file in files} | {"plan": workspace.shown_plan()}
            report, client = self._report, target.client("secretsmanager")
            report.secrets, report.exposed = secret_scan.search(known, texts, STATE_FILE, client)

    def _destroy(self, workspace: Workspace) -> Events:
        try:
            return workspace.destroy()
        except StepError as error:
            # On a busy machine an emulator's answer gets lost, and the SDK deletes a deleted resource again: seen twice
            # in some 20 destroys, for a target group and a listener. A second destroy is what a person does.
            if "not found" not in str(error):
                raise
            self._say(f"destroying again, because a resource was already gone: {error}")
            return workspace.destroy()

    def _tear_down(self, environment: Environment, target: Target, workspace: Workspace) -> None:
        self._say("destroying the applied resources")
        with contextlib.suppress(VerifyError):
            if unprotected := without_protection(environment):
                self._write(unprotected, target)
                workspace.apply()
        try:
            self._destroy(workspace)
        except VerifyError as error:
            self._say(f"NOT DESTROYED, the resources cost money: run `terraform destroy` in {self._folder}\n{error}")

    def _prepare(self, environment: Environment, target: Target) -> Workspace:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        with self._phase("synth"):
            self._write(environment, target)
        program = shutil.which(self._settings.terraform)
        if program is None:
            raise ToolError(f"There is no program `{self._settings.terraform}` on PATH.")
        variables = target.variables(self._folder)
        return Workspace(program, self._folder, variables, self._say, self._settings.parallelism)

    def _write(self, environment: Environment, target: Target) -> None:
        stack = document(environment)
        override = target.override(stack, self._folder / STATE_FILE)
        (self._folder / STACK_FILE).write_text(json.dumps(stack, indent=1))
        (self._folder / OVERRIDE_FILE).write_text(json.dumps(override, indent=1))

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self._say(name)
        started = time.monotonic()
        try:
            yield
        finally:
            self._report.seconds[name] = round(time.monotonic() - started, 1)


def verify(file: Path, settings: Settings, say: Say) -> ExampleReport:
    """Verify one example; errors are in the report. After a flake of an emulator it starts again, once."""
    report = ExampleReport(name=file.parent.name)
    try:
        environment = load(file)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                Run(environment, settings, report, say)()
            except FlakeError as error:
                if attempt == _ATTEMPTS or settings.kind == "real":
                    raise
                say(f"again, with new emulators: {error}")
            else:
                break
    except (VerifyError, OpenmwaaError, SynthError) as error:
        report.error = str(error)
    return report


def without_protection(environment: Environment) -> Environment | None:
    """Return the environment without deletion protection, to apply before a destroy; None if nothing is protected."""
    parts = {"metadata_database": environment.metadata_database, "web_access": environment.web_access}
    off = {
        name: part.model_copy(update={"deletion_protection": False})
        for name, part in parts.items()
        if getattr(part, "deletion_protection", False)
    }
    return environment.model_copy(update=off) if off else None


def _strings(value: Any) -> list[str]:
    """Return every string in a JSON value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return []
