# SPDX-License-Identifier: Apache-2.0
"""Reads `terraform show -json PLAN` into changes: pure, and without any value that Terraform calls sensitive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from openmwaa.plan.errors import PlanUnreadableError

Action = Literal["add", "change", "replace", "revise", "destroy"]
"""`revise` is a new revision of a task definition: Terraform calls it a replacement, and nothing ends by it."""

_TASK_DEFINITION: Final = "aws_ecs_task_definition"
_ACTIONS: Final[Mapping[tuple[str, ...], Action]] = {
    ("create",): "add",
    ("update",): "change",
    ("delete", "create"): "replace",
    ("create", "delete"): "replace",
    ("delete",): "destroy",
    ("forget",): "destroy",
}
_FORMAT: Final = "1."

# What a resource's name begins with -> the part of the environment that it is of. The longest that fits counts.
_PARTS: Final[Mapping[str, str]] = {
    "access_logs": "Web access",
    "airflow": "Airflow's control plane",
    "alarm_topic": "Monitoring",
    "alarms": "Monitoring",
    "broker": "Broker",
    "certificate": "Web access",
    "cloudfront": "Web access",
    "cluster": "Cluster",
    "dashboard": "Monitoring",
    "endpoints": "Network",
    "fleets": "Workers",
    "flow_logs": "Network",
    "images": "Images",
    "internal_load_balancer": "Web access",
    "keys": "Encryption key",
    "logs": "Logs",
    "metadata_database": "Metadata database",
    "names": "Web access",
    "network": "Network",
    "public_load_balancer": "Web access",
    "roles": "Roles",
    "scaler": "Scaler",
    "secrets": "Secrets",
    "security_groups": "Network",
    "storage": "Storage",
    "web_acl": "Web access",
}
OTHER: Final = "Other"


@dataclass(frozen=True)
class Replacement:
    """An attribute whose new value an existing resource cannot take; None where the value is unknown or sensitive."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    """What the plan does to one resource."""

    address: str
    type: str
    name: str
    action: Action
    replaced_for: tuple[Replacement, ...] = ()

    @property
    def part(self) -> str:
        """The part of the environment that the resource is of."""
        fitting = [word for word in _PARTS if self.name == word or self.name.startswith(f"{word}_")]
        return _PARTS[max(fitting, key=len)] if fitting else OTHER

    @property
    def ends(self) -> bool:
        """Whether what exists ceases to."""
        return self.action in ("replace", "destroy")


@dataclass(frozen=True)
class Plan:
    """A plan as far as it is judged."""

    changes: tuple[Change, ...]
    outputs_changed: tuple[str, ...]
    before: tuple[Resource, ...]
    """What exists, as the state said before the plan asked AWS."""
    outputs_moved: tuple[str, ...] = ()
    """Of the outputs that change, those that had another value before."""


@dataclass(frozen=True)
class Resource:
    """One resource of the state."""

    type: str
    name: str
    values: Mapping[str, Any]


def read(document: Mapping[str, Any]) -> Plan:
    """Return the plan that `terraform show -json` wrote.

    Raises:
        PlanUnreadableError: it is no plan, or of a format that is not known.
    """
    version = str(document.get("format_version", ""))
    if not version.startswith(_FORMAT):
        raise PlanUnreadableError(f"Terraform's plan has the format {version or 'of something else'}; known is 1.x")
    changes = (_change(one) for one in document.get("resource_changes", ()) if one.get("mode") == "managed")
    outputs = document.get("output_changes", {})
    return Plan(
        changes=tuple(change for change in changes if change is not None),
        outputs_changed=tuple(sorted(name for name, one in outputs.items() if one["actions"] != ["no-op"])),
        before=tuple(_before(document)),
        outputs_moved=tuple(sorted(name for name, one in outputs.items() if one["actions"] == ["update"])),
    )


def read_state(document: Mapping[str, Any]) -> Plan:
    """Return a plan that changes nothing, with what `terraform show -json` says of a state."""
    return Plan(changes=(), outputs_changed=(), before=tuple(_before({"prior_state": document})))


def _change(one: Mapping[str, Any]) -> Change | None:
    action = _ACTIONS.get(tuple(one["change"]["actions"]))
    if action is None:  # no-op, read
        return None
    if action == "replace" and one["type"] == _TASK_DEFINITION:
        action = "revise"
    replaced_for = tuple(_replacements(one["change"])) if action == "replace" else ()
    return Change(one["address"], one["type"], one["name"], action, replaced_for)


def _replacements(change: Mapping[str, Any]) -> Iterator[Replacement]:
    for path in change.get("replace_paths", ()):
        secret = any(_at(change.get(f"{side}_sensitive"), path) is True for side in ("before", "after"))
        before, after = (None, None) if secret else (_at(change.get(side), path) for side in ("before", "after"))
        yield Replacement(".".join(map(str, path)), before, after)


def _at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        if value is True:  # everything below is sensitive
            return True
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _before(document: Mapping[str, Any]) -> Iterator[Resource]:
    """Yield what the state knew; what AWS no longer has is in the drift, and would be made anew."""
    seen = set()
    for one in document.get("resource_drift", ()):
        if one.get("mode") == "managed" and one["change"].get("before"):
            seen.add(one["address"])
            yield Resource(one["type"], one["name"], one["change"]["before"])
    root = document.get("prior_state", {}).get("values", {}).get("root_module", {})
    for one in root.get("resources", ()):
        if one["mode"] == "managed" and one["address"] not in seen:
            yield Resource(one["type"], one["name"], one["values"])
