# SPDX-License-Identifier: Apache-2.0
"""The complete records after each kind of operation, so that no field changes unseen."""

import random
from dataclasses import replace
from typing import Any

import pytest

from local_ecs.model import (
    CircuitBreaker,
    EcsCluster,
    EcsDeployment,
    EcsFailure,
    EcsModel,
    EcsService,
    EcsSettings,
    EcsTask,
    HealthStatus,
    LaunchTask,
    RandomIds,
    RolloutState,
    SequentialIds,
    StopTask,
    TaskDefinition,
    TaskStatus,
    spread_then_oldest,
)
from tests.unit.local_ecs.model.model_runtime import CLUSTER, ModelRuntime

ACCOUNT = "arn:aws:ecs:us-east-1:123456789012:"
CLUSTER_ARN = f"{ACCOUNT}cluster/{CLUSTER}"
CONTAINERS = {"containerDefinitions": [{"name": "worker"}]}
SLOW = EcsSettings(provisioning_s=10.0, pending_s=20.0, scheduler_delay_s=1.0)


def hex32(number: int) -> str:
    return f"{number:032x}"


def model(settings: EcsSettings | None = None, **options: Any) -> EcsModel:
    """Return a model at 100 s with a cluster and one task definition."""
    ecs = EcsModel(settings, now=100.0, **options)
    ecs.clusters.create(CLUSTER)
    ecs.task_definitions.register("worker", CONTAINERS)
    return ecs


def with_service(ecs: EcsModel, **options: Any) -> EcsService:
    defaults: dict[str, Any] = {"cluster": CLUSTER, "task_definition": "worker", "desired_count": 1}
    return ecs.services.create("w", **defaults | options)


def only_task(ecs: EcsModel) -> EcsTask:
    (task,) = ecs.tasks.all(cluster=CLUSTER, desired_status="RUNNING")
    return task


def test_a_cluster() -> None:
    ecs = EcsModel()
    cluster = ecs.clusters.create("c", details={"settings": [1]}, tags={"a": "1"})
    assert cluster == EcsCluster(CLUSTER_ARN, "c", "ACTIVE", {"settings": [1]}, {"a": "1"})
    assert ecs.clusters.create("c", tags={"b": "2"}) == cluster, "AWS returns the existing one"
    assert ecs.clusters.update("c", {"settings": None, "more": 2}).details == {"more": 2}
    assert ecs.clusters.create() == EcsCluster(f"{ACCOUNT}cluster/default", "default")
    assert ecs.clusters.get(None).name == "default"
    assert [cluster.name for cluster in ecs.clusters.all()] == ["c", "default"]
    ecs.clusters.delete("c")
    assert [cluster.name for cluster in ecs.clusters.all()] == ["default"]
    assert ecs.clusters.create("c").details == {}, "the name of a deleted cluster is free"


def test_clusters_are_described_by_name_and_arn() -> None:
    ecs = model()
    found, failures = ecs.clusters.describe([CLUSTER_ARN, f"{ACCOUNT}cluster/nowhere"])
    assert [cluster.arn for cluster in found] == [CLUSTER_ARN]
    assert failures == [EcsFailure(f"{ACCOUNT}cluster/nowhere", "MISSING")]
    assert ecs.clusters.describe() == ([], [EcsFailure(f"{ACCOUNT}cluster/default", "MISSING")])


def test_a_cluster_counts_its_own_tasks_and_services() -> None:
    ecs = model()
    ecs.clusters.create("other")
    with_service(ecs)
    with_service(ecs, cluster="other", desired_count=2)
    ecs.advance(100.0)
    ecs.task_running(only_task(ecs).arn)
    own, other = ecs.clusters.get(CLUSTER), ecs.clusters.get("other")
    assert [(ecs.clusters.counts(c).running, ecs.clusters.counts(c).pending) for c in (own, other)] == [(1, 0), (0, 2)]
    assert [service.cluster_arn for service in ecs.clusters.active_services(own)] == [CLUSTER_ARN]
    assert len(ecs.services.everywhere()) == 2
    assert [service.cluster_arn for service in ecs.services.all(cluster="other")] == [other.arn]
    assert len(ecs.tasks.all(cluster="other")) == 2


def test_a_task_definition() -> None:
    ecs = model()
    arn = f"{ACCOUNT}task-definition/worker:2"
    registered = ecs.task_definitions.register("worker", {**CONTAINERS, "cpu": "256"}, tags={"a": "1"})
    assert registered == TaskDefinition(arn, "worker", 2, 100.0, details={**CONTAINERS, "cpu": "256"}, tags={"a": "1"})
    ecs.advance(200.0)
    gone = ecs.task_definitions.deregister("worker:2")
    assert gone == replace(registered, status="INACTIVE", deregistered_at=200.0)
    ecs.task_definitions.register("other", CONTAINERS)
    found = [(d.family, d.revision) for d in ecs.task_definitions.all()]
    assert found == [("worker", 1), ("other", 1)]
    assert [d.revision for d in ecs.task_definitions.all(family_prefix="worker", status="INACTIVE")] == [2]
    assert ecs.task_definitions.get("worker").revision == 1, "the newest ACTIVE one"
    assert ecs.task_definitions.get(f"{ACCOUNT}task-definition/worker:2") == gone


@pytest.mark.parametrize(
    ("containers", "checked"),
    [
        ([{"healthCheck": {"command": ["CMD", "true"]}}], True),
        ([{"healthCheck": {"command": ["NONE"]}}], False),
        ([{"healthCheck": {}}], False),
        ([{}], False),
        ([{"essential": False, "healthCheck": {"command": ["CMD"]}}], False),
        ([{"essential": True, "healthCheck": {"command": ["CMD"]}}, {}], True),
    ],
    ids=["check", "NONE", "no command", "no check", "sidecar", "one of two"],
)
def test_which_containers_give_a_task_its_health(containers: list[dict[str, Any]], *, checked: bool) -> None:
    definition = TaskDefinition("arn", "worker", 1, 0.0, details={"containerDefinitions": containers})
    assert definition.has_health_check is checked
    assert not TaskDefinition("arn", "worker", 1, 0.0).has_health_check


def test_a_new_service() -> None:
    ecs = model()
    breaker = CircuitBreaker(enable=True, rollback=True)
    service = with_service(
        ecs,
        desired_count=2,
        minimum_healthy_percent=50,
        maximum_percent=150,
        circuit_breaker=breaker,
        template={"x": 1},
        details={"y": 2},
        tags={"a": "1"},
    )
    deployment = EcsDeployment(
        "ecs-svc/1000000000000000001",
        f"{ACCOUNT}task-definition/worker:1",
        100.0,
        100.0,
        {"x": 1},
        rollout_state_reason="ECS deployment in progress.",
    )
    assert service == EcsService(
        f"{ACCOUNT}service/c/w",
        CLUSTER_ARN,
        "w",
        100.0,
        2,
        (deployment,),
        50,
        150,
        breaker,
        {"x": 1},
        {"y": 2},
        {"a": "1"},
    )
    assert ecs.services.get(f"{ACCOUNT}service/c/w", cluster=CLUSTER) == service


def test_an_update_changes_only_the_given_fields() -> None:
    ecs = model()
    service = with_service(ecs, desired_count=2, template={"x": 1, "z": 0}, details={"y": 2})
    assert ecs.services.update("w", cluster=CLUSTER) == service
    breaker = CircuitBreaker(enable=True)
    changed = ecs.services.update(
        "w",
        cluster=CLUSTER,
        desired_count=0,
        minimum_healthy_percent=0,
        maximum_percent=100,
        circuit_breaker=breaker,
        details={"y": None, "q": 3},
    )
    assert changed == replace(
        service,
        desired_count=0,
        minimum_healthy_percent=0,
        maximum_percent=100,
        circuit_breaker=breaker,
        details={"q": 3},
    )
    deployed = ecs.services.update("w", cluster=CLUSTER, template={"x": 2, "z": None})
    assert deployed.template == {"x": 2}
    assert [d.template for d in deployed.deployments] == [{"x": 2}, {"x": 1, "z": 0}]


def test_a_task_of_a_service_through_its_life() -> None:
    ecs = model(SLOW)
    service = with_service(ecs, template={"x": 1}, tags={"a": "1"}, details={"propagateTags": "SERVICE"})
    assert ecs.next_due() == 101.0, "the scheduler's delay"
    assert ecs.advance(101.0) == ()
    created = only_task(ecs)
    assert created == EcsTask(
        f"{ACCOUNT}task/c/{hex32(2)}",
        hex32(2),
        CLUSTER_ARN,
        f"{ACCOUNT}task-definition/worker:1",
        "service:w",
        service.primary.id,
        101.0,
        "us-east-1a",
        pending_at=111.0,
        launch_at=131.0,
        service_key=(CLUSTER_ARN, "w"),
        deployment_id=service.primary.id,
        details={"x": 1},
        tags={"a": "1"},
    )
    assert ecs.next_due() == 111.0
    ecs.advance(111.0)
    pending = replace(created, status=TaskStatus.PENDING, version=2)
    assert ecs.task(created.arn) == pending
    assert ecs.next_due() == 131.0
    launched = replace(pending, launched=True)
    assert ecs.advance(131.0) == (LaunchTask(launched),)
    ecs.advance(140.0)
    ecs.task_running(created.arn)
    running = replace(launched, status=TaskStatus.RUNNING, started_at=140.0, version=3)
    assert ecs.task(created.arn) == running
    ecs.task_health(created.arn, "HEALTHY")
    healthy = replace(running, health=HealthStatus.HEALTHY, version=4)
    ecs.task_health(created.arn, "HEALTHY")
    assert ecs.task(created.arn) == healthy, "the same report again changes nothing"
    ecs.protection.update([created.id], enabled=True, minutes=10, cluster=CLUSTER)
    protected = replace(healthy, protected_until=740.0, version=5)
    assert ecs.task(created.arn) == protected
    assert protected.protected(739.9)
    assert not protected.protected(740.0)
    ecs.advance(150.0)
    stopping = ecs.tasks.stop(created.id, cluster=CLUSTER, reason="by hand")
    assert stopping == replace(
        protected,
        status=TaskStatus.STOPPING,
        stopping=True,
        protected_until=None,
        stopping_at=150.0,
        stop_code="UserInitiated",
        stopped_reason="by hand",
        version=6,
    )
    assert (stopping.desired_status, created.desired_status) == ("STOPPED", "RUNNING")
    assert StopTask(stopping, "by hand") in ecs.advance(160.0)
    ecs.task_stopped(created.arn, "EssentialContainerExited", "exit 143")
    stopped = replace(stopping, status=TaskStatus.STOPPED, stopped_at=160.0, version=7)
    assert ecs.task(created.arn) == stopped, "its stop code and its reason stay"
    ecs.task_stopped(created.arn)
    assert ecs.task(created.arn) == stopped
    ecs.advance(3759.9)
    assert ecs.task(created.arn) == stopped
    ecs.advance(3760.0)
    assert ecs.task(created.arn) is None, "it was kept for an hour"


def test_a_task_that_exits_by_itself_has_the_code_and_reason_of_its_report() -> None:
    ecs = model()
    with_service(ecs)
    ecs.advance(100.0)
    task = only_task(ecs)
    ecs.task_running(task.arn)
    ecs.advance(110.0)
    ecs.task_stopped(task.arn, "TaskFailed", "exit 1")
    stopped = ecs.task(task.arn)
    assert stopped is not None
    assert (stopped.stop_code, stopped.stopped_reason, stopped.stopping) == ("TaskFailed", "exit 1", True)
    assert (stopped.stopping_at, stopped.stopped_at) == (110.0, 110.0)


def test_a_standalone_task_has_every_given_field() -> None:
    ecs = model()
    (task,) = ecs.tasks.run(
        "worker",
        cluster=CLUSTER,
        group="jobs",
        started_by="me",
        overrides={"o": 1},
        details={"d": 2},
        tags={"a": "1"},
    )
    assert task == EcsTask(
        f"{ACCOUNT}task/c/{hex32(1)}",
        hex32(1),
        CLUSTER_ARN,
        f"{ACCOUNT}task-definition/worker:1",
        "jobs",
        "me",
        100.0,
        "us-east-1a",
        pending_at=100.0,
        launch_at=100.0,
        overrides={"o": 1},
        details={"d": 2},
        tags={"a": "1"},
    )
    (second,) = ecs.tasks.run("worker", cluster=CLUSTER)
    assert second.availability_zone == "us-east-1b", "zones in turn"
    assert (second.group, second.started_by, second.tags) == ("family:worker", "", {})
    assert ecs.tasks.all(cluster=CLUSTER, started_by="me") == [task]
    assert ecs.tasks.all(cluster=CLUSTER, family="worker") == [task, second]
    assert ecs.tasks.all(cluster=CLUSTER, family="work") == []
    assert ecs.tasks.all(cluster=CLUSTER, desired_status="STOPPED") == []


@pytest.mark.parametrize("count", [0, 11])
def test_a_call_starts_one_to_ten_tasks(count: int) -> None:
    ecs = model()
    with pytest.raises(Exception, match="between 1 and 10"):
        ecs.tasks.run("worker", cluster=CLUSTER, count=count)
    assert len(ecs.tasks.run("worker", cluster=CLUSTER, count=10)) == 10


def test_tasks_are_found_by_id_and_arn_once_and_unknown_ones_are_failures() -> None:
    ecs = model()
    (task,) = ecs.tasks.run("worker", cluster=CLUSTER)
    found, failures = ecs.tasks.describe([task.id, task.arn, "x/nothing"], cluster=CLUSTER)
    assert {found_task.arn for found_task in found} == {task.arn}
    assert failures == [EcsFailure(f"{ACCOUNT}task/c/nothing", "MISSING")]
    assert len(ecs.tasks.describe([str(number) for number in range(100)], cluster=CLUSTER)[1]) == 100
    for call in (ecs.tasks.describe, ecs.protection.get):
        with pytest.raises(Exception, match="at most 100"):
            call([str(number) for number in range(101)], cluster=CLUSTER)
        with pytest.raises(Exception, match="cannot be empty"):
            call([], cluster=CLUSTER)


def test_the_protection_of_each_kind_of_task() -> None:
    ecs = model()
    with_service(ecs)
    ecs.advance(100.0)
    own = only_task(ecs)
    (standalone,) = ecs.tasks.run("worker", cluster=CLUSTER)
    failure = EcsFailure(standalone.arn, "TASK_NOT_VALID", "The specified task is not part of an Amazon ECS service.")
    found, failures = ecs.protection.get([own.arn, standalone.arn, "nothing"], cluster=CLUSTER)
    assert (found, failures) == ([own], [EcsFailure(f"{ACCOUNT}task/c/nothing", "MISSING"), failure])
    done, failures = ecs.protection.update([own.arn, standalone.arn], enabled=True, cluster=CLUSTER)
    assert done == [replace(own, protected_until=7300.0, version=own.version + 1)]
    assert failures == [failure]


def test_a_refused_protection_has_the_numbers() -> None:
    runtime = ModelRuntime()
    runtime.service(2)
    first, second = runtime.live
    runtime.protect(first, second)
    runtime.update(desired_count=1)
    _, failures = runtime.ecs.protection.update([first.arn], enabled=True, cluster=CLUSTER)
    detail = "2 tasks would be protected, but the desired count is 1."
    assert failures == [
        EcsFailure(first.arn, "DEPLOYMENT_BLOCKED", f"Task protection would block the deployment: {detail}")
    ]


def test_events_have_the_texts_of_ecs_the_newest_first() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    primary, task = runtime.shown.primary, runtime.live[0]
    steady, completed, started = runtime.shown.events
    assert started.message == f"(service w) has started 1 tasks: (task {task.id})."
    assert completed.message == f"(service w) (deployment {primary.id}) deployment completed."
    assert steady.message == "(service w) has reached a steady state."
    assert len({event.id for event in runtime.shown.events}) == 3
    runtime.settle(7)
    runtime.update(desired_count=0)
    assert runtime.messages[0] == f"(service w) has stopped 1 running tasks: (task {task.id})."
    assert (runtime.shown.events[0].at, started.at) == (7.0, 0.0)
    stopped = runtime.ecs.task(task.arn)
    assert stopped is not None
    assert stopped.stop_code == "ServiceSchedulerInitiated"
    assert stopped.stopped_reason == f"Scaling activity initiated by (deployment {primary.id})"


def test_the_newest_hundred_events_are_kept() -> None:
    runtime = ModelRuntime()
    runtime.service(0)
    for number in range(80):
        runtime.update(desired_count=number % 2)
    assert len(runtime.shown.events) == 100


def test_a_completed_deployment() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    runtime.settle(5)
    runtime.update(force_new_deployment=True)
    primary = runtime.shown.primary
    assert runtime.shown.deployments == (primary,)
    assert runtime.shown.last_completed == primary
    assert (primary.rollout_state, primary.rollout_state_reason, primary.failed_tasks, primary.ever_completed) == (
        RolloutState.COMPLETED,
        f"ECS deployment {primary.id} completed.",
        0,
        True,
    )
    assert (primary.created_at, primary.updated_at) == (5.0, 5.0)


def test_ids_have_the_form_of_ecs() -> None:
    ids = SequentialIds()
    assert [ids.hex32(), ids.number(), ids.hex32()] == [hex32(1), 10**18 + 2, hex32(3)]
    generator, same = random.Random(1), random.Random(1)
    drawn = RandomIds(generator)
    assert drawn.hex32() == f"{same.getrandbits(128):032x}"
    assert drawn.number() == same.randrange(10**18, 10**19)


def test_a_scale_in_stops_in_the_zone_with_the_most_tasks_first() -> None:
    def task(name: str, zone: str, created_at: float) -> EcsTask:
        return EcsTask(name, name, "", "", "", "", created_at, zone, 0.0, 0.0)

    tasks = [task("1", "b", 1.0), task("2", "a", 2.0), task("3", "a", 3.0), task("4", "a", 4.0), task("5", "b", 5.0)]
    assert [found.arn for found in spread_then_oldest(tasks)] == ["2", "1", "3", "5", "4"]


def test_new_tasks_start_in_the_emptiest_zone() -> None:
    runtime = ModelRuntime()
    runtime.service(3)
    zones = [task.availability_zone for task in runtime.live]
    assert zones == ["us-east-1a", "us-east-1b", "us-east-1a"]
    runtime.ecs.tasks.stop(runtime.live[1].id, cluster=CLUSTER)
    runtime.settle()
    assert [task.availability_zone for task in runtime.live][-1] == "us-east-1b"


@pytest.mark.parametrize(
    ("propagate", "tags"), [("SERVICE", {"of": "service"}), ("TASK_DEFINITION", {"of": "definition"}), (None, {})]
)
def test_the_tags_of_a_task_come_from_the_chosen_source(propagate: str | None, tags: dict[str, str]) -> None:
    ecs = model()
    ecs.task_definitions.register("worker", CONTAINERS, tags={"of": "definition"})
    with_service(ecs, tags={"of": "service"}, details={"propagateTags": propagate})
    ecs.advance(100.0)
    assert only_task(ecs).tags == tags


def test_the_failed_launches_of_a_family_are_counted() -> None:
    ecs = model()
    ecs.faults.fail_launches("worker", 1)
    first, second = ecs.tasks.run("worker", cluster=CLUSTER, count=2)
    effects = ecs.advance(100.0)
    assert [effect.task.arn for effect in effects] == [second.arn]
    failed = ecs.task(first.arn)
    assert failed is not None
    assert (failed.status, failed.stop_code, failed.stopped_reason) == (
        TaskStatus.STOPPED,
        "TaskFailedToStart",
        "CannotPullContainerError: injected launch failure",
    )


def test_a_held_family_stays_pending_and_starts_when_the_hold_ends() -> None:
    ecs = model(EcsSettings(pending_s=30.0))
    ecs.faults.hold_launches("worker")
    ecs.tasks.run("worker", cluster=CLUSTER)
    assert ecs.advance(120.0) == ()
    ecs.faults.hold_launches("worker", held=False)
    assert ecs.next_due() == 130.0, "not before its image is pulled"
    assert len(ecs.advance(130.0)) == 1


def test_an_interruption_has_the_code_and_reason_of_aws() -> None:
    ecs = model()
    with_service(ecs)
    ecs.advance(100.0)
    task = only_task(ecs)
    ecs.faults.interrupt(task.arn)
    stopping = ecs.task(task.arn)
    assert stopping is not None
    assert (stopping.stop_code, stopping.stopped_reason) == ("SpotInterruption", "Your Spot Task was interrupted.")
    with pytest.raises(Exception, match="not found"):
        ecs.faults.interrupt("arn:nothing")


def test_tags_are_added_and_removed() -> None:
    ecs = model()
    service = with_service(ecs, tags={"a": "1", "b": "2"})
    ecs.tags.change(service.arn, remove=["a"])
    assert ecs.tags.get(service.arn) == {"b": "2"}
    ecs.tags.change(service.arn, add={"c": "3"})
    assert ecs.services.get("w", cluster=CLUSTER).tags == {"b": "2", "c": "3"}
