# SPDX-License-Identifier: Apache-2.0
"""Access to a synthesised stack: containers, policies and rules by name."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
ENVIRONMENT = re.compile(r"\$\{\[for name, value in local\.([\w-]+) : \{ name = name, value = value \}\]\}")


@dataclass(frozen=True)
class Stack:
    """A `cdk.tf.json`."""

    document: Json

    def resources(self, kind: str) -> dict[str, Json]:
        """The resources of a type by name."""
        found: dict[str, Json] = self.document["resource"].get(kind, {})
        return found

    def only(self, kind: str) -> Json:
        """The only resource of a type."""
        (resource,) = self.resources(kind).values()
        return resource

    @property
    def services(self) -> dict[str, Json]:
        """ECS services by name."""
        return {service["name"]: service for service in self.resources("aws_ecs_service").values()}

    @property
    def tasks(self) -> dict[str, list[Json]]:
        """The container definitions of every service's task."""
        prefix = f"{self.only('aws_ecs_cluster')['name']}-"
        return {
            task["family"].removeprefix(prefix): self.local(task["container_definitions"])
            for task in self.resources("aws_ecs_task_definition").values()
        }

    @property
    def containers(self) -> dict[str, Json]:
        """Container definitions by SERVICE/CONTAINER."""
        return {
            f"{service}/{container['name']}": container
            for service, containers in self.tasks.items()
            for container in containers
        }

    @property
    def policies(self) -> dict[str, Json]:
        """Every policy document, of identities and of resources, by the local value's name."""
        return {
            name: value
            for name, value in self.document["locals"].items()
            if isinstance(value, dict) and "Statement" in value
        }

    def local(self, expression: str) -> Any:
        """The local value that `${jsonencode(local.NAME)}` writes; variables of containers are filled in."""
        name = expression.removeprefix("${jsonencode(local.").removesuffix(")}")
        value = self.document["locals"][name]
        return [self._with_environment(container) for container in value] if name.endswith("_containers") else value

    def _with_environment(self, container: Json) -> Json:
        expression = container.get("environment")
        if expression is None:
            return container
        found = ENVIRONMENT.fullmatch(expression)
        assert found, f"{container['name']}: {expression} is not the variables of one local value"
        variables = self.document["locals"][found[1]]
        return {**container, "environment": [{"name": key, "value": variables[key]} for key in sorted(variables)]}

    def role_policy(self, name: str) -> list[Json]:
        """The statements of a role's own policy; none when it has no policy."""
        policies = self.resources("aws_iam_role_policy")
        statements: list[Json] = self.local(policies[name]["policy"])["Statement"] if name in policies else []
        return statements


def environment_of(container: Json) -> dict[str, str]:
    """The plain variables of a container."""
    return {entry["name"]: entry["value"] for entry in container.get("environment", ())}


def secrets_of(container: Json) -> dict[str, str]:
    """The secrets of a container: variable to ARN."""
    return {entry["name"]: entry["valueFrom"] for entry in container.get("secrets", ())}


def walk(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of a document with its path."""
    yield path, value
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from walk(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, (*path, str(index)))
