# SPDX-License-Identifier: Apache-2.0
"""Monitoring of an environment: alarms, their SNS topic, and a dashboard."""

from collections.abc import Iterator, Mapping, Sequence

from cdktn import Fn, ITerraformDependable, TerraformLocal
from cdktn_provider_aws.cloudwatch_dashboard import CloudwatchDashboard
from constructs import Construct

from cdktf_app.base.log_groups import LogGroups
from cdktf_app.base.stack_context import StackContext
from cdktf_app.broker.base import CeleryBroker
from cdktf_app.compute.worker_fleets import service_names
from cdktf_app.database.base import MetadataDatabase
from cdktf_app.monitoring.alarm_definitions import environment_alarms
from cdktf_app.monitoring.alarm_topic import AlarmTopic
from cdktf_app.monitoring.alarms import Alarms
from cdktf_app.monitoring.dashboard_panels import environment_panels
from cdktf_app.monitoring.metrics import Dimensions, MonitoredResources, TargetMetrics
from cdktf_app.monitoring.widgets import widgets
from cdktf_app.web.web_access import WebEntrypoints


def monitor(
    scope: Construct,
    context: StackContext,
    *,
    logs: LogGroups,
    broker: CeleryBroker,
    database: MetadataDatabase,
    access: WebEntrypoints,
    healthy: Sequence[ITerraformDependable],
) -> None:
    """Add alarms, topic and dashboard as `environment.monitoring` configures them.

    The services in `healthy` are healthy before the first alarm exists.
    """
    monitoring, region = context.environment.monitoring, context.aws_scope.region
    monitored = monitored_resources(context, broker, database, access)
    arns: Sequence[str] = ()
    if monitoring.alarms:
        topic_arn = AlarmTopic(scope, "alarm_topic", context).arn
        alarms = environment_alarms(monitored)
        arns = Alarms(scope, "alarms", context, topic_arn=topic_arn, alarms=alarms, depends_on=healthy).arns
    if monitoring.dashboard:
        dashboard = Construct(scope, "dashboard")
        content = widgets(environment_panels(monitored), arns, region, logs.group("scaler").name)
        body = TerraformLocal(dashboard, "body", {"widgets": content})
        CloudwatchDashboard(
            dashboard,
            "dashboard",
            # The console lists the dashboards of all Regions together.
            dashboard_name=f"{context.name}-{region}",
            dashboard_body=f"${{jsonencode({body.fqn})}}",
        )


def monitored_resources(
    context: StackContext, broker: CeleryBroker, database: MetadataDatabase, access: WebEntrypoints
) -> MonitoredResources:
    """Return the resources that alarms and dashboard panels use."""
    # Redis has no SQS queues; its URLs are keys of lists.
    urls = broker.urls if broker.arns else {}
    return MonitoredResources(
        environment=context.environment.name,
        cluster=context.name,
        service_of=context.environment.service_of,
        fleets={fleet: service_names(fleet) for fleet in context.environment.fleets},
        queues={queue: Fn.basename(url) for queue, url in urls.items()},
        dead_letters=None if broker.dead_letter_queue_url is None else Fn.basename(broker.dead_letter_queue_url),
        database=_writer(database.dimensions),
        serverless="DBClusterIdentifier" in database.dimensions,
        may_sleep=context.environment.sleep is not None,
        targets=list(_target_metrics(access, context.environment.service_of)),
    )


def _writer(database: Mapping[str, str]) -> Dimensions:
    """Return the dimensions of the writer; an Aurora cluster may have readers too."""
    writer = {"Role": "WRITER"} if "DBClusterIdentifier" in database else {}
    return tuple({**database, **writer}.items())


def _target_metrics(access: WebEntrypoints, service_of: Mapping[str, str]) -> Iterator[TargetMetrics]:
    targets = (
        ("execution API", "execution-api", access.internal.execution_api),
        ("web server", "web-server", access.internal.web),
        ("public web server", "web-server", access.public.web if access.public else None),
    )
    for word, component, target in targets:
        if target is not None:
            yield TargetMetrics(word, service_of[component], target.balancer, target.group)
