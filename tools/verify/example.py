# SPDX-License-Identifier: Apache-2.0
"""One example from its file to an empty account: synthesised, validated, applied, planned again, destroyed."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cdktf_app.errors import SynthError
from cdktf_app.main import document
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from openmwaa.errors import OpenmwaaError
from openmwaa.local.terraform.terraform_override import FILE as OVERRIDE_FILE
from tools.verify import exposure, given, places
from tools.verify.errors import FlakeError, StepError, ToolError, VerifyError
from tools.verify.leftovers import parted
from tools.verify.places import Place
from tools.verify.report import ExampleReport
from tools.verify.terraform import Events, Workspace

_ATTEMPTS: Final = 2
STACK_FILE: Final = "cdk.tf.json"
STATE_FILE: Final = "terraform.tfstate"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How examples are verified."""

    folder: Path
    """Where stacks, overrides and states are written."""
    kind: Literal["emulators", "real"] = "emulators"
    endpoint: str | None = None
    parallelism: int = 30
    terraform: str = "terraform"


class Run:
    """One example in one place, once."""

    def __init__(self, environment: Environment, settings: Settings, report: ExampleReport, say: Say) -> None:
        self._environment = environment
        self._settings = settings
        self._report = report
        self._say = say
        self._folder = settings.folder / report.name

    def __call__(self) -> None:
        """Do all steps and leave nothing behind.

        Raises:
            VerifyError: a step failed; what was applied is destroyed all the same.
        """
        self._report.attempts += 1
        with places.place(self._settings.kind, self._environment, self._settings.endpoint) as place:
            environment = given.provide(self._environment, place) if place.emulated else self._environment
            before = place.standing(environment.name)
            workspace = self._prepare(environment, place)
            with self._phase("init"):
                workspace.init()
            with self._phase("validate"):
                workspace.validate()
            self._apply_and_destroy(environment, place, workspace, before)

    def _apply_and_destroy(
        self, environment: Environment, place: Place, workspace: Workspace, before: set[str]
    ) -> None:
        kept: list[str] = []
        try:
            with self._phase("apply"):
                events = workspace.apply()
            self._report.resources = events.added
            self._note_waits(events)
            with self._phase("plan"):
                self._report.changes = workspace.plan()
            self._look_for_secrets(place, workspace)
            kept = _texts(workspace.outputs().get("retained_resources", []))
            if unprotected := without_protection(environment):
                with self._phase("unprotect"):
                    self._write(unprotected, place)
                    self._note_waits(workspace.apply())
        except BaseException:
            # Emulators go with what is in them; an account keeps what is not destroyed, whatever went wrong.
            if not place.emulated:
                self._tear_down(environment, place, workspace)
            raise
        with self._phase("destroy"):
            self._note_waits(self._destroyed(workspace))
        left = place.standing(environment.name) - before
        self._report.leftovers, self._report.kept = parted(left, kept)

    def _look_for_secrets(self, place: Place, workspace: Workspace) -> None:
        stack = self._folder / STACK_FILE
        if not (known := json.loads(stack.read_text())).get("resource", {}).get("aws_secretsmanager_secret"):
            return
        with self._phase("secrets"):
            files = (stack, self._folder / OVERRIDE_FILE, self._folder / STATE_FILE)
            texts = {file.name: file.read_text() for file in files} | {"plan": workspace.shown_plan()}
            report, client = self._report, place.client("secretsmanager")
            report.secrets, report.exposed = exposure.search(known, texts, STATE_FILE, client)

    def _destroyed(self, workspace: Workspace) -> Events:
        try:
            return workspace.destroy()
        except StepError as error:
            # On a busy machine an emulator's answer gets lost, and what it deleted is deleted once more: seen twice in
            # some twenty destroys, for a target group and a listener. A person would say it again too.
            if "not found" not in str(error):
                raise
            self._say(f"once more, for something was gone already: {error}")
            return workspace.destroy()

    def _tear_down(self, environment: Environment, place: Place, workspace: Workspace) -> None:
        self._say("destroying what was applied")
        with contextlib.suppress(VerifyError):
            if unprotected := without_protection(environment):
                self._write(unprotected, place)
                workspace.apply()
        try:
            self._destroyed(workspace)
        except VerifyError as error:
            self._say(f"NOT DESTROYED, and it costs money: run `terraform destroy` in {self._folder}\n{error}")

    def _prepare(self, environment: Environment, place: Place) -> Workspace:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        with self._phase("synth"):
            self._write(environment, place)
        program = shutil.which(self._settings.terraform)
        if program is None:
            raise ToolError(f"There is no program `{self._settings.terraform}` on PATH.")
        variables = place.variables(self._folder)
        return Workspace(program, self._folder, variables, self._say, self._settings.parallelism)

    def _write(self, environment: Environment, place: Place) -> None:
        stack = document(environment)
        turned = place.override(stack, self._folder / STATE_FILE)
        (self._folder / STACK_FILE).write_text(json.dumps(stack, indent=1))
        (self._folder / OVERRIDE_FILE).write_text(json.dumps(turned, indent=1))

    def _note_waits(self, events: Events) -> None:
        for kind, actions in events.waits.items():
            of_kind = self._report.waits.setdefault(kind, {})
            for action, seconds in actions.items():
                of_kind[action] = max(seconds, of_kind.get(action, 0.0))

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        self._say(name)
        began = time.monotonic()
        try:
            yield
        finally:
            self._report.seconds[name] = round(time.monotonic() - began, 1)


def verify(file: Path, settings: Settings, say: Say) -> ExampleReport:
    """Verify one example; what goes wrong is in the report. A flake of an emulator is answered by one fresh apply."""
    report = ExampleReport(file.parent.name)
    try:
        environment = load(file)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                Run(environment, settings, report, say)()
            except FlakeError as error:
                if attempt == _ATTEMPTS or settings.kind == "real":
                    raise
                say(f"once more, with new emulators: {error}")
            else:
                break
    except (VerifyError, OpenmwaaError, SynthError) as error:
        report.error = str(error)
    return report


def without_protection(environment: Environment) -> Environment | None:
    """Return the environment as it has to be applied before a destroy; None when nothing protects it."""
    parts = {"metadata_database": environment.metadata_database, "web_access": environment.web_access}
    off = {
        name: part.model_copy(update={"deletion_protection": False})
        for name, part in parts.items()
        if getattr(part, "deletion_protection", False)
    }
    return environment.model_copy(update=off) if off else None


def _texts(value: Any) -> list[str]:
    """Return every text within a value of JSON."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []
