# SPDX-License-Identifier: Apache-2.0
"""Alarms: MWAA's numbers, published metrics, notifications."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from cdktf_app.monitoring.alarm_definitions import PERIOD_S, Alarm, anchor, environment_alarms
from tests.support.metrics_known import publisher_of
from tests.support.monitored_resources import WATCHED
from tests.support.stack import Stack
from tests.synth.cdktf_app.conftest import stack_of

RUNBOOK = Path(__file__).parents[3] / "docs/how-to/alarms.md"
ALARMS = {alarm.id: alarm for alarm in environment_alarms(WATCHED)}
MIB = 1024 * 1024
MODEL: Any = (
    botocore.session.get_session().get_service_model("cloudwatch").operation_model("PutMetricAlarm").input_shape
)

# MWAA's own template.
OF_MWAA = {
    "scheduler_heartbeat": ("SchedulerHeartbeat", "Sum", "LessThanThreshold", 1, 2, "breaching"),
    "oldest_task_default": ("ApproximateAgeOfOldestMessage", "Maximum", "GreaterThanThreshold", 1800, 3, None),
    "scheduler_cpu": ("CPUUtilization", "Average", "GreaterThanThreshold", 95, 3, None),
    "scheduler_memory": ("MemoryUtilization", "Average", "GreaterThanThreshold", 95, 3, None),
    "worker-default-a_cpu": ("CPUUtilization", "Average", "GreaterThanThreshold", 95, 6, None),
    "worker-default-a_memory": ("MemoryUtilization", "Average", "GreaterThanThreshold", 95, 6, None),
    "web_server_cpu": ("CPUUtilization", "Average", "GreaterThanThreshold", 95, 3, None),
    "web_server_memory": ("MemoryUtilization", "Average", "GreaterThanThreshold", 95, 3, None),
    "database_cpu": ("CPUUtilization", "Average", "GreaterThanThreshold", 95, 3, None),
    "database_memory": ("FreeableMemory", "Average", "LessThanThreshold", 512 * MIB, 3, None),
}


@pytest.mark.parametrize("name", OF_MWAA)
def test_mwaas_alarms_have_mwaas_numbers(name: str) -> None:
    metric, statistic, comparison, threshold, periods, missing = OF_MWAA[name]
    alarm = ALARMS[name]
    assert alarm.type.of_mwaa
    assert (alarm.metric.name, alarm.metric.statistic) == (metric, statistic)
    assert (alarm.type.comparison, alarm.type.threshold, alarm.type.periods) == (comparison, threshold, periods)
    assert missing in (None, alarm.type.missing)
    assert PERIOD_S == 300


def test_every_type_that_mwaa_has_is_listed_above() -> None:
    assert {alarm.type for alarm in ALARMS.values() if alarm.type.of_mwaa} == {ALARMS[name].type for name in OF_MWAA}


@pytest.mark.parametrize("name", ALARMS)
def test_every_alarm_metric_is_published(name: str) -> None:
    metric = ALARMS[name].metric
    assert publisher_of(metric), f"no component publishes {metric.namespace} {metric.name} by {metric.dimensions}"


def state_of(alarm: Alarm, values: Sequence[float | None]) -> str:
    """The state of an alarm after these periods, oldest first; None is missing data."""
    alarm_type = alarm.type
    last = values[-alarm_type.periods :]
    if all(value is None for value in last):
        return {"breaching": "ALARM", "notBreaching": "OK", "missing": "INSUFFICIENT_DATA"}[alarm_type.missing]
    over = [
        alarm_type.missing == "breaching"
        if value is None
        else (
            value > alarm_type.threshold
            if alarm_type.comparison == "GreaterThanThreshold"
            else value < alarm_type.threshold
        )
        for value in last
    ]
    return "ALARM" if all(over) and len(over) == alarm_type.periods else "OK"


@pytest.mark.parametrize(
    ("name", "values", "state"),
    [
        pytest.param("scheduler_heartbeat", [10, 10], "OK", id="schedulers live"),
        pytest.param("scheduler_heartbeat", [10, 0], "OK", id="schedulers silent for one period"),
        pytest.param("scheduler_heartbeat", [0, 0], "ALARM", id="no scheduler for two periods"),
        pytest.param("scheduler_heartbeat", [None, None], "ALARM", id="no data"),
        pytest.param("worker-default-b_cpu", [None] * 6, "OK", id="a generation without workers"),
        pytest.param("worker-default-b_cpu", [99.0] * 6, "ALARM", id="busy workers"),
        pytest.param("worker-default-b_cpu", [*[99.0] * 5, 90.0], "OK", id="workers that were busy"),
        pytest.param("scheduler_cpu", [None] * 3, "INSUFFICIENT_DATA", id="no schedulers: another alarm covers it"),
        pytest.param("oldest_task_default", [None] * 3, "OK", id="an idle queue without metrics"),
        pytest.param("dead_letters", [0.0], "OK", id="no dead letter"),
        pytest.param("dead_letters", [1.0], "ALARM", id="one dead letter"),
        pytest.param("dags_left_out", [None, None], "OK", id="every object is in the folder"),
        pytest.param("dags_left_out", [None, 1.0], "OK", id="an object that was deleted during a sync"),
        pytest.param("dags_left_out", [1.0, 1.0], "ALARM", id="one object is left out"),
        pytest.param("dag_sync_failing", [4.0], "OK", id="four failed syncs in a row"),
        pytest.param("dag_sync_failing", [5.0], "ALARM", id="five failed syncs in a row"),
        pytest.param("fleet_default_no_decision", [None], "ALARM", id="no scaler"),
        pytest.param("fleet_default_no_decision", [1.0], "ALARM", id="a blind scaler"),
        pytest.param("fleet_default_no_decision", [0.0], "OK", id="a scaler that decided once in five minutes"),
        pytest.param("fleet_default_source_unknown", [None], "OK", id="no scaler has one alarm"),
        pytest.param("fleet_default_source_unknown", [1.0], "ALARM", id="a source is unknown"),
        pytest.param("fleet_default_drain_too_old", [43201.0], "ALARM", id="a drain of half a day"),
        pytest.param("fleet_default_drain_too_old", [43200.0], "OK", id="a drain of less"),
        pytest.param("fleet_default_at_maximum", [0.0, 1.0], "OK", id="at the maximum for five minutes"),
        pytest.param("fleet_default_at_maximum", [1.0, 1.0], "ALARM", id="at the maximum for ten"),
        pytest.param("fleet_default_tasks_without_message", [0.0, 3.0], "OK", id="messages missing for five minutes"),
        pytest.param("fleet_default_tasks_without_message", [3.0, 3.0], "ALARM", id="messages missing for ten"),
        pytest.param("fleet_default_protection_refused", [1.0], "ALARM", id="protection refused"),
        pytest.param("fleet_default_launches_stuck", [2.0], "ALARM", id="launches stuck"),
        pytest.param("execution_api_down", [None], "ALARM", id="no execution API registered"),
        pytest.param("execution_api_down", [0.0], "ALARM", id="no execution API healthy"),
        pytest.param("execution_api_unhealthy", [1.0, 1.0, 0.0], "OK", id="a task that was replaced"),
        pytest.param("execution_api_unhealthy", [1.0, 1.0, 1.0], "ALARM", id="tasks that cannot be replaced"),
        pytest.param("database_memory", [511.0 * MIB] * 3, "ALARM", id="little memory"),
        pytest.param("scheduler_not_running", [None, None], "ALARM", id="no scheduler's task"),
        pytest.param("scheduler_not_running", [5.0, None], "OK", id="a scheduler that is replaced"),
        pytest.param("scaler_not_running", [None, None], "ALARM", id="no scaler's task"),
    ],
)
def test_the_state_of_an_alarm(name: str, values: list[float | None], state: str) -> None:
    assert state_of(ALARMS[name], values) == state


@pytest.mark.parametrize(
    "service", ["scheduler", "dag-processor", "triggerer", "execution-api", "web-server", "scaler"]
)
def test_dag_code_can_forge_no_metric_that_hides_an_outage(service: str) -> None:
    """DAG code can write embedded metrics to its log group, in every namespace but AWS's own."""
    word = service.replace("-", "_")
    alarm = ALARMS.get(f"{word}_not_running") or ALARMS[f"{word}_down"]
    assert alarm.metric.namespace in {"AWS/ECS", "AWS/ApplicationELB"}
    assert (alarm.type.missing, alarm.type.comparison, alarm.type.threshold) == ("breaching", "LessThanThreshold", 1)


def test_each_type_has_a_runbook() -> None:
    headings = {anchor(heading) for heading in re.findall(r"^### (.+)$", RUNBOOK.read_text(), re.MULTILINE)}
    assert {anchor(alarm.type.name) for alarm in ALARMS.values()} == headings


@pytest.mark.parametrize(
    ("watched", "gone", "new"),
    [
        pytest.param(
            replace(WATCHED, queues={}, dead_letters=None),
            {"oldest_task_default", "oldest_task_heavy", "dead_letters"},
            {"oldest_task"},
            id="Redis",
        ),
        pytest.param(
            replace(WATCHED, database=()), {"database_cpu", "database_memory"}, set(), id="database that exists"
        ),
        pytest.param(
            replace(WATCHED, targets=WATCHED.targets[:1]),
            {"execution_api_down", "execution_api_unhealthy"},
            {"execution_api_not_running"},
            id="no execution API",
        ),
    ],
)
def test_missing_resources_have_no_alarms(watched: Any, gone: set[str], new: set[str]) -> None:
    found = {alarm.id: alarm for alarm in environment_alarms(watched)}
    assert found.keys() == (ALARMS.keys() - gone) | new
    assert all(publisher_of(found[name].metric) for name in new)


# --- in the stack


@pytest.fixture(scope="session")
def subscribed() -> Stack:
    return stack_of(monitoring={"alarm_emails": ["a@example.com", "b+${c}@example.com"], "dashboard": False})


@pytest.fixture(scope="session")
def unwatched() -> Stack:
    return stack_of(monitoring={"alarms": False})


def alarms(stack: Stack) -> dict[str, Any]:
    return stack.resources("aws_cloudwatch_metric_alarm")


META = {"depends_on", "lifecycle"}
"""Arguments of Terraform itself."""


@pytest.mark.parametrize("where", ["quickstart", "byo_resources"])
def test_aws_accepts_every_alarm(where: str, request: pytest.FixtureRequest) -> None:
    stack = request.getfixturevalue(where)
    assert len(alarms(stack)) > 20
    for address, alarm in alarms(stack).items():
        parameters = {_parameter(name): value for name, value in alarm.items() if name not in META}
        parameters["Dimensions"] = [{"Name": name, "Value": value} for name, value in alarm["dimensions"].items()]
        parameters["Threshold"] = float(alarm["threshold"])
        report = ParamValidator().validate(parameters, MODEL)
        assert not report.has_errors(), f"{address}: {report.generate_report()}"
        for name in ("ComparisonOperator", "Statistic"):
            assert parameters[name] in MODEL.members[name].enum, f"{address}: {name}"
        assert alarm["treat_missing_data"] in {"breaching", "notBreaching", "ignore", "missing"}, address
        assert alarm["period"] * alarm["evaluation_periods"] <= 86_400, f"{address}: AWS looks back a day at most"
        assert alarm["datapoints_to_alarm"] <= alarm["evaluation_periods"], address


def _parameter(name: str) -> str:
    special = {"ok_actions": "OKActions"}
    return special.get(name, "".join(word.capitalize() for word in name.split("_")))


def test_every_alarm_notifies_the_topic_when_it_starts_and_ends(quickstart: Stack) -> None:
    (topic,) = quickstart.resources("aws_sns_topic")
    arn = [f"${{aws_sns_topic.{topic}.arn}}"]
    assert {address for address, alarm in alarms(quickstart).items() if alarm["alarm_actions"] != arn} == set()
    assert {address for address, alarm in alarms(quickstart).items() if alarm["ok_actions"] != arn} == set()
    assert quickstart.document["output"]["alarm_topic_arn"]["value"] == arn[0]


def test_alarms_have_the_environments_name_and_a_runbook_link(quickstart: Stack) -> None:
    names = [alarm["alarm_name"] for alarm in alarms(quickstart).values()]
    assert len(set(names)) == len(names)
    assert all(name.startswith("openmwaa-quickstart/") for name in names), "no other environment's begin like that"
    for alarm in alarms(quickstart).values():
        assert "docs/how-to/alarms.md#" in alarm["alarm_description"]


def test_alarms_use_the_names_of_ecs_and_the_scaler(byo_resources: Stack) -> None:
    cluster = byo_resources.only("aws_ecs_cluster")["name"]
    watched = {
        alarm["dimensions"]["ServiceName"]: alarm["dimensions"]["ClusterName"]
        for alarm in alarms(byo_resources).values()
        if alarm["namespace"] == "AWS/ECS"
    }
    assert watched.keys() <= byo_resources.services.keys(), "an alarm on a service that is not there is never in alarm"
    assert set(watched.values()) == {cluster}
    fleets = {alarm["dimensions"].get("Fleet") for alarm in alarms(byo_resources).values()} - {None}
    assert fleets == {"default", "graphics"}
    environments = {
        alarm["dimensions"]["Environment"]
        for alarm in alarms(byo_resources).values()
        if "Environment" in alarm["dimensions"]
    }
    (container,) = byo_resources.tasks["scaler"]
    (config,) = (entry["value"] for entry in container["environment"] if entry["name"] == "SCALER_CONFIG")
    assert environments == {byo_resources.local(config)["environment"]}, "what the scaler calls it"


def test_the_topic_is_encrypted_and_accepts_alarms_of_the_account_only(quickstart: Stack) -> None:
    topic = quickstart.only("aws_sns_topic")
    assert topic["kms_master_key_id"] == "${aws_kms_key.keys.arn}"
    allowed, denied = quickstart.local(topic["policy"])["Statement"]
    assert allowed["Principal"] == {"Service": ["cloudwatch.amazonaws.com"]}
    assert allowed["Action"] == ["sns:Publish"]
    assert allowed["Condition"]["StringEquals"].keys() == {"aws:SourceAccount"}
    (source,) = allowed["Condition"]["ArnLike"]["aws:SourceArn"]
    assert source.endswith(":alarm:*")
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": ["false"]}})


def test_configured_addresses_are_subscribed(subscribed: Stack) -> None:
    subscriptions = subscribed.resources("aws_sns_topic_subscription")
    assert {subscription["protocol"] for subscription in subscriptions.values()} == {"email"}
    assert {subscription["endpoint"] for subscription in subscriptions.values()} == {
        "a@example.com",
        "b+$${c}@example.com",
    }
    assert not subscribed.resources("aws_cloudwatch_dashboard")


def test_a_further_address_does_not_change_other_subscriptions(subscribed: Stack) -> None:
    emails = ["new@example.com", "a@example.com", "b+${c}@example.com"]
    more = stack_of(monitoring={"alarm_emails": emails}).resources("aws_sns_topic_subscription")
    assert subscribed.resources("aws_sns_topic_subscription").items() < more.items()


def test_an_existing_topic_is_used() -> None:
    arn = "arn:aws:sns:us-east-1:123456789012:given"
    stack = stack_of(monitoring={"alarm_topic_arn": arn})
    assert not stack.resources("aws_sns_topic")
    assert {tuple(alarm["alarm_actions"]) for alarm in alarms(stack).values()} == {(arn,)}


def test_without_alarms_there_is_no_topic_and_still_a_dashboard(unwatched: Stack) -> None:
    assert not alarms(unwatched)
    assert not unwatched.resources("aws_sns_topic")
    body = unwatched.local(unwatched.only("aws_cloudwatch_dashboard")["dashboard_body"])
    assert "alarm" not in {widget["type"] for widget in body["widgets"]}


def metrics_of(stack: Stack) -> dict[str, tuple[str, str, dict[str, str]]]:
    return {
        address.removeprefix("alarms_"): (alarm["namespace"], alarm["metric_name"], alarm["dimensions"])
        for address, alarm in alarms(stack).items()
    }


def test_redis_and_rds_have_their_own_metrics(redis_and_rds: Stack) -> None:
    found = metrics_of(redis_and_rds)
    dimensions = {"Function": "Executor", "Environment": "example"}
    assert found["oldest_task"] == ("AmazonMWAA", "ApproximateAgeOfOldestTask", dimensions)
    assert not {namespace for namespace, _, _ in found.values()} & {"AWS/SQS"}
    (instance,) = redis_and_rds.resources("aws_db_instance").values()
    database = {"DBInstanceIdentifier": instance["identifier"]}
    assert found["database_cpu"] == ("AWS/RDS", "CPUUtilization", database)
    assert found["database_memory"] == ("AWS/RDS", "FreeableMemory", database)


def test_aurora_alarms_use_the_writer(no_internet: Stack) -> None:
    cluster = no_internet.only("aws_rds_cluster")["cluster_identifier"]
    dimensions = {"DBClusterIdentifier": cluster, "Role": "WRITER"}
    assert metrics_of(no_internet)["database_cpu"] == ("AWS/RDS", "CPUUtilization", dimensions)


def test_an_existing_database_has_no_alarms(existing: Stack) -> None:
    assert "AWS/RDS" not in {namespace for namespace, _, _ in metrics_of(existing).values()}
    body = existing.local(existing.only("aws_cloudwatch_dashboard")["dashboard_body"])
    assert not [widget for widget in body["widgets"] if widget["properties"]["title"].startswith("Database")]


def test_every_target_group_has_alarms(public_without_a_way_out: Stack, quickstart: Stack) -> None:
    for stack, doors in ((quickstart, {"web_server"}), (public_without_a_way_out, {"public_web_server"})):
        targets = {
            address.removesuffix("_down"): dimensions
            for address, (_, name, dimensions) in metrics_of(stack).items()
            if name == "HealthyHostCount"
        }
        assert targets.keys() == {"execution_api", *doors}
        groups = {target["TargetGroup"] for target in targets.values()}
        assert len(groups) == len(targets)
        for group in groups:
            assert group.removeprefix("${aws_lb_target_group.").removesuffix(".arn_suffix}") in stack.resources(
                "aws_lb_target_group"
            )


def test_names_of_alarms_are_within_limits(longest_names: Stack) -> None:
    assert len(alarms(longest_names)) > 200
    assert max(len(alarm["alarm_name"]) for alarm in alarms(longest_names).values()) <= 255
    assert max(len(alarm["alarm_description"]) for alarm in alarms(longest_names).values()) <= 1024
    assert max(len(alarm["dimensions"]) for alarm in alarms(longest_names).values()) <= 30
    name = longest_names.only("aws_cloudwatch_dashboard")["dashboard_name"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name)


def test_no_alarms_during_create_and_destroy(quickstart: Stack) -> None:
    silent = {name: alarm for name, alarm in alarms(quickstart).items() if alarm["treat_missing_data"] == "breaching"}
    assert silent.keys() == {
        "alarms_scheduler_heartbeat",
        "alarms_execution_api_down",
        "alarms_web_server_down",
        "alarms_fleet_default_no_decision",
        *(f"alarms_{name}_not_running" for name in ("scheduler", "dag_processor", "triggerer", "scaler")),
    }
    components = ("scheduler", "dag_processor", "triggerer", "execution_api", "web_server")
    speak = {f"aws_ecs_service.airflow_{name}" for name in components}
    for name, alarm in silent.items():
        assert speak | {"aws_ecs_service.scaler"} <= set(alarm["depends_on"]), name


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,19}", fullmatch=True)
QUEUES = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), st.lists(QUEUES, max_size=6, unique=True))
def test_names_of_alarms_are_unique(fleets: list[str], queues: list[str]) -> None:
    watched = replace(
        WATCHED,
        fleets={fleet: (f"worker-{fleet}-a", f"worker-{fleet}-b") for fleet in fleets},
        queues={queue: f"airflow-celery-demo-{queue}" for queue in queues},
    )
    ids = [alarm.id for alarm in environment_alarms(watched)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) for name in ids), "they are Terraform's addresses too"
    of_environment = {name for name in ids if not name.startswith(("worker-", "fleet_", "oldest_task"))}
    assert len(ids) == len(of_environment) + 11 * len(fleets) + max(1, len(queues))
