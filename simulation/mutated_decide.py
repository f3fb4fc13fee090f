# SPDX-License-Identifier: Apache-2.0
"""The two negative controls of the decision: the real decision, changed afterwards."""

from collections.abc import Callable
from dataclasses import replace

from scaler.core.decide import decide
from scaler.core.model import FleetPolicy, Observation
from scaler.core.state import Decision, FleetState, ServiceDecision
from simulation.negative_controls import DisabledSafeguard

Decide = Callable[[FleetPolicy, Observation, FleetState, float], tuple[Decision, FleetState]]


def decide_without(disabled: DisabledSafeguard) -> Decide:
    """Return `decide`, or a version without one safeguard."""
    match disabled:
        case DisabledSafeguard.RELEASE_FIRST:
            return _reduce_before_release
        case DisabledSafeguard.FLOOR_ABOVE_MAXIMUM:
            return _ignore_protected_minimum
        case _:
            return decide


def _reduce_before_release(
    fleet: FleetPolicy, seen: Observation, state: FleetState, now: float
) -> tuple[Decision, FleetState]:
    """Write the target at once, without regard to released and protected workers."""
    decision, state = decide(fleet, seen, state, now)
    target = decision.target
    if target is None or decision.demand is None:
        return decision, state
    return _with_desired(decision, lambda name, service: target if name == decision.current else 0), state


def _ignore_protected_minimum(
    fleet: FleetPolicy, seen: Observation, state: FleetState, now: float
) -> tuple[Decision, FleetState]:
    decision, state = decide(fleet, seen, state, now)
    maximum = decision.maximum
    return _with_desired(decision, lambda _, service: min(service.desired or 0, maximum)), state


def _with_desired(decision: Decision, desired: Callable[[str, ServiceDecision], int]) -> Decision:
    services = {
        name: service if service.desired is None else _with(service, desired(name, service))
        for name, service in decision.services.items()
    }
    return replace(decision, services=services)


def _with(service: ServiceDecision, desired: int) -> ServiceDecision:
    return service if desired == service.desired else replace(service, desired=desired, released=(), kind="shrink")
