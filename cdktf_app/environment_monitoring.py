# SPDX-License-Identifier: Apache-2.0
"""What watches an environment: alarms, the topic that they go to, and a dashboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cdktn import Fn, ITerraformDependable
from constructs import Construct

from cdktf_app.base.aws_scope import Place
from cdktf_app.base.log_groups import Logs
from cdktf_app.broker.base import Broker
from cdktf_app.compute.worker_fleets import service_names
from cdktf_app.database.base import MetadataDatabase
from cdktf_app.monitoring.alarm_definitions import alarms_of
from cdktf_app.monitoring.alarm_topic import Topic
from cdktf_app.monitoring.alarms import Alarms
from cdktf_app.monitoring.dashboard import Dashboard
from cdktf_app.monitoring.dashboard_panels import panels_of
from cdktf_app.monitoring.metrics import Balanced, Dimensions, Watched
from cdktf_app.web.target_groups import Target
from cdktf_app.web.web_access import WebAccess
from openmwaa.config.environment import Environment


@dataclass(frozen=True)
class Parts:
    """What there is to watch."""

    logs: Logs
    broker: Broker
    database: MetadataDatabase
    access: WebAccess
    healthy: Sequence[ITerraformDependable] = ()
    """Services that are healthy before anybody is told that they are not."""


def monitor(scope: Construct, *, environment: Environment, name: str, place: Place, key_arn: str, parts: Parts) -> None:
    """Add to `scope` what `environment` wants watched, and by whom."""
    wanted = environment.monitoring
    watched = watched_of(environment, name, parts)
    arns: Sequence[str] = ()
    if wanted.alarms:
        topic = Topic(scope, "alarm_topic", name=name, place=place, key_arn=key_arn, monitoring=wanted)
        alarms = alarms_of(watched)
        arns = Alarms(
            scope, "alarms", name=name, place=place, topic_arn=topic.arn, alarms=alarms, after=parts.healthy
        ).arns
    if wanted.dashboard:
        Dashboard(
            scope,
            "dashboard",
            # The console lists dashboards of all Regions together.
            name=f"{name}-{place.region}",
            region=place.region,
            scaler_log=parts.logs.group("scaler").name,
            panels=panels_of(watched),
            alarm_arns=arns,
        )


def watched_of(environment: Environment, name: str, parts: Parts) -> Watched:
    """Return what alarms and panels of `environment` look at."""
    broker = parts.broker
    # Redis has no queue in SQS, and its lists' keys are no names there.
    urls = broker.urls if broker.arns else {}
    return Watched(
        environment=environment.name,
        cluster=name,
        fleets={fleet: service_names(fleet) for fleet in environment.fleets},
        queues={queue: Fn.basename(url) for queue, url in urls.items()},
        dead_letters=None if broker.dead_letters_url is None else Fn.basename(broker.dead_letters_url),
        database=_writer(parts.database.dimensions),
        serverless="DBClusterIdentifier" in parts.database.dimensions,
        balanced=list(_balanced(parts.access)),
    )


def _writer(database: Mapping[str, str]) -> Dimensions:
    """Return the dimensions of the one that writes: a cluster has readers too."""
    writer = {"Role": "WRITER"} if "DBClusterIdentifier" in database else {}
    return tuple({**database, **writer}.items())


def _balanced(access: WebAccess) -> Iterator[Balanced]:
    targets: tuple[tuple[str, str, Target | None], ...] = (
        ("execution API", "execution-api", access.internal.execution_api),
        ("web server", "web-server", access.internal.web),
        ("public web server", "web-server", access.public.web if access.public else None),
    )
    for word, service, target in targets:
        if target is not None:
            yield Balanced(word, service, target.balancer, target.group)
