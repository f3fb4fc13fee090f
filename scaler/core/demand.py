# SPDX-License-Identifier: Apache-2.0
"""Step 1: the number of slots needed now, and its source.

Airflow's database is the first source: only the database shows a task that outlived the queue's visibility timeout.
The broker is the second source: only the broker shows a task that still uploads its log after the database has marked
it as done. The broker is the only source for plain Celery. While the database is unknown, the broker can only raise
the fleet.
"""

from scaler.core.explain import Explanation
from scaler.core.model import BrokerCount, DatabaseCount, FleetPolicy, Known, Observation, Reading, Stale, Unknown
from scaler.core.state import Demand, FleetState


def assess(
    fleet: FleetPolicy, observation: Observation, state: FleetState, now: float, explanation: Explanation
) -> tuple[Demand | None, float | None]:
    """Return the demand (None: unknown), and since when the broker has counted more than the database."""
    agents = [agent for service in observation.services.values() for agent in service.agents.values()]
    running = sum(reading.value.running for reading in agents if isinstance(reading, Known))
    database = observation.database
    if database is None:
        return _broker_only(observation.broker, running, explanation, may_shrink=True), None
    if isinstance(database, Unknown):
        text = f"Database unknown ({database.reason}): the broker can raise the fleet, not lower it"
        explanation.add("demand", text, source="database", known=False)
        return _broker_only(observation.broker, running, explanation, may_shrink=False), state.broker_above_since
    if isinstance(database, Stale):
        return _stale(database, observation.broker, running, explanation), state.broker_above_since
    return _both(fleet, database.value, observation.broker, running, state, now, explanation)


def messages(count: BrokerCount, running: int) -> int:
    """Return the broker's demand; the message of a running task is in flight too, unless it was acknowledged early."""
    return count.visible + max(count.in_flight, running)


def _both(
    fleet: FleetPolicy,
    database: DatabaseCount,
    broker: Reading[BrokerCount],
    running: int,
    state: FleetState,
    now: float,
    explanation: Explanation,
) -> tuple[Demand | None, float | None]:
    slots = database.queued + database.running
    explanation.add(
        "demand",
        f"Database: {database.queued} queued + {database.running} running = {slots} slots",
        source="database",
        queued=database.queued,
        running=database.running,
        slots=slots,
    )
    if not isinstance(broker, Known):
        why = broker.reason if isinstance(broker, Unknown) else f"{broker.age_s:.0f} s old"
        explanation.add("demand", f"Broker unknown ({why}): no scale-in", source="broker", known=False)
        return Demand(database.queued, database.running, slots, "database", may_shrink=False), state.broker_above_since
    counted = messages(broker.value, running)
    if counted <= slots:
        if counted < slots:
            text = f"Broker: {counted} slots, less than the database: not used"
            explanation.add("demand", text, source="broker", slots=counted)
        return Demand(database.queued, database.running, slots, "database", may_shrink=True), None
    since = now if state.broker_above_since is None else min(state.broker_above_since, now)
    if now - since >= fleet.disagreement_limit_s:
        above = f"{now - since:.0f} s (limit {fleet.disagreement_limit_s:.0f} s)"
        text = f"Broker: {counted} slots, more than the database for {above}: no longer used"
        explanation.add("demand", text, source="broker", slots=counted, above_s=now - since)
        return Demand(database.queued, database.running, slots, "database", may_shrink=True), since
    text = f"Broker: {counted} slots, more than the database: used for at most {fleet.disagreement_limit_s:.0f} s"
    explanation.add("demand", text, source="broker", slots=counted)
    return Demand(database.queued, database.running, counted, "database+broker", may_shrink=True), since


def _stale(
    database: Stale[DatabaseCount], broker: Reading[BrokerCount], running: int, explanation: Explanation
) -> Demand:
    count = database.value
    slots = count.queued + count.running
    counted = f"{count.queued} queued + {count.running} running = {slots} slots"
    text = f"Database {database.age_s:.0f} s ago: {counted}: no scale-in"
    explanation.add("demand", text, source="database", slots=slots, age_s=database.age_s)
    if not isinstance(broker, Unknown) and messages(broker.value, running) > slots:
        slots = messages(broker.value, running)
        explanation.add("demand", f"Broker: {slots} slots, more than the database", source="broker", slots=slots)
    return Demand(count.queued, count.running, slots, "database", may_shrink=False, stale=True)


def _broker_only(
    broker: Reading[BrokerCount], running: int, explanation: Explanation, *, may_shrink: bool
) -> Demand | None:
    if isinstance(broker, Unknown):
        explanation.add("demand", f"Broker unknown ({broker.reason}): demand unknown", source="broker", known=False)
        return None
    count = broker.value
    slots = messages(count, running)
    in_flight = max(count.in_flight, running)
    counted = f"{count.visible} visible + {in_flight} in flight = {slots} slots"
    if isinstance(broker, Stale):
        text = f"Broker {broker.age_s:.0f} s ago: {counted}: no scale-in"
        explanation.add("demand", text, source="broker", slots=slots, age_s=broker.age_s)
        return Demand(count.visible, in_flight, slots, "broker", may_shrink=False, stale=True)
    explanation.add("demand", f"Broker: {counted}", source="broker", slots=slots)
    return Demand(count.visible, in_flight, slots, "broker", may_shrink=may_shrink)
