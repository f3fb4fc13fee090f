# SPDX-License-Identifier: Apache-2.0
"""Target groups: ECS services register their tasks there; load balancers check their health."""

from dataclasses import dataclass
from typing import Final

from cdktn import ITerraformDependable
from cdktn_provider_aws.lb_target_group import LbTargetGroup, LbTargetGroupHealthCheck
from constructs import Construct

from openmwaa.config.ports import EXECUTION_API_PORT, SCALER_PORT, WEB_PORT

NAME_LIMIT: Final = 32
"""The longest name of a load balancer or a target group."""


@dataclass(frozen=True)
class TargetGroup:
    """A target group of a service; ECS accepts it only after `listener_rule` exists.

    `balancer` and `group` are the dimensions LoadBalancer and TargetGroup of CloudWatch.
    """

    group_arn: str
    port: int
    listener_rule: ITerraformDependable
    balancer: str
    group: str


@dataclass(frozen=True)
class TargetGroupSpec:
    """A kind of target group: port of the tasks, and health check."""

    word: str
    port: int
    health_path: str
    interval_s: int = 10
    unhealthy_threshold: int = 5


def web(health_path: str) -> TargetGroupSpec:
    """Return the kind of the web server; the path of its health differs between versions of Airflow."""
    return TargetGroupSpec("web", WEB_PORT, health_path)


EXECUTION: Final = TargetGroupSpec("execution", EXECUTION_API_PORT, "/execution/health")
# ECS replaces a scaler after five unhealthy minutes, not after one slow response.
SCALER: Final = TargetGroupSpec("scaler", SCALER_PORT, "/healthz", interval_s=30, unhealthy_threshold=10)


def target_group(scope: Construct, *, name: str, spec: TargetGroupSpec, vpc_id: str) -> LbTargetGroup:
    """Return a new target group in `scope`; a target group can belong to one load balancer only."""
    return LbTargetGroup(
        scope,
        "group",
        name=name,
        target_type="ip",
        # The load balancer terminates TLS; only it can connect to these ports.
        protocol="HTTP",
        port=spec.port,
        vpc_id=vpc_id,
        deregistration_delay="30",
        health_check=LbTargetGroupHealthCheck(
            path=spec.health_path,
            matcher="200",
            interval=spec.interval_s,
            timeout=5,
            healthy_threshold=2,
            unhealthy_threshold=spec.unhealthy_threshold,
        ),
    )
