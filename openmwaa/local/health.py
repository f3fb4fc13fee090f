# SPDX-License-Identifier: Apache-2.0
"""What the daemon's status means: which services are well, and what is still awaited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from openmwaa.local.fleets import WORKER_SERVICE, fleets

Verdict = Literal["healthy", "degraded", "stopped"]
EXIT_CODES: Mapping[Verdict, int] = {"healthy": 0, "degraded": 1, "stopped": 3}


def verdict(status: Mapping[str, Any] | None) -> Verdict:
    """The environment in one word."""
    if status is None:
        return "stopped"
    return "degraded" if list(troubles(status)) else "healthy"


def troubles(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each part that is not well, and in which way."""
    if status.get("phase") != "ready":
        yield "daemon", str(status.get("phase"))
        return
    if status.get("ecs_fault"):
        yield "ecs", str(status["ecs_fault"])
    for name, part in status.get("infrastructure", {}).items():
        if part["state"] != "running":
            yield name, part["state"]
    services = status.get("services", [])
    if not services:
        yield "services", "there are none yet"
    in_fleets = {fleet.current.service: fleet for fleet in fleets(services)}
    for service in services:
        fleet = in_fleets.get(service["name"])
        if trouble := (fleet.trouble if fleet else None) or service_trouble(service):
            yield service["name"], trouble


def service_trouble(service: Mapping[str, Any]) -> str | None:
    """What is wrong with a service; None when it is well. How many workers are enough is not said by one generation."""
    desired, running = service["desired"], service["running"]
    if running < desired and not WORKER_SERVICE.match(service["name"]):
        return f"{running} of {desired} running"
    current = [task for task in service.get("tasks", ()) if task["status"] == "RUNNING"]
    unwell = sum(task["health"] == "UNHEALTHY" for task in current)
    return f"{unwell} unhealthy" if unwell else None
