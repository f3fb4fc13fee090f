# SPDX-License-Identifier: Apache-2.0
"""The two negative controls that live in the decision: the real one is made, and then bent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from scaler.core.decide import decide
from scaler.core.model import Fleet, Observation
from scaler.core.state import Decision, FleetState, ServiceDecision
from simulation.negative_controls import DisabledSafeguard

Decide = Callable[[Fleet, Observation, FleetState, float], tuple[Decision, FleetState]]


def decide_without(disabled: DisabledSafeguard) -> Decide:
    """Return `decide`, or one that leaves a step out."""
    match disabled:
        case DisabledSafeguard.RELEASE_FIRST:
            return _reduce_at_once
        case DisabledSafeguard.FLOOR_ABOVE_MAXIMUM:
            return _maximum_wins
        case _:
            return decide


def _reduce_at_once(fleet: Fleet, seen: Observation, state: FleetState, now: float) -> tuple[Decision, FleetState]:
    """Write what is wanted, released or not, protected or not."""
    decision, state = decide(fleet, seen, state, now)
    wanted = decision.target
    if wanted is None or decision.demand is None:
        return decision, state
    return _bend(decision, lambda name, each: wanted if name == decision.current else 0), state


def _maximum_wins(fleet: Fleet, seen: Observation, state: FleetState, now: float) -> tuple[Decision, FleetState]:
    decision, state = decide(fleet, seen, state, now)
    most = decision.maximum
    return _bend(decision, lambda _, each: min(each.desired or 0, most)), state


def _bend(decision: Decision, desired: Callable[[str, ServiceDecision], int]) -> Decision:
    bent = {
        name: each if each.desired is None else _with(each, desired(name, each))
        for name, each in decision.services.items()
    }
    return replace(decision, services=bent)


def _with(each: ServiceDecision, desired: int) -> ServiceDecision:
    return each if desired == each.desired else replace(each, desired=desired, released=(), kind="shrink")
