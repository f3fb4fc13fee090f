# SPDX-License-Identifier: Apache-2.0
"""The result of verifying: build/verify.json, and docs/reference/verified.md made from it."""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, computed_field

from tests.support.recorded_calls import FILE as RECORDED_CALLS
from tools.page_blocks import REFERENCE, reference, table

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "build" / "verify.json"
PAGE: Final = REFERENCE / "verified.md"
PHASES: Final = ("synth", "init", "validate", "apply", "plan", "secrets", "update", "destroy")
ACTIONS: Final = ("create", "update", "delete")
_LONG_WAIT_S: Final = 10


class Checkov(BaseModel):
    """The result of checkov for one example."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    findings: list[str] = []
    """What failed: check, address, and the name of the check."""


class ExampleReport(BaseModel):
    """The result of one example; a field of a step that did not happen keeps its default."""

    name: str
    resources: int = 0
    seconds: dict[str, float] = {}
    """Seconds by phase."""
    attempts: int = 0
    """Fresh applies: 2 after a flake of the emulator."""
    changes: list[str] = []
    """The changes of the second plan."""
    leftovers: list[str] = []
    kept: list[str] = []
    """What destroy leaves on purpose, by the output `retained_resources`."""
    secrets: int = 0
    """Number of secret values that were searched for in stack, plan and state."""
    exposed: list[str] = []
    """Where one was found."""
    waits: dict[str, dict[str, float]] = {}
    """Longest seconds of a resource type by action: create, update, delete."""
    calls: dict[str, list[str]] = {}
    """AWS calls by phase: apply, plan, update, destroy."""
    denied: dict[str, list[str]] = {}
    """Calls that the policies of the pipeline's roles deny, by role."""
    checked: int = 0
    """Requests of which every value was checked."""
    rule_violations: list[str] = []
    """Values that break a rule of their service: call, parameter, value, rule."""
    checkov: Checkov | None = None
    error: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """Whether there is no error, change, leftover, exposed secret or finding."""
        lists = (self.changes, self.leftovers, self.exposed, self.rule_violations, *self.denied.values())
        return not (self.error or any(lists) or (self.checkov and self.checkov.failed))

    @property
    def verdict(self) -> str:
        """Return the report in one line."""
        if self.error:
            return f"failed: {self.error.splitlines()[0]}"
        parts = [f"{self.resources} resources"] if self.resources else []
        parts += [f"{phase} {self.seconds[phase]:.0f} s" for phase in PHASES if phase in self.seconds]
        parts += [f"second plan changes {', '.join(self.changes)}"] if self.changes else []
        parts += [f"destroy leaves {', '.join(self.leftovers)}"] if self.leftovers else []
        parts += [f"{self.secrets} secret values not exposed"] if self.secrets and not self.exposed else []
        parts += [f"SECRETS EXPOSED: {', '.join(self.exposed)}"] if self.exposed else []
        parts += [f"denied to {role}: {', '.join(calls)}" for role, calls in self.denied.items() if calls]
        parts += [f"{len(self.rule_violations)} RULES BROKEN: {'; '.join(self.rule_violations)}"] * bool(
            self.rule_violations
        )
        parts += [f"{self.checked} requests within the rules"] if self.checked and not self.rule_violations else []
        if self.checkov:
            parts.append(f"checkov {self.checkov.passed}/{self.checkov.failed}/{self.checkov.skipped}")
        return ", ".join(parts)


def write(reports: Sequence[ExampleReport], place: str, file: Path = FILE) -> None:
    """Write build/verify.json."""
    file.parent.mkdir(parents=True, exist_ok=True)
    denied = {
        role: sum(len(report.denied.get(role, ())) for report in reports)
        for role in dict.fromkeys(role for report in reports for role in report.denied)
    }
    broken = sum(len(report.rule_violations) for report in reports)
    data = {
        "place": place,
        "calls_denied": denied,
        "rule_violations": broken,
        "examples": [each.model_dump() for each in reports],
    }
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def write_calls(reports: Sequence[ExampleReport], file: Path = RECORDED_CALLS) -> None:
    """Write the calls of all examples by phase, a line per service: `make test` evaluates the pipeline's roles."""
    texts = []
    for phase in ("apply", "plan", "update", "destroy"):
        calls = sorted({call for report in reports for call in report.calls.get(phase, ())})
        services = itertools.groupby((call.split(":") for call in calls), key=lambda call: call[0])
        rows = ",".join(f'\n  "{service}": {json.dumps([name for _, name in group])}' for service, group in services)
        texts.append(f' "{phase}": {{{rows}}}')
    file.write_text("{\n" + ",\n".join(texts) + "\n}\n", encoding="utf-8")


def page(reports: Sequence[ExampleReport]) -> str:
    """Return docs/reference/verified.md: the seconds of every example, and the provider's longest waits."""
    results = ("changes in second plan", "left over", "checkov: passed/failed/skipped")
    return reference(
        "verified.md",
        examples=table("example", "resources", *PHASES, *results, rows=map(_row, reports)),
        waits=table("type", *ACTIONS, rows=_wait_rows(reports)),
    )


def _row(report: ExampleReport) -> tuple[object, ...]:
    checkov = report.checkov
    return (
        *(report.name, report.resources),
        *(f"{report.seconds[phase]:.0f} s" if phase in report.seconds else "" for phase in PHASES),
        *(len(report.changes), len(report.leftovers)),
        f"{checkov.passed} / {checkov.failed} / {checkov.skipped}" if checkov else "—",
    )


def _wait_rows(reports: Iterable[ExampleReport]) -> Iterator[tuple[str, ...]]:
    longest: dict[str, dict[str, float]] = {}
    for report in reports:
        merge_waits(longest, report.waits)
    for kind, waits in sorted(longest.items(), key=lambda item: (-max(item[1].values()), item[0])):
        if max(waits.values()) >= _LONG_WAIT_S:
            yield f"`{kind}`", *(f"{waits[action]:.0f} s" if action in waits else "" for action in ACTIONS)


def merge_waits(into: dict[str, dict[str, float]], waits: dict[str, dict[str, float]]) -> None:
    """Keep the longest wait of every resource type and action."""
    for kind, actions in waits.items():
        longest = into.setdefault(kind, {})
        for action, seconds in actions.items():
            longest[action] = max(seconds, longest.get(action, 0.0))
