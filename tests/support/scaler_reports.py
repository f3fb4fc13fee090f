# SPDX-License-Identifier: Apache-2.0
"""Results of ticks, for the tests of listeners."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from scaler.core.decide import decide
from scaler.core.model import FleetPolicy, Observation
from scaler.core.state import FleetState
from scaler.core.tick import Tick
from scaler.errors import SourceError
from scaler.runtime.tick_result import TickResult
from tests.support.scaler_builders import FLEET, observe

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def report(
    observation: Observation | None = None,
    *,
    name: str = "default",
    fleet: FleetPolicy = FLEET,
    state: FleetState | None = None,
    now: float = 0.0,
    errors: Sequence[SourceError] = (),
) -> TickResult:
    """Return the result of a tick; the default observation is a quiet fleet with one busy worker."""
    fleet = replace(fleet, name=name)
    seen = observe(["busy"], running=2) if observation is None else observation
    before = FleetState() if state is None else state
    decision, _ = decide(fleet, seen, before, now)
    return TickResult(AT, Tick(fleet, seen, before, now, decision), {}, tuple(errors), 0.1)
