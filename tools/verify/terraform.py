# SPDX-License-Identifier: Apache-2.0
"""The real Terraform in one folder, step by step, read by its own events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from openmwaa.errors import SubprocessError
from openmwaa.subprocesses import Program, run
from tools.verify.errors import FlakeError, StepError, ToolError

WITHIN_S: Final = 1800.0
PROGRESS_EVERY_S: Final = 15.0
_LAST_LINES: Final = 15
# A response that got lost is asked for again by the SDK, and the second call finds what the first made.
_FLAKES: Final = ("ResourceAlreadyExistsException", "connection reset", "EOF", "timeout awaiting response")
_CHANGES: Final = 2
_PLAN: Final = "last.tfplan"

Say = Callable[[str], None]
Event = Mapping[str, Any]


def changed(planned: Mapping[str, Any]) -> str:
    """Return an entry of a plan as ACTION ADDRESS (ATTRIBUTES); nothing when nothing of it is changed."""
    change = planned["change"]
    if change["actions"] in (["no-op"], ["read"], ["open"]):
        return ""
    before, after = change.get("before") or {}, change.get("after") or {}
    names = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    unknown = {name for name in names if (change.get("after_unknown") or {}).get(name)}
    return f"{'/'.join(change['actions'])} {planned['address']} ({', '.join(sorted(names - unknown))})"


@dataclass
class Events:
    """What `terraform -json` said in one step."""

    planned: int | None = None
    done: int = 0
    added: int = 0
    errors: list[str] = field(default_factory=list)
    waits: dict[str, dict[str, float]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    code: int = 0

    def read(self, line: str) -> None:
        """Take one line."""
        try:
            event: Event = json.loads(line)
            kind = event["type"]
        except (ValueError, KeyError, TypeError):
            self.unread = [*self.unread, line][-_LAST_LINES:]
            return
        if kind == "change_summary" and event["changes"].get("operation") == "plan":
            self.planned = sum(event["changes"].get(word, 0) for word in ("add", "change", "remove"))
        elif kind == "change_summary":
            self.added = event["changes"].get("add", 0)
        elif kind == "apply_complete":
            self._complete(event["hook"])
        elif kind == "diagnostic" and event["diagnostic"].get("severity") == "error":
            self._error(event["diagnostic"])

    def _complete(self, hook: Event) -> None:
        self.done += 1
        of_type = self.waits.setdefault(hook["resource"]["resource_type"], {})
        seconds = float(hook.get("elapsed_seconds", 0))
        of_type[hook["action"]] = max(seconds, of_type.get(hook["action"], 0.0))

    def _error(self, diagnostic: Event) -> None:
        where = f" ({diagnostic['address']})" if diagnostic.get("address") else ""
        detail = " ".join((diagnostic.get("detail") or "").split())
        self.errors.append(f"{diagnostic.get('summary', 'error')}{where}. {detail}".strip())


@dataclass(frozen=True)
class Workspace:
    """A folder with a synthesised stack in it; `variables` are the whole environment of Terraform."""

    program: str
    folder: Path
    variables: Mapping[str, str]
    say: Say
    parallelism: int = 30

    def init(self) -> None:
        """Fetch the provider and open the state."""
        self._plain("init", "-input=false", "-no-color")

    def validate(self) -> None:
        """Have the provider's schemas judge the configuration."""
        self._plain("validate", "-no-color")

    def apply(self) -> Events:
        """Make what is configured; the events tell what took how long."""
        return self._watched("apply", "-auto-approve", f"-parallelism={self.parallelism}")

    def destroy(self) -> Events:
        """Remove everything."""
        return self._watched("destroy", "-auto-approve", f"-parallelism={self.parallelism}")

    def plan(self) -> list[str]:
        """Return what a plan would change now, by action, address and attributes."""
        words = ("-detailed-exitcode", f"-out={_PLAN}", f"-parallelism={self.parallelism}")
        events = self._watched("plan", *words, fine=(0, _CHANGES))
        if events.code != _CHANGES:
            return []
        planned = json.loads(self.shown_plan())["resource_changes"]
        return sorted(filter(None, map(changed, planned))) or ["outputs"]

    def shown_plan(self) -> str:
        """Return the last plan as JSON, with the state that it began with."""
        return self._plain("show", "-json", _PLAN)

    def outputs(self) -> dict[str, Any]:
        """Return the outputs of the stack."""
        said: dict[str, Any] = json.loads(self._plain("output", "-json", "-no-color"))
        return {name: output["value"] for name, output in said.items()}

    def _plain(self, *words: str) -> str:
        lines: list[str] = []
        code = self._run(words, lines.append)
        if code:
            raise StepError(f"terraform {words[0]} ended with {code}:\n" + "\n".join(lines[-_LAST_LINES:]))
        return "\n".join(lines)

    def _watched(self, step: str, *words: str, fine: tuple[int, ...] = (0,)) -> Events:
        events = Events()
        began = told = time.monotonic()

        def line(text: str) -> None:
            nonlocal told
            events.read(text)
            now = time.monotonic()
            if now - told >= PROGRESS_EVERY_S:
                told = now
                of = f" of {events.planned}" if events.planned is not None else ""
                self.say(f"{step}: {events.done}{of}, {now - began:.0f} s")

        code = events.code = self._run((step, "-json", "-input=false", *words), line)
        if code not in fine:
            errors = events.errors or ["\n".join(events.unread)]
            text = f"terraform {step} ended with {code}:\n" + "\n".join(f"- {error}" for error in errors)
            flaked = any(word in error for word in _FLAKES for error in errors)
            raise (FlakeError if flaked else StepError)(text)
        return events

    def _run(self, words: tuple[str, ...], on_line: Callable[[str], None]) -> int:
        try:
            return run(Program((self.program, *words), self.folder, self.variables), within_s=WITHIN_S, on_line=on_line)
        except SubprocessError as error:
            raise ToolError(str(error)) from error
