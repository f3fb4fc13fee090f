# SPDX-License-Identifier: Apache-2.0
"""The resources of an environment, with the quantities that are charged.

They come from a synthesised stack, whose values may be expressions, or from a state. A quantity that cannot be read is
a CostError with the resource's address, never zero.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from openmwaa.cost.price_list import task_units
from openmwaa.errors import CostError

Values = Mapping[str, Any]
_DEFINITION: Final = re.compile(r"\$\{aws_ecs_task_definition\.([\w-]+)\.")
_FAMILY: Final = re.compile(r"task-definition/([^:/]+)(?::|$)")


@dataclass(frozen=True)
class Resource:
    """A resource of the stack or of the state."""

    type: str
    name: str
    values: Values

    @property
    def address(self) -> str:
        """The resource's Terraform address."""
        return f"{self.type}.{self.name}"

    def number(self, field: str) -> float:
        """Return a number; Terraform may write it as text."""
        value = self.values.get(field)
        try:
            return float("" if value is None or isinstance(value, bool) else value)
        except (TypeError, ValueError):
            raise CostError(f"{self.address}: {field} is unknown ({value!r}), so the cost is too.") from None

    def items(self, field: str) -> Sequence[Any]:
        """Return a list, or the blocks of a name; one block may be a mapping."""
        value = self.values.get(field)
        if isinstance(value, str):
            raise CostError(f"{self.address}: the number of {field} is unknown ({value!r}), so the cost is too.")
        return [value] if isinstance(value, Mapping) else list(value or ())

    def block(self, field: str) -> "Resource":
        """Return the only block of a name; it has no values if it is missing."""
        return Resource(self.type, f"{self.name}.{field}", next(iter(self.items(field)), {}))


@dataclass(frozen=True)
class Stack:
    """The resources, and the fleets as in the scaler's configuration."""

    resources: Sequence[Resource]
    fleets: Sequence[Values]
    awake: Mapping[str, int] = field(default_factory=dict)
    """The tasks of the control plane's services while awake, of an environment that may sleep."""
    asleep: bool = False
    """Whether the quantities are those of sleep: the scaler, and what is charged without running."""

    def of(self, kind: str) -> list[Resource]:
        """Return the resources of a type."""
        return [resource for resource in self.resources if resource.type == kind]

    def fleet_of(self, service: Resource) -> Values | None:
        """Return the fleet of a worker service; None for other services."""
        return next((fleet for fleet in self.fleets if service.values["name"] in fleet["services"]), None)

    def tasks(self, service: Resource) -> float:
        """Return the minimum number of a service's tasks. A fleet's minimum is in one of its two services."""
        name = service.values["name"]
        if self.asleep and name != "scaler":
            return 0.0
        if name in self.awake:
            return float(self.awake[name])
        if fleet := self.fleet_of(service):
            return float(fleet["min"]) if name == fleet["services"][0] else 0.0
        for target in self.of("aws_appautoscaling_target"):
            if str(target.values["resource_id"]).endswith((f"/{name}", f"/${{{service.address}.name}}")):
                return target.number("min_capacity")
        return service.number("desired_count")

    def units(self, service: Resource) -> dict[str, float]:
        """Return the quantities of one task of a service, by the name of their price."""
        definition = self._definition(service)
        providers = {item["capacity_provider"] for item in service.items("capacity_provider_strategy")}
        if providers not in ({"FARGATE"}, {"FARGATE_SPOT"}):
            raise CostError(f"{service.address}: there is no price for tasks on {sorted(providers)}.")
        platform = definition.block("runtime_platform").values.get("cpu_architecture") or "X86_64"
        public_ip = service.block("network_configuration").values.get("assign_public_ip") is True
        spot = "FARGATE_SPOT" in providers
        return task_units(
            definition.number("cpu"), definition.number("memory"), platform, spot=spot, public_ip=public_ip
        )

    def _definition(self, service: Resource) -> Resource:
        reference = str(service.values.get("task_definition"))
        name, family = _DEFINITION.match(reference), _FAMILY.search(reference)
        for definition in self.of("aws_ecs_task_definition"):
            if (name and name[1] == definition.name) or (family and family[1] == definition.values.get("family")):
                return definition
        raise CostError(f"{service.address}: its task definition {reference} is not in the stack.")


def from_document(document: Mapping[str, Any]) -> Stack:
    """Return the stack of a cdk.tf.json."""
    kinds = document["resource"].items()
    resources = tuple(Resource(kind, name, values) for kind, named in kinds for name, values in named.items())
    return _stack(resources, document["locals"]["scaler_config"])


def _stack(resources: Sequence[Resource], settings: Values) -> Stack:
    return Stack(resources, settings["fleets"], (settings.get("sleep") or {}).get("services", {}))


def from_state(resources: Sequence[Resource]) -> Stack:
    """Return the stack of a state."""
    for definition in resources:
        if definition.address == "aws_ecs_task_definition.scaler":
            (scaler,) = json.loads(definition.values["container_definitions"])
            variables = {variable["name"]: variable["value"] for variable in scaler["environment"]}
            return _stack(resources, json.loads(variables["SCALER_CONFIG"]))
    raise CostError("The state has no scaler, so the minimum of its fleets is unknown.")
