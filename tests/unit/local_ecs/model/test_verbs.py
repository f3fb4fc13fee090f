# SPDX-License-Identifier: Apache-2.0
"""Clusters, task definitions, deletion, tags, faults and the snapshot."""

import json
from collections.abc import Callable

import pytest

from local_ecs.model import EcsError, EcsModel
from tests.unit.local_ecs.model.world import CLUSTER, World, code_of


def test_deleting_a_scaled_service_needs_force() -> None:
    world = World()
    world.service(1)
    assert code_of(lambda: world.ecs.services.delete("w", cluster=CLUSTER)) == "InvalidParameterException"
    world.update(desired_count=0)
    assert world.ecs.services.delete("w", cluster=CLUSTER).status == "DRAINING"


def test_a_deleted_service_stops_even_protected_tasks_and_stays_describable() -> None:
    world = World(lazy_stops=True)
    world.service(2)
    world.protect(*world.live)
    world.ecs.services.delete("w", cluster=CLUSTER, force=True)
    world.settle()
    assert len(world.stops) == 2
    assert world.shown.status == "INACTIVE", "AWS: as soon as all tasks are STOPPING or STOPPED"
    assert world.ecs.services.all(cluster=CLUSTER) == []
    assert code_of(lambda: world.ecs.services.get("w", cluster=CLUSTER)) == "ServiceNotActiveException"
    world.finish_stops()
    world.service(1)
    assert world.shown.status == "ACTIVE", "its name is free again"


def test_a_cluster_in_use_cannot_be_deleted() -> None:
    world = World(lazy_stops=True)
    world.service(1)
    assert code_of(lambda: world.ecs.clusters.delete(CLUSTER)) == "ClusterContainsServicesException"
    world.ecs.services.delete("w", cluster=CLUSTER, force=True)
    world.settle()
    assert code_of(lambda: world.ecs.clusters.delete(CLUSTER)) == "ClusterContainsTasksException"
    world.finish_stops()
    assert world.ecs.clusters.delete(CLUSTER).status == "INACTIVE"
    found, _ = world.ecs.clusters.describe([CLUSTER])
    assert found[0].status == "INACTIVE"


def test_revisions_count_up_and_are_never_reused() -> None:
    world = World()
    second = world.definition(image="2")
    world.ecs.task_definitions.deregister(second)
    third = world.definition(image="3")
    assert third.endswith(":3")
    assert world.ecs.task_definitions.get("worker").arn == third
    assert world.ecs.task_definitions.get(second).status == "INACTIVE"
    assert (
        code_of(lambda: world.ecs.services.create("w", cluster=CLUSTER, task_definition=second))
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
def test_what_ecs_refuses(call: Callable[[EcsModel], object], code: str) -> None:
    world = World()
    with pytest.raises(EcsError) as refused:
        call(world.ecs)
    assert refused.value.code == code


def test_unknown_services_and_tasks_are_failures() -> None:
    world = World()
    _, failures = world.ecs.services.describe(["nothing"], cluster=CLUSTER)
    assert failures[0].reason == "MISSING"
    _, failures = world.ecs.tasks.describe(["nothing"], cluster=CLUSTER)
    assert failures[0].reason == "MISSING"


def test_standalone_tasks_belong_to_no_service() -> None:
    world = World()
    world.service(1)
    tasks = world.ecs.tasks.run("worker", cluster=CLUSTER, count=2, started_by="me")
    world.settle()
    assert world.counts == (1, 0)
    assert {t.group for t in tasks} == {"family:worker"}
    assert len(world.ecs.tasks.all(cluster=CLUSTER, started_by="me")) == 2
    assert len(world.ecs.tasks.all(cluster=CLUSTER)) == 3
    assert len(world.ecs.tasks.all(cluster=CLUSTER, service="w")) == 1


def test_tags_of_every_kind_of_resource() -> None:
    world = World()
    world.service(1, tags={"a": "1"}, details={"propagateTags": "SERVICE"})
    for arn in (world.shown.arn, world.shown.cluster_arn, world.shown.primary.task_definition_arn, world.live[0].arn):
        world.ecs.tags.change(arn, add={"b": "2"}, remove=["a"])
        assert world.ecs.tags.get(arn) == {"b": "2"}


def test_an_ignored_update_is_answered_and_not_applied() -> None:
    world = World()
    world.service(1)
    world.ecs.faults.ignore_updates("w")
    assert world.ecs.services.update("w", cluster=CLUSTER, desired_count=5).desired_count == 5
    world.settle()
    assert world.shown.desired_count == 1
    world.update(desired_count=5)
    assert world.counts == (5, 0)


def test_held_launches_stay_pending_until_let_go() -> None:
    world = World()
    world.ecs.faults.hold_launches("w")
    world.service(2)
    world.settle(600)
    assert world.counts == (0, 2)
    world.ecs.faults.hold_launches("w", held=False)
    world.settle()
    assert world.counts == (2, 0)


def test_an_interruption_takes_protected_tasks_too() -> None:
    world = World()
    world.service(1)
    task = world.live[0]
    world.protect(task)
    world.ecs.faults.interrupt(task.arn)
    world.settle()
    gone = world.ecs.task(task.arn)
    assert gone is not None
    assert gone.stop_code == "SpotInterruption"
    assert world.counts == (1, 0)


def test_late_reports_change_nothing() -> None:
    world = World()
    world.service(1)
    task = world.live[0]
    world.update(desired_count=0)
    before = world.ecs.task(task.arn)
    world.ecs.task_running(task.arn)
    world.ecs.task_health(task.arn, "UNHEALTHY")
    world.ecs.task_stopped(task.arn)
    world.ecs.task_running("arn:of:nobody")
    assert world.ecs.task(task.arn) == before


def test_time_never_runs_backwards() -> None:
    world = World()
    world.settle(100)
    world.ecs.advance(50)
    assert world.ecs.now == 100


def test_a_restored_model_launches_its_services_anew() -> None:
    world = World()
    world.service(2, tags={"a": "1"}, template={"x": [1]})
    world.protect(*world.live)
    world.update(force_new_deployment=True)
    snapshot = json.loads(json.dumps(world.ecs.snapshot()))

    restored = World()
    restored.ecs = EcsModel(now=1000)
    restored.ecs.restore(snapshot)
    restored.settle()
    assert restored.counts == (2, 0)
    assert [d.id for d in restored.shown.deployments] == [world.shown.primary.id]
    assert restored.shown.tags == {"a": "1"}
    assert restored.shown.template == {"x": [1]}
    assert restored.definition().endswith(":2")


def test_an_unknown_snapshot_is_refused() -> None:
    with pytest.raises(ValueError, match="version 99"):
        EcsModel().restore({"version": 99})
