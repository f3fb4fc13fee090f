# SPDX-License-Identifier: Apache-2.0
"""What watches an environment: alarms, the topic that they go to, and a dashboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cdktn import Fn, ITerraformDependable
from constructs import Construct

from cdktf_app.base.aws_scope import AwsScope
from cdktf_app.base.log_groups import LogGroups
from cdktf_app.broker.base import CeleryBroker
from cdktf_app.compute.worker_fleets import service_names
from cdktf_app.database.base import MetadataDatabase
from cdktf_app.monitoring.alarm_definitions import environment_alarms
from cdktf_app.monitoring.alarm_topic import AlarmTopic
from cdktf_app.monitoring.alarms import Alarms
from cdktf_app.monitoring.dashboard import Dashboard
from cdktf_app.monitoring.dashboard_panels import environment_panels
from cdktf_app.monitoring.metrics import Dimensions, MonitoredResources, TargetMetrics
from cdktf_app.web.target_groups import TargetGroup
from cdktf_app.web.web_access import WebEntrypoints
from openmwaa.config.environment import Environment


@dataclass(frozen=True)
class Parts:
    """What there is to watch."""

    logs: LogGroups
    broker: CeleryBroker
    database: MetadataDatabase
    access: WebEntrypoints
    healthy: Sequence[ITerraformDependable] = ()
    """Services that are healthy before anybody is told that they are not."""


def monitor(
    scope: Construct, *, environment: Environment, name: str, aws_scope: AwsScope, key_arn: str, parts: Parts
) -> None:
    """Add to `scope` what `environment` wants watched, and by whom."""
    monitoring = environment.monitoring
    monitored = monitored_resources(environment, name, parts)
    arns: Sequence[str] = ()
    if monitoring.alarms:
        topic = AlarmTopic(scope, "alarm_topic", name=name, aws_scope=aws_scope, key_arn=key_arn, monitoring=monitoring)
        alarms = environment_alarms(monitored)
        arns = Alarms(
            scope, "alarms", name=name, aws_scope=aws_scope, topic_arn=topic.arn, alarms=alarms, after=parts.healthy
        ).arns
    if monitoring.dashboard:
        Dashboard(
            scope,
            "dashboard",
            # The console lists dashboards of all Regions together.
            name=f"{name}-{aws_scope.region}",
            region=aws_scope.region,
            scaler_log=parts.logs.group("scaler").name,
            panels=environment_panels(monitored),
            alarm_arns=arns,
        )


def monitored_resources(environment: Environment, name: str, parts: Parts) -> MonitoredResources:
    """Return what alarms and panels of `environment` look at."""
    broker = parts.broker
    # Redis has no queue in SQS, and its lists' keys are no names there.
    urls = broker.urls if broker.arns else {}
    return MonitoredResources(
        environment=environment.name,
        cluster=name,
        fleets={fleet: service_names(fleet) for fleet in environment.fleets},
        queues={queue: Fn.basename(url) for queue, url in urls.items()},
        dead_letters=None if broker.dead_letter_queue_url is None else Fn.basename(broker.dead_letter_queue_url),
        database=_writer(parts.database.dimensions),
        serverless="DBClusterIdentifier" in parts.database.dimensions,
        targets=list(_target_metrics(parts.access)),
    )


def _writer(database: Mapping[str, str]) -> Dimensions:
    """Return the dimensions of the one that writes: a cluster has readers too."""
    writer = {"Role": "WRITER"} if "DBClusterIdentifier" in database else {}
    return tuple({**database, **writer}.items())


def _target_metrics(access: WebEntrypoints) -> Iterator[TargetMetrics]:
    targets: tuple[tuple[str, str, TargetGroup | None], ...] = (
        ("execution API", "execution-api", access.internal.execution_api),
        ("web server", "web-server", access.internal.web),
        ("public web server", "web-server", access.public.web if access.public else None),
    )
    for word, service, target in targets:
        if target is not None:
            yield TargetMetrics(word, service, target.balancer, target.group)
