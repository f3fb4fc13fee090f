# SPDX-License-Identifier: Apache-2.0
"""What the simulation found, each as the smallest decision that showed it."""

from dataclasses import replace

from scaler.core.decide import decide
from scaler.core.state import FleetState
from tests.support.scaler_builders import FLEET, arn, observe, observe_services, service_observation


def test_a_scaler_that_starts_in_a_rollout_respects_the_maximum() -> None:
    """Ten old workers and ten new ones serve, and 40 are needed: it raised the new service to the sum of both, 20."""
    old, new = "worker-default-a", "worker-default-b"
    seen = observe_services(
        {
            old: service_observation(["full"] * 10, service=old, revision=1),
            new: service_observation(["full"] * 10, service=new, revision=2),
        },
        queued=100,
        running=100,
    )
    decision, _ = decide(FLEET, seen, FleetState(), 0.0)
    assert decision.current == new
    assert decision.services[new].desired == FLEET.maximum == 10


def test_an_old_worker_within_the_target_does_not_block_a_deployment() -> None:
    """The target is two and two consume, one of them old; 20 released new workers waited for a reduction."""
    fleet = replace(FLEET, minimum=2, scale_in_window_s=10.0)
    released = ["released"] * 20
    state, now = FleetState(), 0.0
    for now in (0.0, 5.0, 10.0):
        decision, state = decide(fleet, observe(["idle", "idle", *released], old=[0], now=now), state, now)
    (back,) = decision.resumes
    assert back not in {arn(0), arn(1)}
    words = ["idle", "idle", "idle", *released[1:]]
    decision, state = decide(fleet, observe(words, old=[0], now=now + 5.0), state, now + 5.0)
    assert arn(0) in decision.drains, "the old one was to be let go once its replacement consumes"
    assert not decision.resumes
