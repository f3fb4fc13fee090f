# SPDX-License-Identifier: Apache-2.0
"""The model, the driver and the journal for the operations, and their shared answers."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from local_ecs.api import shapes
from local_ecs.api.driver import Driver
from local_ecs.api.errors import not_well_formed
from local_ecs.api.journal import Journal
from local_ecs.model import EcsModel, EcsTask

T = TypeVar("T")
PAGE_LIMIT = 100


@dataclass(frozen=True)
class Backend:
    """The model, the running tasks and the journal."""

    driver: Driver
    journal: Journal

    @property
    def model(self) -> EcsModel:
        """The model."""
        return self.driver.model

    def task(self, task: EcsTask, *, tags: bool = False) -> dict[str, Any]:
        """Return the shape Task."""
        definition = self.model.task_definitions.get(task.task_definition_arn)
        address, containers = self.driver.address(task.arn), self.driver.containers(task.arn)
        return shapes.task(task, definition, address=address, containers=containers, tags=tags)


def page(items: Sequence[T], request: dict[str, Any], *, default: int = PAGE_LIMIT) -> tuple[list[T], dict[str, str]]:
    """Return the page of `maxResults` and `nextToken`, and the `nextToken` of the answer."""
    size = request.get("maxResults", default)
    if not 1 <= size <= PAGE_LIMIT:
        raise not_well_formed(f"maxResults must be between 1 and {PAGE_LIMIT}.")
    try:
        start = int(base64.urlsafe_b64decode(request["nextToken"])) if "nextToken" in request else 0
    except (ValueError, binascii.Error) as error:
        raise not_well_formed("Invalid token") from error
    rest = {}
    if start + size < len(items):
        rest = {"nextToken": base64.urlsafe_b64encode(str(start + size).encode()).decode()}
    return list(items[start : start + size]), rest
