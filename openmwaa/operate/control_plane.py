# SPDX-License-Identifier: Apache-2.0
"""Whether the control plane is healthy: every service runs the revision that was applied, and all its tasks do.

A service that ECS rolled back looks healthy: its deployment is completed, of an older revision. So the revision is
compared with the newest one of its family, which is what the last apply registered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from openmwaa.operate import services
from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.stopped_tasks import StoppedTask, last_stopped_task
from openmwaa.operate.waiting import WaitStatus

SERVICES: Final = ("scheduler", "dag-processor", "triggerer", "execution-api", "web-server", "scaler")
HOPELESS_AFTER: Final = 3
"""Tasks whose preparation failed, in a row: the least number at which ECS's own circuit breaker gives up."""


@dataclass(frozen=True)
class Component:
    """One service of the control plane; healthy when it has neither trouble nor failure."""

    service: str
    revision: int
    desired: int
    running: int
    trouble: str | None = None
    failure: str | None = None
    stop: StoppedTask | None = None
    """How its last task of this revision ended, where one is missing."""

    @property
    def sentence(self) -> str:
        """What is wrong, in one line."""
        ended = f"; a task stopped: {self.stop.reason}" if self.stop else ""
        return f"{self.service}: {self.failure or self.trouble}{ended}"

    def as_data(self) -> dict[str, Any]:
        """Return plain data for `--json`."""
        return {
            "service": self.service,
            "healthy": not (self.trouble or self.failure),
            "revision": self.revision,
            "desired": self.desired,
            "running": self.running,
            "trouble": self.trouble,
            "failure": self.failure,
            "stopped": self.stop.as_data() if self.stop else None,
        }


def watch(connection: Connection) -> WaitStatus:
    """Return what is not healthy, for somebody who waits for it.

    Raises:
        OperateError: ECS cannot be asked.
        NotRunningError: a service of the control plane is not there.
    """
    found = services.describe(connection, SERVICES)
    components = [_component(connection, found[name]) for name in SERVICES]
    return WaitStatus(
        awaited=tuple(each.sentence for each in components if each.trouble and not each.failure),
        failures=tuple(_failed(connection, each) for each in components if each.failure),
        data={"control_plane": [each.as_data() for each in components]},
    )


def _component(connection: Connection, service: Mapping[str, Any]) -> Component:
    deployments = service.get("deployments", ())
    newest = services.primary(service)
    family, _, _ = str(newest.get("taskDefinition", "")).rpartition("/")[2].rpartition(":")
    applied = _applied(connection, family)
    runs = services.revision(str(newest.get("taskDefinition", "")))
    desired, running = service["desiredCount"], service["runningCount"]
    state, reason = str(newest.get("rolloutState", "COMPLETED")), str(newest.get("rolloutStateReason", ""))
    failed = next((each for each in deployments if each.get("rolloutState") == "FAILED"), None)
    trouble = failure = None
    if failed is not None:
        why = str(failed.get("rolloutStateReason") or "no reason given")
        failure = f"ECS gave up on revision {services.revision(str(failed['taskDefinition']))}: {why}"
    elif runs < applied and (state == "COMPLETED" or "rolling back" in reason):
        failure = f"it runs revision {runs} and not {applied}, the newest: ECS rolled it back, or no apply finished"
    elif state != "COMPLETED" or len(deployments) != 1 or running != desired or not desired:
        trouble = f"{running} of {desired} tasks run, revision {runs} is being rolled out"
        if state == "COMPLETED":
            trouble = f"{running} of {desired} tasks run"
    component = Component(service["serviceName"], runs, desired, running, trouble, failure)
    return component if trouble is None and failure is None else _explained(connection, component, family, applied)


def _explained(connection: Connection, component: Component, family: str, applied: int) -> Component:
    """Return the component with how its last task ended; a preparation that fails again and again is a failure."""
    stop = last_stopped_task(connection, component.service, f"{family}:{applied}")
    failure = component.failure
    if failure is None and stop is not None and stop.preparation and stop.times >= HOPELESS_AFTER:
        failure = f"{stop.container} failed {stop.times} times"
    return Component(
        component.service, component.revision, component.desired, component.running, component.trouble, failure, stop
    )


def _applied(connection: Connection, family: str) -> int:
    """Return the newest revision of a family; 0 when there is none any more."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - boto3 is an extra

    with aws_errors(connection, "ecs:DescribeTaskDefinition", f"the task definitions {family}"):
        try:
            answer = connection.client("ecs").describe_task_definition(taskDefinition=family)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ClientException":  # none is active
                return 0
            raise
    return int(answer["taskDefinition"]["revision"])


def _failed(connection: Connection, component: Component) -> str:
    stop = component.stop
    if stop is None or stop.container is None:
        return component.sentence
    lines = "\n".join(f"  {line}" for line in stop.lines(connection))
    return f"{component.sentence}. {stop.container} printed last:\n{lines}\nMore: {stop.command(connection)}"
