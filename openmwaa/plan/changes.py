# SPDX-License-Identifier: Apache-2.0
"""Parses the output of `terraform show -json PLAN`; sensitive values are removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from openmwaa.cost.stack import Resource
from openmwaa.errors import PlanUnreadableError

Action = Literal["add", "change", "replace", "revise", "destroy"]
"""`revise` is a new revision of a task definition: a replacement in Terraform, but no task stops."""

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

# Prefix of a resource's name -> part of the environment. The longest matching prefix is used.
_PARTS: Final[Mapping[str, str]] = {
    "access_logs": "Web access",
    "airflow": "Airflow's control plane",
    "alarm_topic": "Monitoring",
    "alarms": "Monitoring",
    "broker": "Broker",
    "certificate": "Web access",
    "cloudfront": "Web access",
    "cluster": "Cluster",
    "created": "Airflow's control plane",
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
    """An attribute that forces a replacement; a value is None if it is unknown or sensitive."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Change:
    """The planned change of one resource."""

    address: str
    type: str
    name: str
    action: Action
    replaced_for: tuple[Replacement, ...] = ()
    tainted: bool = False
    """Whether it would be replaced because its creation was interrupted or failed."""

    @property
    def part(self) -> str:
        """The part of the environment of the resource."""
        prefixes = [prefix for prefix in _PARTS if self.name == prefix or self.name.startswith(f"{prefix}_")]
        return _PARTS[max(prefixes, key=len)] if prefixes else OTHER

    @property
    def deletes(self) -> bool:
        """Whether the existing resource is deleted."""
        return self.action in ("replace", "destroy")


@dataclass(frozen=True)
class TerraformPlan:
    """The parts of a plan that the review uses."""

    changes: tuple[Change, ...]
    outputs_changed: tuple[str, ...]
    before: tuple[Resource, ...]
    """The existing resources, as in the state before the refresh."""
    outputs_moved: tuple[str, ...] = ()
    """Outputs that had another value before."""

    @property
    def steps(self) -> int:
        """The steps of an apply: a replacement has two."""
        return sum(2 if change.action in ("replace", "revise") else 1 for change in self.changes)


def read(document: Mapping[str, Any]) -> TerraformPlan:
    """Return the plan in the output of `terraform show -json`.

    Raises:
        PlanUnreadableError: the document is not a plan, or has an unknown format.
    """
    version = str(document.get("format_version", ""))
    if not version.startswith(_FORMAT):
        raise PlanUnreadableError(f"unknown format of Terraform's plan: {version or 'none'}; supported: 1.x")
    changes = (
        _change(resource) for resource in document.get("resource_changes", ()) if resource.get("mode") == "managed"
    )
    outputs = document.get("output_changes", {})
    return TerraformPlan(
        changes=tuple(change for change in changes if change is not None),
        outputs_changed=tuple(sorted(name for name, output in outputs.items() if output["actions"] != ["no-op"])),
        before=tuple(_before(document)),
        outputs_moved=tuple(sorted(name for name, output in outputs.items() if output["actions"] == ["update"])),
    )


def read_state(document: Mapping[str, Any]) -> TerraformPlan:
    """Return a plan without changes, with the resources of a state."""
    return TerraformPlan(changes=(), outputs_changed=(), before=tuple(_before({"prior_state": document})))


def _change(resource: Mapping[str, Any]) -> Change | None:
    action = _ACTIONS.get(tuple(resource["change"]["actions"]))
    if action is None:  # no-op, read
        return None
    if action == "replace" and resource["type"] == _TASK_DEFINITION:
        action = "revise"
    replaced_for = tuple(_replacements(resource["change"])) if action == "replace" else ()
    tainted = resource.get("action_reason") == "replace_because_tainted"
    return Change(resource["address"], resource["type"], resource["name"], action, replaced_for, tainted)


def _replacements(change: Mapping[str, Any]) -> Iterator[Replacement]:
    for path in change.get("replace_paths", ()):
        secret = any(_at(change.get(f"{side}_sensitive"), path) is True for side in ("before", "after"))
        before, after = (None, None) if secret else (_at(change.get(side), path) for side in ("before", "after"))
        yield Replacement(".".join(map(str, path)), before, after)


def _at(value: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        if value is True:  # the whole subtree is sensitive
            return True
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _before(document: Mapping[str, Any]) -> Iterator[Resource]:
    """Yield the resources of the state; those that no longer exist in AWS are in the drift."""
    seen = set()
    for resource in document.get("resource_drift", ()):
        if resource.get("mode") == "managed" and resource["change"].get("before"):
            seen.add(resource["address"])
            yield Resource(resource["type"], resource["name"], resource["change"]["before"])
    root = document.get("prior_state", {}).get("values", {}).get("root_module", {})
    for resource in root.get("resources", ()):
        if resource["mode"] == "managed" and resource["address"] not in seen:
            yield Resource(resource["type"], resource["name"], resource["values"])
