# SPDX-License-Identifier: Apache-2.0
"""Where an environment that is up answers, gathered from its status and Terraform's outputs."""

from __future__ import annotations

from openmwaa.config.environment import Environment
from openmwaa.local import login
from openmwaa.local.demo.watch import Endpoints
from openmwaa.local.up import Ready


def endpoints_of(ready: Ready, environment: Environment) -> Endpoints:
    """Return the endpoints of an environment that is up.

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
        worker_services=tuple(f"worker-{name}-{generation}" for name in environment.fleets for generation in "ab"),
        admin_password=login.admin_password(ready.paths, addresses["aws"], region=environment.region),
    )
