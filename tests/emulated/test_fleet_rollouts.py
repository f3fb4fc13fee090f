# SPDX-License-Identifier: Apache-2.0
"""A busy fleet is rolled by a change of image, of size, of capacity: the new revision consumes while old tasks run.

Each revision lands on the generation that is empty, as the stack puts it there; the scaler does the rest.
"""

from typing import Any

import pytest

from tests.support.celery_fleet import CeleryFleet, StartWorld, assert_nothing_was_hurt
from tests.support.local_fleet import ON_DEMAND, SPOT, A, B

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]


def of(world: CeleryFleet, service: str, phase: str) -> set[str]:
    """The workers of a service in a phase."""
    phases = world.phases()
    return {arn for arn in world.addresses(service) if phases.get(arn) == phase}


def begin(world: CeleryFleet, capacity: str = ON_DEMAND, **revision: Any) -> tuple[str, str, list[str]]:
    """Roll a fleet whose two workers are busy; returns the old service, the new one and the tasks that run."""
    held = world.hold(6)
    world.until_started(held)
    (old,) = [name for name in (A, B) if world.desired(name)]
    before = set(world.addresses())
    new = world.roll(world.register_worker(**revision), capacity=capacity)
    assert new != old, "the new revision landed on the busy generation"
    world.until("the new revision consumes", lambda: of(world, new, "consuming"))
    assert set(world.under_way()) <= set(world.addresses(old).values()), "an old task does not run any more"
    world.until("the old workers drain", lambda: of(world, old, "draining") == before)
    quick = world.burst(3, 0.1)
    world.until_finished(quick)
    fresh = set(world.addresses(new).values())
    ran_on = {line.worker for line in world.ledger().lines if line.task in quick}
    assert ran_on <= fresh, "a worker of the old revision took a new task"
    return old, new, held


def end(world: CeleryFleet, old: str, held: list[str]) -> None:
    """Let the old tasks end: nothing is left of the old revision."""
    world.let_go(held)
    world.until_finished(held)
    world.until(f"{old} is empty", lambda: world.desired(old) == 0 and not world.addresses(old))
    world.until_fleet_is(1)
    assert_nothing_was_hurt(world)


@pytest.mark.slow
def test_a_change_of_size_and_one_to_spot_each_roll_a_busy_fleet_and_nothing_is_lost(start: StartWorld) -> None:
    world = start()
    for capacity in (ON_DEMAND, SPOT):
        old, new, held = begin(world, capacity, cpu="512")
        assert world.service(new)["capacityProviderStrategy"][0]["capacityProvider"] == capacity
        end(world, old, held)


def test_after_a_change_of_image_the_fleet_grows_and_shrinks_while_old_tasks_still_run(start: StartWorld) -> None:
    world = start()
    old, new, held = begin(world, IMAGE="2")  # a change inside the container's definition, as another image is
    before = set(world.addresses(old))
    burst = world.burst(30, 0.5, 0.7, 0.9)
    world.until("the new generation grows", lambda: world.desired(new) >= 3)
    world.until_finished(burst)
    world.until("it shrinks again", lambda: world.desired(new) < 3 and len(world.addresses(new)) < 3)
    assert set(world.addresses(old)) == before, "an old worker ended, or one was started"
    assert len(world.under_way()) == 2, "the old tasks do not run any more, so nothing was proven"
    assert all(
        entry.detail["desired"] <= 2 for entry in world.journal("UpdateService") if entry.detail["service"] == old
    )
    end(world, old, held)
