# SPDX-License-Identifier: Apache-2.0
"""Runs Terraform in one folder, step by step, and reads its JSON events."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from openmwaa.errors import SubprocessError
from openmwaa.subprocesses import Program, run
from openmwaa.terraform import ApplyEvents
from tools.verify.aws_calls import recorded
from tools.verify.errors import FlakeError, StepError, ToolError

WITHIN_S: Final = 1800.0
PROGRESS_EVERY_S: Final = 15.0
_LAST_LINES: Final = 15
# When a response is lost, the SDK repeats the call, and the second call finds what the first one made.
_FLAKES: Final = ("ResourceAlreadyExistsException", "connection reset", "EOF", "timeout awaiting response")
_EXIT_CHANGES: Final = 2
_PLAN: Final = "last.tfplan"

Say = Callable[[str], None]
Event = Mapping[str, Any]


def changed(planned: Mapping[str, Any]) -> str:
    """Return an entry of a plan as ACTION ADDRESS (ATTRIBUTES); an empty text if it changes nothing."""
    change = planned["change"]
    if change["actions"] in (["no-op"], ["read"], ["open"]):
        return ""
    before, after = change.get("before") or {}, change.get("after") or {}
    names = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    unknown = {name for name in names if (change.get("after_unknown") or {}).get(name)}
    return f"{'/'.join(change['actions'])} {planned['address']} ({', '.join(sorted(names - unknown))})"


@dataclass
class Events(ApplyEvents):
    """The events of one step of `terraform -json`, with the waits and calls of its resources."""

    added: int = 0
    waits: dict[str, dict[str, float]] = field(default_factory=dict)
    calls: dict[str, str] = field(default_factory=dict)
    """Calls by the id of their invocation."""
    code: int = 0

    def take(self, event: Event) -> None:
        """Take one event."""
        super().take(event)
        if event["type"] == "change_summary" and event["changes"].get("operation") != "plan":
            self.added = event["changes"].get("add", 0)
        elif event["type"] == "apply_complete":
            hook = event["hook"]
            of_type = self.waits.setdefault(hook["resource"]["resource_type"], {})
            seconds = float(hook.get("elapsed_seconds", 0))
            of_type[hook["action"]] = max(seconds, of_type.get(hook["action"], 0.0))


@dataclass(frozen=True)
class Workspace:
    """A folder with a synthesised stack; `variables` are all environment variables of Terraform."""

    program: str
    folder: Path
    variables: Mapping[str, str]
    say: Say
    parallelism: int = 30

    def init(self) -> None:
        """Install the provider and open the state."""
        self._plain("init", "-input=false", "-no-color")

    def validate(self) -> None:
        """Validate the configuration against the provider's schemas."""
        self._plain("validate", "-no-color")

    def apply(self) -> Events:
        """Apply the configuration; the events hold the seconds of each resource."""
        return self._with_progress("apply", "-auto-approve", f"-parallelism={self.parallelism}")

    def destroy(self) -> Events:
        """Destroy everything."""
        return self._with_progress("destroy", "-auto-approve", f"-parallelism={self.parallelism}")

    def plan(self) -> Events:
        """Make a new plan."""
        words = ("-detailed-exitcode", f"-out={_PLAN}", f"-parallelism={self.parallelism}")
        return self._with_progress("plan", *words, success=(0, _EXIT_CHANGES))

    def changes(self, planned: Events) -> list[str]:
        """Return the changes of the last plan by action, address and attributes."""
        if planned.code != _EXIT_CHANGES:
            return []
        changes = json.loads(self.shown_plan())["resource_changes"]
        return sorted(filter(None, map(changed, changes))) or ["outputs"]

    def shown_plan(self) -> str:
        """Return the last plan as JSON, with the state before it."""
        return self._plain("show", "-json", _PLAN)

    def outputs(self) -> dict[str, Any]:
        """Return the outputs of the stack."""
        outputs: dict[str, Any] = json.loads(self._plain("output", "-json", "-no-color"))
        return {name: output["value"] for name, output in outputs.items()}

    def _plain(self, *words: str) -> str:
        lines: list[str] = []
        code = self._run(words, lines.append)
        if code:
            raise StepError(f"terraform {words[0]} ended with {code}:\n" + "\n".join(lines[-_LAST_LINES:]))
        return "\n".join(lines)

    def _with_progress(self, step: str, *words: str, success: tuple[int, ...] = (0,)) -> Events:
        events = Events()
        started = reported = time.monotonic()

        def line(text: str) -> None:
            nonlocal reported
            events.read(text)
            now = time.monotonic()
            if now - reported >= PROGRESS_EVERY_S:
                reported = now
                of = f" of {events.total}" if events.total is not None else ""
                self.say(f"{step}: {events.done}{of}, {now - started:.0f} s")

        with recorded(self.variables, events.calls) as variables:
            code = events.code = self._run((step, "-json", "-input=false", *words), line, variables)
        if code not in success:
            errors = events.errors or ["\n".join(events.other_lines)]
            text = f"terraform {step} ended with {code}:\n" + "\n".join(f"- {error}" for error in errors)
            flaked = any(word in error for word in _FLAKES for error in errors)
            raise (FlakeError if flaked else StepError)(text)
        return events

    def _run(
        self, words: tuple[str, ...], on_line: Callable[[str], None], variables: Mapping[str, str] | None = None
    ) -> int:
        try:
            program = Program((self.program, *words), self.folder, variables or self.variables)
            return run(program, within_s=WITHIN_S, on_line=on_line)
        except SubprocessError as error:
            raise ToolError(str(error)) from error
