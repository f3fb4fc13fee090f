# SPDX-License-Identifier: Apache-2.0
"""Step 1 with a CloudWatch metric: the larger of the metric's slots and the slots of the fleet's tasks.

The metric never hides a task that waits, and a metric without data never counts as zero: then the tasks can raise the
fleet, and nothing lowers it.
"""

import math
from dataclasses import replace

from scaler.core.explain import Explanation
from scaler.core.model import FleetPolicy, Known, Observation, Stale, Unknown
from scaler.core.state import Demand


def combine(
    fleet: FleetPolicy, demand: Demand | None, observation: Observation, explanation: Explanation
) -> Demand | None:
    """Return the demand of the fleet's tasks, raised to that of its metric if it has one."""
    metric, reading = fleet.demand_metric, observation.demand_metric
    if metric is None:
        return demand
    if reading is None or isinstance(reading, Unknown):
        why = "not read" if reading is None else reading.reason
        text = f"CloudWatch metric {metric.name} unknown ({why}): no scale-in"
        explanation.add("demand", text, source="metric", metric=metric.name, known=False)
        return demand and replace(demand, may_shrink=False)
    slots = math.ceil(round(reading.value * metric.slots_per_unit, 6))  # 10 x 1.1 is 11, not 11.000000000000002
    stale = isinstance(reading, Stale)
    text = f"{reading.value:g} x {metric.slots_per_unit:g} slots = {slots} slots"
    text = f" {reading.age_s:.0f} s ago: {text}: no scale-in" if isinstance(reading, Stale) else f": {text}"
    explanation.add(
        "demand", f"CloudWatch metric {metric.name}{text}", source="metric", metric=metric.name, slots=slots
    )
    if demand is None:  # the tasks are unknown, so the backlog is what the workers do not run yet
        readings = [agent for service in observation.services.values() for agent in service.agents.values()]
        running = min(slots, sum(agent.value.running for agent in readings if isinstance(agent, Known)))
        return Demand(slots - running, running, slots, "metric", may_shrink=False, stale=stale)
    demand = replace(demand, may_shrink=demand.may_shrink and not stale)
    # The metric keeps a fleet, also where workers that do not answer only raise it.
    demand = replace(demand, unread=min(demand.unread, max(0, demand.slots - slots)))
    return replace(demand, slots=slots, source="metric") if slots > demand.slots else demand
