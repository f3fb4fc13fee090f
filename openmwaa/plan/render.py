# SPDX-License-Identifier: Apache-2.0
"""Formats a verdict as text, JSON, or Markdown for pull requests."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from openmwaa.plan.changes import Action, Change
from openmwaa.plan.verdict import Verdict

_DONE: Final[Mapping[Action, str]] = {
    "add": "added",
    "change": "changed in place",
    "revise": "new revision",
    "replace": "replaced",
    "destroy": "destroyed",
}
_SIGNS: Final[Mapping[Action, str]] = {"add": "+", "change": "~", "revise": "~", "replace": "-/+", "destroy": "-"}
# GitHub colours a line of a diff by its first character.
_COLOURS: Final[Mapping[Action, str]] = {**_SIGNS, "change": "!", "revise": "!", "replace": "-"}
_MANY: Final = 6


def summary(verdict: Verdict) -> str:
    """Return one line with the number of changes by action."""
    if verdict.outcome == "unchanged":
        return "No changes: the resources match the file."
    counts = Counter(change.action for change in verdict.plan.changes)
    parts = [f"{counts[action]} {description}" for action, description in _DONE.items() if counts[action]]
    return f"{', '.join(parts)}." if parts else f"Outputs change: {', '.join(verdict.plan.outputs_changed)}."


def text(name: str, verdict: Verdict) -> str:
    """Return the text for a terminal."""
    lines = [f"Environment {name}: {summary(verdict)}"]
    for part, changes in _by_part(verdict).items():
        lines += ["", part]
        lines += [f"  {line}" for line in _lines(changes)]
    for note in verdict.notes:
        lines += ["", f"Note: {note}"]
    if verdict.refusals:
        lines += ["", "REFUSED: this plan must not be applied."]
        lines += [f"  {refusal}" for refusal in verdict.refusals]
    return "\n".join(lines)


def markdown(name: str, verdict: Verdict) -> str:
    """Return a comment for a pull request: the verdict, and a folded list of resources."""
    heading = {"unchanged": "no changes", "changed": "changes", "refused": "refused"}[verdict.outcome]
    lines = [f"### Plan of `{name}`: {heading}", "", summary(verdict)]
    if verdict.refusals:
        lines += ["", "**This plan must not be applied.**", ""]
        lines += [f"- {refusal}" for refusal in verdict.refusals]
    if verdict.notes:
        lines += ["", *(f"> {note}\n" for note in verdict.notes)]
    parts = _by_part(verdict)
    if parts:
        lines += ["", "| Part | " + " | ".join(_DONE.values()) + " |", "|---|" + "---:|" * len(_DONE)]
        for part, changes in parts.items():
            counts = Counter(change.action for change in changes)
            lines.append(f"| {part} | " + " | ".join(str(counts[action] or "") for action in _DONE) + " |")
        lines += ["", "<details><summary>Every resource</summary>", "", "```diff"]
        for changes in parts.values():
            lines += [f"{_COLOURS[change.action]} {_line(change)}" for change in changes]
        lines += ["```", "", "</details>"]
    return "\n".join(lines)


def document(name: str, verdict: Verdict, *, plan_file: str | None) -> dict[str, Any]:
    """Return the JSON document of `--json`."""
    counts = Counter(change.action for change in verdict.plan.changes)
    return {
        "environment": name,
        "verdict": verdict.outcome,
        "exit_code": verdict.exit_code,
        "summary": summary(verdict),
        "plan_file": plan_file,
        "counts": {action: counts[action] for action in _DONE},
        "refusals": [asdict(refusal) for refusal in verdict.refusals],
        "notes": list(verdict.notes),
        "outputs_changed": list(verdict.plan.outputs_changed),
        "changes": [
            {
                "address": change.address,
                "action": change.action,
                "part": change.part,
                "replaced_for": [asdict(cause) for cause in change.replaced_for],
            }
            for change in verdict.plan.changes
        ],
    }


def _by_part(verdict: Verdict) -> dict[str, list[Change]]:
    parts: dict[str, list[Change]] = {}
    for change in sorted(verdict.plan.changes, key=lambda change: (change.part, change.address)):
        parts.setdefault(change.part, []).append(change)
    return parts


def _lines(changes: list[Change]) -> Iterator[str]:
    """Yield one line per change; more than six additions are one line."""
    added = [change for change in changes if change.action == "add"]
    if len(added) > _MANY:
        yield f"+ {len(added)} added"
        changes = [change for change in changes if change.action != "add"]
    for change in changes:
        yield f"{_SIGNS[change.action]} {_line(change)}"


def _line(change: Change) -> str:
    causes = ", ".join(cause.path for cause in change.replaced_for)
    return f"{change.address} {_DONE[change.action]}" + (f" because {causes} cannot change" if causes else "")
