# SPDX-License-Identifier: Apache-2.0
"""Monitoring of an environment: alarms, their SNS topic, and a dashboard."""

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
class MonitoringProps:
    """The parts of the stack that monitoring reads."""

    logs: LogGroups
    broker: CeleryBroker
    database: MetadataDatabase
    access: WebEntrypoints
    healthy: Sequence[ITerraformDependable] = ()
    """Services that must be healthy before the first alarm exists."""


def monitor(
    scope: Construct, *, environment: Environment, name: str, aws_scope: AwsScope, key_arn: str, props: MonitoringProps
) -> None:
    """Add alarms, topic and dashboard to `scope` as `environment.monitoring` configures them."""
    monitoring = environment.monitoring
    monitored = monitored_resources(environment, name, props)
    arns: Sequence[str] = ()
    if monitoring.alarms:
        topic = AlarmTopic(scope, "alarm_topic", name=name, aws_scope=aws_scope, key_arn=key_arn, monitoring=monitoring)
        alarms = environment_alarms(monitored)
        arns = Alarms(
            scope,
            "alarms",
            name=name,
            aws_scope=aws_scope,
            topic_arn=topic.arn,
            alarms=alarms,
            depends_on=props.healthy,
        ).arns
    if monitoring.dashboard:
        Dashboard(
            scope,
            "dashboard",
            # The console lists the dashboards of all Regions together.
            name=f"{name}-{aws_scope.region}",
            region=aws_scope.region,
            scaler_log=props.logs.group("scaler").name,
            panels=environment_panels(monitored),
            alarm_arns=arns,
        )


def monitored_resources(environment: Environment, name: str, props: MonitoringProps) -> MonitoredResources:
    """Return the resources that alarms and dashboard panels use."""
    broker = props.broker
    # Redis has no SQS queues; its URLs are keys of lists.
    urls = broker.urls if broker.arns else {}
    return MonitoredResources(
        environment=environment.name,
        cluster=name,
        fleets={fleet: service_names(fleet) for fleet in environment.fleets},
        queues={queue: Fn.basename(url) for queue, url in urls.items()},
        dead_letters=None if broker.dead_letter_queue_url is None else Fn.basename(broker.dead_letter_queue_url),
        database=_writer(props.database.dimensions),
        serverless="DBClusterIdentifier" in props.database.dimensions,
        targets=list(_target_metrics(props.access)),
    )


def _writer(database: Mapping[str, str]) -> Dimensions:
    """Return the dimensions of the writer; an Aurora cluster may have readers too."""
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
