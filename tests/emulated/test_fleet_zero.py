# SPDX-License-Identifier: Apache-2.0
"""A fleet that may have no worker at all: one message wakes it, and it goes to zero again."""

import pytest

from tests.support.celery_fleet import StartWorld, assert_nothing_was_hurt
from tests.support.local_fleet import B

pytestmark = [pytest.mark.emulated, pytest.mark.filterwarnings("default::DeprecationWarning")]


def test_a_fleet_at_zero_is_woken_by_one_message_and_goes_back_to_zero_twice(start: StartWorld) -> None:
    world = start(minimum=0)
    assert world.addresses() == {}
    for _ in range(2):
        held = world.hold(1)
        world.until_started(held)
        assert len(world.addresses()) == 1
        assert world.desired(B) == 0, "the next revision would land on the service that works"
        world.let_go(held)
        world.until_finished(held)
        world.until_fleet_is(0)
    assert_nothing_was_hurt(world)
    audit = world.audit()
    assert audit.scale_outs == [(0, 1), (0, 1)]
    assert [(scale_in.before, scale_in.after) for scale_in in audit.scale_ins] == [(1, 0), (1, 0)]
