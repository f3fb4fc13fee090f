# SPDX-License-Identifier: Apache-2.0
"""What came of verifying: build/verify.json, and the page of the docs that is made from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "build" / "verify.json"
PAGE: Final = ROOT / "docs" / "reference" / "verified.md"
PHASES: Final = ("synth", "init", "validate", "apply", "plan", "secrets", "unprotect", "destroy")
_TELLING_WAIT_S: Final = 10


@dataclass
class Checkov:
    """What checkov says of one example."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    findings: list[str] = field(default_factory=list)
    """What failed: check, address, and what the check wants."""


@dataclass
class ExampleReport:
    """What came of one example; what did not happen keeps its first value."""

    name: str
    resources: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds by phase."""
    attempts: int = 0
    """Fresh applies: 2 when the emulator stumbled."""
    changes: list[str] = field(default_factory=list)
    """What the second plan would change."""
    leftovers: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """What destroy leaves on purpose, as the output `retained_resources` says."""
    secrets: int = 0
    """Values of generated secrets that stack, plan and state were searched for."""
    exposed: list[str] = field(default_factory=list)
    """Where one was found."""
    waits: dict[str, dict[str, float]] = field(default_factory=dict)
    """Longest seconds of a resource type by what was done: create, update, delete."""
    checkov: Checkov | None = None
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing failed, drifted, stayed or was found."""
        bad = self.error or self.changes or self.leftovers or self.exposed
        return not (bad or (self.checkov and self.checkov.failed))

    @property
    def verdict(self) -> str:
        """Return the report in one line."""
        if self.error:
            return f"failed: {self.error.splitlines()[0]}"
        parts = [f"{self.resources} resources"] if self.resources else []
        parts += [f"{phase} {self.seconds[phase]:.0f} s" for phase in PHASES if phase in self.seconds]
        parts += [f"second plan changes {', '.join(self.changes)}"] if self.changes else []
        parts += [f"destroy leaves {', '.join(self.leftovers)}"] if self.leftovers else []
        parts += [f"{self.secrets} secrets in sight of nobody"] if self.secrets and not self.exposed else []
        parts += [f"SECRETS EXPOSED: {', '.join(self.exposed)}"] if self.exposed else []
        if self.checkov:
            parts.append(f"checkov {self.checkov.passed}/{self.checkov.failed}/{self.checkov.skipped}")
        return ", ".join(parts)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> ExampleReport:
        """Return the report that `as_data` wrote."""
        known = {name: value for name, value in data.items() if name != "ok"}
        checkov = known.pop("checkov", None)
        return cls(**known, checkov=Checkov(**checkov) if checkov else None)

    def as_data(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {**asdict(self), "ok": self.ok}


def write(reports: Sequence[ExampleReport], place: str, file: Path = FILE) -> None:
    """Write build/verify.json."""
    file.parent.mkdir(parents=True, exist_ok=True)
    data = {"place": place, "examples": [report.as_data() for report in reports]}
    file.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def page(reports: Sequence[ExampleReport]) -> str:
    """Return docs/reference/verified.md: what every example costs in time, and where the time goes."""
    columns = ("example", "resources", *PHASES, "changes in second plan", "left over", "checkov: passed/failed/skipped")
    lines = [
        "# What was verified",
        "",
        "Written by `make verify PAGE=1` from what it saw on one machine of two cores; [how](../how-to/verify.md).",
        "Every example: synthesised, validated, applied to emulators by the real Terraform and AWS provider, planned",
        "again, destroyed, and what is left looked for. Seconds are mostly the provider's own waits, below.",
        "",
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
    ]
    lines += [_row(report) for report in reports]
    lines += [
        "",
        "`unprotect` is the apply that a destroy of a protected database needs before it.",
        "",
        "## The provider's own waits",
        "",
        "The longest seconds that one resource of a type took, where it is 10 or more. Emulators answer in",
        "milliseconds: these are pauses built into the AWS provider. In AWS database, cache and CloudFront take",
        "minutes more.",
        "",
        "| type | create | update | delete |",
        "|---|---|---|---|",
        *_waits(reports),
        "",
    ]
    return "\n".join(lines)


def _row(report: ExampleReport) -> str:
    seconds = [f"{report.seconds[phase]:.0f} s" if phase in report.seconds else "" for phase in PHASES]
    checkov = report.checkov or Checkov()
    cells = [
        report.name,
        str(report.resources),
        *seconds,
        str(len(report.changes)),
        str(len(report.leftovers)),
        f"{checkov.passed} / {checkov.failed} / {checkov.skipped}",
    ]
    return f"| {' | '.join(cells)} |"


def _waits(reports: Iterable[ExampleReport]) -> list[str]:
    longest: dict[str, dict[str, float]] = {}
    for report in reports:
        for kind, actions in report.waits.items():
            for action, seconds in actions.items():
                of_kind = longest.setdefault(kind, {})
                of_kind[action] = max(seconds, of_kind.get(action, 0))
    telling = {kind: of for kind, of in longest.items() if max(of.values()) >= _TELLING_WAIT_S}
    ordered = sorted(telling.items(), key=lambda item: (-max(item[1].values()), item[0]))
    return [
        f"| `{kind}` | "
        + " | ".join(f"{of[a]:.0f} s" if a in of else "" for a in ("create", "update", "delete"))
        + " |"
        for kind, of in ordered
    ]
