# SPDX-License-Identifier: Apache-2.0
"""Reads the daemon's status: which services are healthy, and which are not yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from openmwaa.local.fleet_status import WORKER_SERVICE, fleet_trouble, fleets

EnvironmentHealth = Literal["healthy", "degraded", "stopped"]
EXIT_CODES: Mapping[EnvironmentHealth, int] = {"healthy": 0, "degraded": 1, "stopped": 3}


def health(status: Mapping[str, Any] | None) -> EnvironmentHealth:
    """The environment in one word."""
    if status is None:
        return "stopped"
    return "degraded" if list(troubles(status)) else "healthy"


def troubles(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each unhealthy part with its trouble."""
    if status.get("phase") != "ready":
        yield "daemon", str(status.get("phase"))
        return
    if status.get("ecs_fault"):
        yield "ecs", str(status["ecs_fault"])
    for name, process in status.get("infrastructure", {}).items():
        if process["state"] != "running":
            yield name, process["state"]
    services = status.get("services", [])
    if not services:
        yield "services", "none exist yet"
    current = {fleet.current.service: fleet for fleet in fleets(status)}
    for service in services:
        fleet = current.get(service["name"])
        if trouble := (fleet_trouble(fleet) if fleet else None) or service_trouble(service):
            yield service["name"], trouble


def service_trouble(service: Mapping[str, Any]) -> str | None:
    """The trouble of one service; None if it is healthy. The count of a worker service is no trouble of its own."""
    desired, running = service["desired"], service["running"]
    if running < desired and not WORKER_SERVICE.match(service["name"]):
        return f"{running} of {desired} running"
    tasks = [task for task in service.get("tasks", ()) if task["status"] == "RUNNING"]
    unhealthy = sum(task["health"] == "UNHEALTHY" for task in tasks)
    return f"{unhealthy} unhealthy" if unhealthy else None
