# SPDX-License-Identifier: Apache-2.0
"""The model, the driver and the journal for the operations, and their shared answers."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from local_ecs.api import shapes
from local_ecs.api.driver import Driver
from local_ecs.api.journal import Journal
from local_ecs.model import EcsModel, EcsTask
from local_ecs.model.errors import invalid

Json = dict[str, Any]
PAGE_LIMIT = 100


@dataclass(frozen=True)
class Backend:
    """The model, the running tasks and the journal."""

    driver: Driver
    client_tokens: dict[str, str] = field(default_factory=dict)
    """Service ARN -> clientToken of its creation; lost at a restart."""

    @property
    def model(self) -> EcsModel:
        """The model."""
        return self.driver.model

    @property
    def journal(self) -> Journal:
        """The journal."""
        return self.driver.journal

    def task(self, task: EcsTask, *, tags: bool = False) -> Json:
        """Return the shape Task."""
        definition = self.model.task_definitions.get(task.task_definition_arn)
        address, containers = self.driver.address(task.arn), self.driver.containers(task.arn)
        return shapes.task(task, definition, address=address, containers=containers, tags=tags)


Operation = Callable[[Backend, Json, str], Json]
"""Answers a request of a caller, whose short name goes to the journal."""


def page(member: str, items: Sequence[str], request: Json, *, default: int = PAGE_LIMIT) -> Json:
    """Return an answer with the page of `maxResults` and `nextToken` as `member`, and the `nextToken` after it."""
    size = request.get("maxResults", default)
    if not 1 <= size <= PAGE_LIMIT:
        raise invalid(f"maxResults must be between 1 and {PAGE_LIMIT}.")
    try:
        start = int(base64.urlsafe_b64decode(request["nextToken"])) if "nextToken" in request else 0
    except (ValueError, binascii.Error) as error:
        raise invalid("Invalid token") from error
    answer: Json = {member: list(items[start : start + size])}
    if start + size < len(items):
        answer["nextToken"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
    return answer
