# SPDX-License-Identifier: Apache-2.0
"""What the operations work with, and what several of them need."""

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
PAGE_MOST = 100


@dataclass(frozen=True)
class Backend:
    """The model, what runs, and where to note what is done."""

    driver: Driver
    journal: Journal

    @property
    def model(self) -> EcsModel:
        """The model."""
        return self.driver.model

    def task(self, one: EcsTask, *, tags: bool = False) -> dict[str, Any]:
        """Return the shape Task."""
        definition = self.model.task_definitions.get(one.task_definition_arn)
        address, containers = self.driver.address(one.arn), self.driver.containers(one.arn)
        return shapes.task(one, definition, address=address, containers=containers, tags=tags)


def page(items: Sequence[T], request: dict[str, Any], *, default: int = PAGE_MOST) -> tuple[list[T], dict[str, str]]:
    """Cut a page out of a list by `maxResults` and `nextToken`; returns it with what to add to the answer."""
    size = request.get("maxResults", default)
    if not 1 <= size <= PAGE_MOST:
        raise not_well_formed(f"maxResults must be between 1 and {PAGE_MOST}.")
    try:
        start = int(base64.urlsafe_b64decode(request["nextToken"])) if "nextToken" in request else 0
    except (ValueError, binascii.Error) as error:
        raise not_well_formed("Invalid token") from error
    rest = {}
    if start + size < len(items):
        rest = {"nextToken": base64.urlsafe_b64encode(str(start + size).encode()).decode()}
    return list(items[start : start + size]), rest
