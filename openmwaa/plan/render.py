# SPDX-License-Identifier: Apache-2.0
"""Writes a verdict: text for people, JSON for programs, Markdown for pull requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
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
# GitHub colours a line of a difference by its first sign.
_COLOURS: Final[Mapping[Action, str]] = {**_SIGNS, "change": "!", "revise": "!", "replace": "-"}
_MANY: Final = 6


def summary(verdict: Verdict) -> str:
    """Return one line: how many resources are added, changed, replaced and destroyed."""
    if verdict.word == "unchanged":
        return "No changes: what exists is what the file says."
    counts = Counter(change.action for change in verdict.plan.changes)
    said = [f"{counts[action]} {word}" for action, word in _DONE.items() if counts[action]]
    return f"{', '.join(said)}." if said else f"Outputs change: {', '.join(verdict.plan.outputs_changed)}."


def text(name: str, verdict: Verdict) -> str:
    """Return what a person reads in a terminal."""
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
    """Return a comment for a pull request: the verdict first, the resources folded."""
    heading = {
        "unchanged": "no changes",
        "changed": "changes",
        "refused": "refused",
    }[verdict.word]
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
        "verdict": verdict.word,
        "exit_code": verdict.exit_code,
        "summary": summary(verdict),
        "plan_file": plan_file,
        "counts": {action: counts[action] for action in _DONE},
        "refusals": [
            {"field": one.field, "address": one.address, "because": one.because, "instead": one.instead}
            for one in verdict.refusals
        ],
        "notes": list(verdict.notes),
        "outputs_changed": list(verdict.plan.outputs_changed),
        "changes": [
            {
                "address": change.address,
                "action": change.action,
                "part": change.part,
                "replaced_for": [
                    {"path": one.path, "before": one.before, "after": one.after} for one in change.replaced_for
                ],
            }
            for change in verdict.plan.changes
        ],
    }


def _by_part(verdict: Verdict) -> dict[str, list[Change]]:
    parts: dict[str, list[Change]] = {}
    for change in sorted(verdict.plan.changes, key=lambda one: (one.part, one.address)):
        parts.setdefault(change.part, []).append(change)
    return parts


def _lines(changes: list[Change]) -> Iterator[str]:
    """Yield a line a change; what is only added, in one line where it is much."""
    added = [change for change in changes if change.action == "add"]
    if len(added) > _MANY:
        yield f"+ {len(added)} added"
        changes = [change for change in changes if change.action != "add"]
    for change in changes:
        yield f"{_SIGNS[change.action]} {_line(change)}"


def _line(change: Change) -> str:
    why = ", ".join(one.path for one in change.replaced_for)
    return f"{change.address} {_DONE[change.action]}" + (f", for {why} cannot change" if why else "")
