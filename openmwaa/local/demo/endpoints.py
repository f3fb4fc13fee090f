# SPDX-License-Identifier: Apache-2.0
"""The endpoints of a running environment, from its status and Terraform's outputs."""

from __future__ import annotations

from openmwaa.config.environment import Environment
from openmwaa.fleet_rollout import service_names
from openmwaa.local import login
from openmwaa.local.demo.watch import Endpoints
from openmwaa.local.up import Ready


def endpoints_of(ready: Ready, environment: Environment) -> Endpoints:
    """Return the endpoints of a running environment.

    Raises:
        DaemonError: the administrator's password cannot be read.
    """
    addresses = ready.status["endpoints"]
    outputs = login.outputs(ready.paths)
    return Endpoints(
        aws_url=addresses["aws"],
        ecs_url=addresses["ecs"],
        web_url=ready.web_address,
        region=environment.region,
        cluster=outputs["cluster_name"],
        bucket=outputs["source_bucket"],
        dag_prefix=environment.dag_s3_path,
        worker_services=tuple(name for fleet in environment.fleets for name in service_names(fleet)),
        admin_password=login.admin_password(ready.paths, addresses["aws"], region=environment.region),
    )
