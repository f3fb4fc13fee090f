# SPDX-License-Identifier: Apache-2.0
"""The negative controls of the decision: the real decision, with changed input, constant or result."""

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

from scaler.core import policy
from scaler.core.decide import decide
from scaler.core.model import FleetPolicy, Known, Observation, ServiceObservation
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
        case DisabledSafeguard.TWO_WITNESSES:
            return _believe_one_witness
        case DisabledSafeguard.EQUALITY:
            return _ignore_unprotected
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


def _believe_one_witness(
    fleet: FleetPolicy, seen: Observation, state: FleetState, now: float
) -> tuple[Decision, FleetState]:
    with patch.object(policy, "ZERO_SOURCES", 1):
        return decide(fleet, seen, state, now)


def _ignore_unprotected(
    fleet: FleetPolicy, seen: Observation, state: FleetState, now: float
) -> tuple[Decision, FleetState]:
    """Take every worker that answers and has not released its protection for protected."""
    services = {name: _protected_but_released(service) for name, service in seen.services.items()}
    return decide(fleet, replace(seen, services=services), state, now)


def _protected_but_released(service: ServiceObservation) -> ServiceObservation:
    if not isinstance(service.protected, Known):
        return service
    agents = {arn: agent.value for arn, agent in service.agents.items() if isinstance(agent, Known)}
    others = {arn for arn, agent in agents.items() if agent.phase not in ("released", "stopping")}
    return replace(service, protected=replace(service.protected, value=service.protected.value | others))


def _with_desired(decision: Decision, desired: Callable[[str, ServiceDecision], int]) -> Decision:
    services = {
        name: service if service.desired is None else _with(service, desired(name, service))
        for name, service in decision.services.items()
    }
    return replace(decision, services=services)


def _with(service: ServiceDecision, desired: int) -> ServiceDecision:
    return service if desired == service.desired else replace(service, desired=desired, released=(), kind="shrink")
