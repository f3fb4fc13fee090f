# SPDX-License-Identifier: Apache-2.0
"""Checks the health of the control plane: every service and all its tasks run the applied revision.

After a rollback by ECS a service looks healthy: its deployment of an older revision is completed. So the revision is
compared with the newest one of the family, which the last apply registered.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from openmwaa.fleet_rollout import revision
from openmwaa.operate import services
from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.stopped_tasks import StoppedTask, last_stopped_task
from openmwaa.operate.waiting import WaitStatus

FAILED_AFTER: Final = 3
"""Tasks in a row with a failed preparation; the lowest threshold of ECS's own circuit breaker."""


@dataclass(frozen=True)
class Component:
    """One service of the control plane; healthy without trouble and failure."""

    service: str
    revision: int
    desired: int
    running: int
    trouble: str | None = None
    failure: str | None = None
    stopped: StoppedTask | None = None
    """The last stopped task of this revision, if a task is missing."""

    @property
    def sentence(self) -> str:
        """The trouble or failure, in one line."""
        ended = f"; a task stopped: {self.stopped.reason}" if self.stopped else ""
        return f"{self.service}: {self.failure or self.trouble}{ended}"

    def as_data(self) -> dict[str, Any]:
        """Return plain data for `--json`."""
        return {**asdict(self), "healthy": not (self.trouble or self.failure)}


def control_plane_status(connection: Connection) -> WaitStatus:
    """Return the unhealthy services, for `wait`.

    Raises:
        OperateError: ECS refuses or does not answer.
        NotRunningError: a service of the control plane does not exist.
    """
    found = services.describe(connection, [*connection.environment.services, "scaler"])
    components = [_component(connection, service) for service in found.values()]
    return WaitStatus(
        awaited=tuple(component.sentence for component in components if component.trouble and not component.failure),
        failures=tuple(_failure(connection, component) for component in components if component.failure),
        data={"control_plane": [component.as_data() for component in components]},
    )


def _component(connection: Connection, service: Mapping[str, Any]) -> Component:
    deployments = service.get("deployments", ())
    newest = services.primary(service)
    family, _, _ = str(newest.get("taskDefinition", "")).rpartition("/")[2].rpartition(":")
    applied = _applied(connection, family)
    running_revision = revision(str(newest.get("taskDefinition", "")))
    desired, running = service["desiredCount"], service["runningCount"]
    state, reason = str(newest.get("rolloutState", "COMPLETED")), str(newest.get("rolloutStateReason", ""))
    failed = next((deployment for deployment in deployments if deployment.get("rolloutState") == "FAILED"), None)
    trouble = failure = None
    if failed is not None:
        reason = str(failed.get("rolloutStateReason") or "no reason given")
        failure = f"the deployment of revision {revision(str(failed['taskDefinition']))} failed: {reason}"
    elif running_revision < applied and (state == "COMPLETED" or "rolling back" in reason):
        failure = f"revision {running_revision} runs, not {applied}, the newest: ECS rolled it back, or no apply ended"
    elif state != "COMPLETED" or len(deployments) != 1 or running != desired or not desired:
        trouble = f"{running} of {desired} tasks run, revision {running_revision} is being rolled out"
        if state == "COMPLETED":
            trouble = f"{running} of {desired} tasks run"
    component = Component(service["serviceName"], running_revision, desired, running, trouble, failure)
    return _with_stopped_task(connection, component, family, applied) if trouble or failure else component


def _with_stopped_task(connection: Connection, component: Component, family: str, applied: int) -> Component:
    """Add the last stopped task; a preparation that failed three times in a row is a failure."""
    stop = last_stopped_task(connection, component.service, f"{family}:{applied}")
    failure = component.failure
    if failure is None and stop is not None and stop.preparation and stop.times >= FAILED_AFTER:
        failure = f"{stop.container} failed {stop.times} times"
    return replace(component, failure=failure, stopped=stop)


def _applied(connection: Connection, family: str) -> int:
    """Return the newest revision of a family; 0 if none is active."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - boto3 is an extra

    with aws_errors(connection, "ecs:DescribeTaskDefinition", f"the task definitions {family}"):
        try:
            answer = connection.client("ecs").describe_task_definition(taskDefinition=family)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ClientException":  # none is active
                return 0
            raise
    return int(answer["taskDefinition"]["revision"])


def _failure(connection: Connection, component: Component) -> str:
    stop = component.stopped
    if stop is None or stop.container is None:
        return component.sentence
    lines = "\n".join(f"  {line}" for line in stop.lines(connection))
    more = stop.command(connection, component.service)
    return f"{component.sentence}. Last log lines of {stop.container}:\n{lines}\nMore: {more}"
