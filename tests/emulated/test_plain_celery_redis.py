# SPDX-License-Identifier: Apache-2.0
"""Plain Celery on Redis alone as one ECS service, scaled by the real scaler: no SQS, no database, no Airflow.

Judged by the journal that the tasks write and by what ECS did; never by what Celery or the scaler believe.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.celery_fleet import CeleryFleet, StartWorld, assert_nothing_was_hurt
from tests.support.local_fleet import A, LocalFleetSettings
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]

NO_EMULATOR = "http://127.0.0.1:9"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, "--appendonly", "yes") as running:
        yield running


@pytest.fixture
def start(redis: RedisServer, tmp_path: Path) -> Iterator[StartWorld]:
    with ExitStack() as worlds:

        def start_one(**settings: object) -> CeleryFleet:
            chosen = LocalFleetSettings(redis_port=redis.port, services=(A,), **settings)  # type: ignore[arg-type]
            return worlds.enter_context(CeleryFleet(NO_EMULATOR, tmp_path, chosen))

        yield start_one


def test_a_burst_grows_the_fleet_and_every_scale_in_is_a_drain(start: StartWorld) -> None:
    world = start()
    with world.scaler_frozen():  # else it may look when half of them are sent
        tasks = world.burst(60, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    world.until_fleet_is(4)
    world.until_finished(tasks)
    world.until_fleet_is(1)

    assert_nothing_was_hurt(world)
    audit = world.audit()
    assert audit.scale_outs == [(1, 4)], "60 tasks on 3 slots need the maximum at once"
    released = {arn for scale_in in audit.scale_ins for arn in scale_in.released}
    assert audit.stopped_by_ecs == released
    assert len(released) == 3


@pytest.mark.fault(
    "broker restarts",
    "Redis: the fleet keeps its size while the demand is unknown; workers stay protected, each task runs once.",
)
def test_a_redis_that_dies_and_comes_back_costs_no_task_and_no_worker(start: StartWorld, redis: RedisServer) -> None:
    world = start()
    held = world.hold(9)
    world.until_started(held)
    world.until_fleet_is(3)
    redis.kill()
    blind = "the scaler decides without knowing the demand"
    world.until(blind, lambda: any(line["needed"] is None for line in world.decisions()[-1:]))
    world.let_go(held[:3])
    redis.start()
    known = "the scaler reads the demand again"
    world.until(known, lambda: (world.decisions()[-1]["demand"] or {}).get("slots") == 6)
    assert world.audit().scale_ins == [], "the fleet shrank while its broker was away"
    world.let_go(held)
    world.until_finished(held)
    more = world.burst(9, 0.2)
    world.until_finished(more)
    world.until_fleet_is(1)
    assert_nothing_was_hurt(world)
