# SPDX-License-Identifier: Apache-2.0
"""What the simulation found, each as the smallest decision that showed it."""

from __future__ import annotations

from scaler.core.decide import decide
from scaler.core.state import State
from tests.support.scaler_builders import FLEET, generation, world


def test_a_scaler_that_starts_in_a_rollout_asks_for_no_more_than_the_maximum() -> None:
    """Ten old workers and ten new ones serve, and 40 are needed: it raised the new service to the sum of both, 20."""
    old, new = "worker-default-a", "worker-default-b"
    seen = world(
        {
            old: generation(["full"] * 10, service=old, revision=1),
            new: generation(["full"] * 10, service=new, revision=2),
        },
        queued=100,
        running=100,
    )
    decision, _ = decide(FLEET, seen, State(), 0.0)
    assert decision.current == new
    assert decision.generations[new].desired == FLEET.maximum == 10
