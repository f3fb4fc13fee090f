# SPDX-License-Identifier: Apache-2.0
"""Reads from ECS how far the rollout of each fleet is. Only the scaler acts on a rollout."""

from collections.abc import Mapping, Sequence
from typing import Any

from openmwaa.fleet_rollout import FleetRollout, WorkerService, revision, service_names
from openmwaa.operate import services
from openmwaa.operate.connection import Connection
from openmwaa.operate.waiting import WaitStatus


def read_rollouts(connection: Connection) -> Sequence[FleetRollout]:
    """Return the rollout of every fleet.

    Raises:
        OperateError: ECS refuses or does not answer.
        NotRunningError: a fleet of the file has no services in the cluster.
    """
    names = {fleet: service_names(fleet) for fleet in connection.environment.fleets}
    found = services.describe(connection, [name for pair in names.values() for name in pair])
    return [FleetRollout.of(fleet, [_worker_service(found[name]) for name in pair]) for fleet, pair in names.items()]


def rollout_status(connection: Connection) -> WaitStatus:
    """Return the rollouts that are unfinished or have failed, for `wait`.

    Raises:
        OperateError: ECS refuses or does not answer.
        NotRunningError: a fleet of the file has no services in the cluster.
    """
    fleets = read_rollouts(connection)
    return WaitStatus(
        awaited=tuple(fleet.sentence for fleet in fleets if not fleet.finished),
        # ECS starts no more tasks of a failed deployment.
        failures=tuple(
            f"{fleet.fleet}: the deployment of revision {fleet.current.revision} of {fleet.current.service} failed: "
            f"{fleet.current.failed}"
            for fleet in fleets
            if fleet.current.failed
        ),
        data={"fleets": [fleet.as_data() for fleet in fleets]},
    )


def _worker_service(service: Mapping[str, Any]) -> WorkerService:
    deployments = service.get("deployments", ())
    newest = services.primary(service)
    reason = str(newest.get("rolloutStateReason", ""))
    return WorkerService(
        service=service["serviceName"],
        revision=revision(str(newest.get("taskDefinition", ""))),
        desired=service["desiredCount"],
        running=service["runningCount"],
        pending=service["pendingCount"],
        behind=sum(
            deployment["runningCount"] + deployment["pendingCount"]
            for deployment in deployments
            if deployment is not newest
        ),
        failed=(reason or "no reason given") if newest.get("rolloutState") == "FAILED" else None,
    )
