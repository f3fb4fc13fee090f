# SPDX-License-Identifier: Apache-2.0
"""Runs Terraform in one folder."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmwaa.errors import TerraformError
from openmwaa.subprocesses import OnLine, Program, run

AUTOMATION = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
PROGRESS_EVERY_S = 10.0
_LAST_LINES = 12


@dataclass
class ApplyEvents:
    """Reads the events of `terraform apply -json`."""

    total: int | None = None
    done: int = 0
    errors: list[str] = field(default_factory=list)
    other_lines: list[str] = field(default_factory=list)
    """The last lines that are no events; shown if Terraform fails without a diagnostic."""

    def read(self, line: str) -> None:
        """Read one line."""
        try:
            event: Mapping[str, Any] = json.loads(line)
            event["type"]
        except (ValueError, KeyError, TypeError):
            self.other_lines = [*self.other_lines, line][-_LAST_LINES:]
        else:
            self.take(event)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event."""
        kind = event["type"]
        if kind == "change_summary" and event["changes"].get("operation") == "plan":
            self.total = sum(event["changes"].get(action, 0) for action in ("add", "change", "remove"))
        elif kind == "apply_complete":
            self.done += 1
        elif kind == "diagnostic" and event["diagnostic"].get("severity") == "error":
            diagnostic = event["diagnostic"]
            address = f" ({diagnostic['address']})" if diagnostic.get("address") else ""
            detail = " ".join((diagnostic.get("detail") or "").split())
            self.errors.append(f"{diagnostic.get('summary', 'error')}{address}. {detail}".strip())


@dataclass(frozen=True)
class Terraform:
    """The program, its working folder and its whole environment."""

    program: str
    folder: Path
    environment: Mapping[str, str]
    grace_s: float = 20.0
    """Between SIGINT and SIGKILL, after Ctrl-C."""
    on_interrupt: Callable[[], None] | None = None

    def run(
        self, *arguments: str, on_line: OnLine, on_error_line: OnLine | None = None, within_s: float = math.inf
    ) -> int:
        """Run one command and return its exit code; see `subprocesses.run`."""
        variables = {**self.environment, **AUTOMATION}
        program = Program(
            (self.program, *arguments), self.folder, variables, self.grace_s, on_interrupt=self.on_interrupt
        )
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

    def apply(
        self, *arguments: str, progress: OnLine, total: int | None = None, within_s: float = math.inf
    ) -> ApplyEvents:
        """Run `terraform apply` and report its progress; the events hold its errors."""
        events = ApplyEvents(total)
        started = reported = time.monotonic()

        def on_line(line: str) -> None:
            nonlocal reported
            events.read(line)
            now = time.monotonic()
            if now - reported >= PROGRESS_EVERY_S:
                reported = now
                of = f" of {events.total}" if events.total is not None else ""
                progress(f"Terraform: {events.done}{of} resources, {now - started:.0f} s")

        code = self.run("apply", "-json", *arguments, on_line=on_line, within_s=within_s)
        if code and not events.errors:
            events.errors.append("\n".join(events.other_lines) or f"terraform apply ended with exit code {code}")
        return events
