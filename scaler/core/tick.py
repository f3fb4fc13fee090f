# SPDX-License-Identifier: Apache-2.0
"""One tick as data: the input of `decide`, and its decision."""

from dataclasses import dataclass

from scaler.core.model import FleetPolicy, Observation
from scaler.core.state import Decision, FleetState


@dataclass(frozen=True, slots=True)
class Tick:
    """The input of one `decide` and its decision."""

    fleet: FleetPolicy
    observation: Observation
    before: FleetState
    now: float
    decision: Decision
