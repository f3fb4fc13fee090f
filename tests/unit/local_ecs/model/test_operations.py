# SPDX-License-Identifier: Apache-2.0
"""Clusters, task definitions, deletion, tags, faults and snapshots."""

import json
from collections.abc import Callable

import pytest

from local_ecs.model import EcsError, EcsModel
from tests.unit.local_ecs.model.model_runtime import CLUSTER, ModelRuntime, code_of


def test_deleting_a_scaled_service_needs_force() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    assert code_of(lambda: runtime.ecs.services.delete("w", cluster=CLUSTER)) == "InvalidParameterException"
    runtime.update(desired_count=0)
    assert runtime.ecs.services.delete("w", cluster=CLUSTER).status == "DRAINING"


def test_a_deleted_service_stops_protected_tasks_and_can_be_described() -> None:
    runtime = ModelRuntime(lazy_stops=True)
    runtime.service(2)
    runtime.protect(*runtime.live)
    runtime.ecs.services.delete("w", cluster=CLUSTER, force=True)
    runtime.settle()
    assert len(runtime.stops) == 2
    assert runtime.shown.status == "INACTIVE", "AWS: as soon as all tasks are STOPPING or STOPPED"
    assert runtime.ecs.services.all(cluster=CLUSTER) == []
    assert code_of(lambda: runtime.ecs.services.get("w", cluster=CLUSTER)) == "ServiceNotActiveException"
    runtime.finish_stops()
    runtime.service(1)
    assert runtime.shown.status == "ACTIVE", "its name is free again"


def test_a_cluster_in_use_cannot_be_deleted() -> None:
    runtime = ModelRuntime(lazy_stops=True)
    runtime.service(1)
    assert code_of(lambda: runtime.ecs.clusters.delete(CLUSTER)) == "ClusterContainsServicesException"
    runtime.ecs.services.delete("w", cluster=CLUSTER, force=True)
    runtime.settle()
    assert code_of(lambda: runtime.ecs.clusters.delete(CLUSTER)) == "ClusterContainsTasksException"
    runtime.finish_stops()
    assert runtime.ecs.clusters.delete(CLUSTER).status == "INACTIVE"
    found, _ = runtime.ecs.clusters.describe([CLUSTER])
    assert found[0].status == "INACTIVE"


def test_revisions_count_up_and_are_never_reused() -> None:
    runtime = ModelRuntime()
    second = runtime.definition(image="2")
    runtime.ecs.task_definitions.deregister(second)
    third = runtime.definition(image="3")
    assert third.endswith(":3")
    assert runtime.ecs.task_definitions.get("worker").arn == third
    assert runtime.ecs.task_definitions.get(second).status == "INACTIVE"
    assert (
        code_of(lambda: runtime.ecs.services.create("w", cluster=CLUSTER, task_definition=second))
        == "InvalidParameterException"
    )


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda ecs: ecs.clusters.get("nowhere"), "ClusterNotFoundException"),
        (lambda ecs: ecs.services.get("nothing", cluster=CLUSTER), "ServiceNotFoundException"),
        (lambda ecs: ecs.task_definitions.get("nothing"), "ClientException"),
        (lambda ecs: ecs.tasks.stop("nothing", cluster=CLUSTER), "InvalidParameterException"),
        (lambda ecs: ecs.tasks.describe([], cluster=CLUSTER), "InvalidParameterException"),
        (lambda ecs: ecs.services.describe([str(n) for n in range(11)], cluster=CLUSTER), "InvalidParameterException"),
        (lambda ecs: ecs.tasks.run("worker", cluster=CLUSTER, count=11), "InvalidParameterException"),
        (lambda ecs: ecs.tags.get("arn:aws:ecs:us-east-1:123456789012:service/c/nothing"), "ResourceNotFoundException"),
    ],
    ids=["cluster", "service", "definition", "stop", "no tasks", "11 services", "11 tasks", "tags"],
)
def test_refused_operations(call: Callable[[EcsModel], object], code: str) -> None:
    runtime = ModelRuntime()
    with pytest.raises(EcsError) as refused:
        call(runtime.ecs)
    assert refused.value.code == code


def test_unknown_services_and_tasks_are_failures() -> None:
    runtime = ModelRuntime()
    _, failures = runtime.ecs.services.describe(["nothing"], cluster=CLUSTER)
    assert failures[0].reason == "MISSING"
    _, failures = runtime.ecs.tasks.describe(["nothing"], cluster=CLUSTER)
    assert failures[0].reason == "MISSING"


def test_standalone_tasks_have_no_service() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    tasks = runtime.ecs.tasks.run("worker", cluster=CLUSTER, count=2, started_by="me")
    runtime.settle()
    assert runtime.counts == (1, 0)
    assert {t.group for t in tasks} == {"family:worker"}
    assert len(runtime.ecs.tasks.all(cluster=CLUSTER, started_by="me")) == 2
    assert len(runtime.ecs.tasks.all(cluster=CLUSTER)) == 3
    assert len(runtime.ecs.tasks.all(cluster=CLUSTER, service="w")) == 1


def test_tags_of_every_kind_of_resource() -> None:
    runtime = ModelRuntime()
    runtime.service(1, tags={"a": "1"}, details={"propagateTags": "SERVICE"})
    for arn in (
        runtime.shown.arn,
        runtime.shown.cluster_arn,
        runtime.shown.primary.task_definition_arn,
        runtime.live[0].arn,
    ):
        runtime.ecs.tags.change(arn, add={"b": "2"}, remove=["a"])
        assert runtime.ecs.tags.get(arn) == {"b": "2"}


def test_an_ignored_update_is_answered_and_not_applied() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    runtime.ecs.faults.ignore_updates("w")
    assert runtime.ecs.services.update("w", cluster=CLUSTER, desired_count=5).desired_count == 5
    runtime.settle()
    assert runtime.shown.desired_count == 1
    runtime.update(desired_count=5)
    assert runtime.counts == (5, 0)


def test_held_launches_stay_pending_until_the_fault_ends() -> None:
    runtime = ModelRuntime()
    runtime.ecs.faults.hold_launches("w")
    runtime.service(2)
    runtime.settle(600)
    assert runtime.counts == (0, 2)
    runtime.ecs.faults.hold_launches("w", held=False)
    runtime.settle()
    assert runtime.counts == (2, 0)


def test_an_interruption_stops_protected_tasks() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    task = runtime.live[0]
    runtime.protect(task)
    runtime.ecs.faults.interrupt(task.arn)
    runtime.settle()
    gone = runtime.ecs.task(task.arn)
    assert gone is not None
    assert gone.stop_code == "SpotInterruption"
    assert runtime.counts == (1, 0)


def test_late_reports_change_nothing() -> None:
    runtime = ModelRuntime()
    runtime.service(1)
    task = runtime.live[0]
    runtime.update(desired_count=0)
    before = runtime.ecs.task(task.arn)
    runtime.ecs.task_running(task.arn)
    runtime.ecs.task_health(task.arn, "UNHEALTHY")
    runtime.ecs.task_stopped(task.arn)
    runtime.ecs.task_running("arn:unknown")
    assert runtime.ecs.task(task.arn) == before


def test_time_never_goes_back() -> None:
    runtime = ModelRuntime()
    runtime.settle(100)
    runtime.ecs.advance(50)
    assert runtime.ecs.now == 100


def test_a_restored_model_launches_its_services_again() -> None:
    runtime = ModelRuntime()
    runtime.service(2, tags={"a": "1"}, template={"x": [1]})
    runtime.protect(*runtime.live)
    runtime.update(force_new_deployment=True)
    snapshot = json.loads(json.dumps(runtime.ecs.snapshot()))

    restored = ModelRuntime()
    restored.ecs = EcsModel(now=1000)
    restored.ecs.restore(snapshot)
    restored.settle()
    assert restored.counts == (2, 0)
    assert [d.id for d in restored.shown.deployments] == [runtime.shown.primary.id]
    assert restored.shown.tags == {"a": "1"}
    assert restored.shown.template == {"x": [1]}
    assert restored.definition().endswith(":2")


def test_an_unknown_snapshot_is_refused() -> None:
    with pytest.raises(ValueError, match="version 99"):
        EcsModel().restore({"version": 99})
