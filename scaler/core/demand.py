# SPDX-License-Identifier: Apache-2.0
"""ServiceStep 1: how many slots are target now, and who says so.

Airflow's database is the first source: it alone knows a task that outlived the queue's visibility timeout. The
broker is the second: it alone knows a task that still uploads its log while the database already calls it done. The
broker answers alone for plain Celery, and, upward only, while the database is silent.
"""

from __future__ import annotations

from scaler.core.explain import Explanation
from scaler.core.model import BrokerCount, DatabaseCount, Fleet, Known, Observation, Reading, Stale, Unknown
from scaler.core.state import Demand, FleetState


def assess(
    fleet: Fleet, observation: Observation, state: FleetState, now: float, explanation: Explanation
) -> tuple[Demand | None, float | None]:
    """Return the demand, None when nobody knows it, and since when the broker says more than the database."""
    agents = [agent for seen in observation.services.values() for agent in seen.agents.values()]
    at_work = sum(reading.value.running for reading in agents if isinstance(reading, Known))
    database = observation.database
    if database is None:
        return _broker_alone(observation.broker, at_work, explanation, first_source=True), None
    if isinstance(database, Unknown):
        text = f"Database unknown ({database.reason}): the broker can raise the fleet, not lower it"
        explanation.add("demand", text, source="database", known=False)
        return _broker_alone(observation.broker, at_work, explanation, first_source=False), state.broker_above_since
    if isinstance(database, Stale):
        return _stale(database, observation.broker, at_work, explanation), state.broker_above_since
    return _both(fleet, database.value, observation.broker, at_work, state, now, explanation)


def messages(count: BrokerCount, at_work: int) -> int:
    """Return the broker's demand; a running task's message is in flight too, unless it was acknowledged early."""
    return count.visible + max(count.in_flight, at_work)


def _both(
    fleet: Fleet,
    database: DatabaseCount,
    broker: Reading[BrokerCount],
    at_work: int,
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
    said = messages(broker.value, at_work)
    if said <= slots:
        if said < slots:
            explanation.add(
                "demand", f"Broker: {said} slots, less than the database: not used", source="broker", slots=said
            )
        return Demand(database.queued, database.running, slots, "database", may_shrink=True), None
    since = now if state.broker_above_since is None else min(state.broker_above_since, now)
    if now - since >= fleet.disagreement_limit_s:
        above = f"{now - since:.0f} s (limit {fleet.disagreement_limit_s:.0f} s)"
        text = f"Broker: {said} slots, more than the database for {above}: no longer used"
        explanation.add("demand", text, source="broker", slots=said, above_s=now - since)
        return Demand(database.queued, database.running, slots, "database", may_shrink=True), since
    text = f"Broker: {said} slots, more than the database: used for at most {fleet.disagreement_limit_s:.0f} s"
    explanation.add("demand", text, source="broker", slots=said)
    return Demand(database.queued, database.running, said, "database+broker", may_shrink=True), since


def _stale(
    database: Stale[DatabaseCount], broker: Reading[BrokerCount], at_work: int, explanation: Explanation
) -> Demand:
    count = database.value
    slots = count.queued + count.running
    counted = f"{count.queued} queued + {count.running} running = {slots} slots"
    text = f"Database {database.age_s:.0f} s ago: {counted}: no scale-in"
    explanation.add("demand", text, source="database", slots=slots, age_s=database.age_s)
    if not isinstance(broker, Unknown) and messages(broker.value, at_work) > slots:
        slots = messages(broker.value, at_work)
        explanation.add("demand", f"Broker: {slots} slots, more than the database", source="broker", slots=slots)
    return Demand(count.queued, count.running, slots, "database", may_shrink=False, stale=True)


def _broker_alone(
    broker: Reading[BrokerCount], at_work: int, explanation: Explanation, *, first_source: bool
) -> Demand | None:
    if isinstance(broker, Unknown):
        explanation.add("demand", f"Broker unknown ({broker.reason}): demand unknown", source="broker", known=False)
        return None
    count = broker.value
    slots = messages(count, at_work)
    in_flight = max(count.in_flight, at_work)
    counted = f"{count.visible} visible + {in_flight} in flight = {slots} slots"
    if isinstance(broker, Stale):
        text = f"Broker {broker.age_s:.0f} s ago: {counted}: no scale-in"
        explanation.add("demand", text, source="broker", slots=slots, age_s=broker.age_s)
        return Demand(count.visible, in_flight, slots, "broker", may_shrink=False, stale=True)
    explanation.add("demand", f"Broker: {counted}", source="broker", slots=slots)
    return Demand(count.visible, in_flight, slots, "broker", may_shrink=first_source)
