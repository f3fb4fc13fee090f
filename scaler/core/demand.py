# SPDX-License-Identifier: Apache-2.0
"""Step 1: the number of slots needed now, and its source.

Airflow's database is the first source: only the database shows a task that outlived the queue's visibility timeout.
The broker is the second source: only the broker shows a task that still uploads its log after the database has marked
it as done. The broker is the only source for plain Celery. While the database is unknown, the broker can only raise
the fleet.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from scaler.core import lost_messages
from scaler.core.explain import Explanation, count
from scaler.core.model import BrokerCount, DatabaseCount, FleetPolicy, Known, Observation, Reading, Stale, Unknown
from scaler.core.state import Demand, FleetState


@dataclass(frozen=True, slots=True)
class Taken:
    """Slots that may be busy, or dead. They count as running tasks while tasks wait."""

    silent: int
    """Slots of workers that do not answer."""
    unlisted: int
    """Slots of workers whose tasks ECS does not list; the database shows what they run."""


def assess(
    fleet: FleetPolicy, observation: Observation, state: FleetState, now: float, taken: Taken, explanation: Explanation
) -> tuple[Demand | None, FleetState]:
    """Return the demand (None: unknown), and the next state."""
    readings = {arn: agent for service in observation.services.values() for arn, agent in service.agents.items()}
    agents = {arn: reading.value for arn, reading in readings.items() if isinstance(reading, Known)}
    running = sum(agent.running for agent in agents.values())
    scheduled = sum(agent.scheduled for agent in agents.values())
    remembered = _remembered(fleet, observation, agents.keys(), state, now)
    broker, not_due = _due(observation.broker, scheduled + sum(number for number, _ in remembered.values()))
    if not_due:
        text = f"{count(not_due, 'message')} not due (delay, ETA or countdown): no demand yet"
        explanation.add("demand", text, source="broker", not_due=not_due)
    missing = lost_messages.compare(observation, list(readings.values()), state.missing_messages, now)
    lost = lost_messages.lost(missing, observation, now, explanation)
    database = observation.database
    if lost and isinstance(database, Known):
        database = replace(database, value=replace(database.value, queued=database.value.queued - lost))
    demand, broker_above = _of_sources(fleet, database, broker, running, state, now, taken, explanation)
    held = remembered | {arn: (agent.scheduled, now) for arn, agent in agents.items() if agent.scheduled}
    return demand and replace(demand, not_due=not_due, without_message=lost), replace(
        state, broker_above_since=broker_above, scheduled=held, missing_messages=missing
    )


def _remembered(
    fleet: FleetPolicy, observation: Observation, answered: Collection[str], state: FleetState, now: float
) -> dict[str, tuple[int, float]]:
    """Return the last report of each worker that held messages, does not answer now, and may still live.

    It counts like an answer: no other worker can run these messages, and the window has a gap of the same length.
    Otherwise many workers of which a few never answer in the same tick would keep a fleet from shrinking. It changes a
    number only. An unknown broker stays unknown, so the window has its gap. Zero workers need the broker's own count.
    """
    lists = [service.tasks for service in observation.services.values()]
    listed = {task.arn for tasks in lists if isinstance(tasks, Known) for task in tasks.value}
    complete = all(isinstance(tasks, Known) for tasks in lists)
    return {
        arn: (number, at)
        for arn, (number, at) in state.scheduled.items()
        if arn not in answered and 0 <= now - at <= fleet.knowledge_gap_s and (arn in listed or not complete)
    }


def _due(broker: Reading[BrokerCount], held: int) -> tuple[Reading[BrokerCount], int | None]:
    """Return the count without the messages that workers hold until their time, and how many are not due."""
    if isinstance(broker, Unknown):
        return broker, None
    found = broker.value
    held = min(held, found.in_flight)
    if not held:
        return broker, found.delayed
    return replace(broker, value=replace(found, in_flight=found.in_flight - held)), found.delayed + held


def _of_sources(
    fleet: FleetPolicy,
    database: Reading[DatabaseCount] | None,
    broker: Reading[BrokerCount],
    running: int,
    state: FleetState,
    now: float,
    taken: Taken,
    explanation: Explanation,
) -> tuple[Demand | None, float | None]:
    all_taken = taken.silent + taken.unlisted
    if database is None:
        return _broker_only(broker, running, all_taken, explanation, may_shrink=True), None
    if isinstance(database, Unknown):
        text = f"Database unknown ({database.reason}): the broker can raise the fleet, not lower it"
        explanation.add("demand", text, source="database", known=False)
        demand = _broker_only(broker, running, all_taken, explanation, may_shrink=False)
        return demand, state.broker_above_since
    if isinstance(database, Stale):
        return _stale(database, broker, running, explanation), state.broker_above_since
    known, since = _both(fleet, database.value, broker, running, state, now, explanation)
    if taken.silent:
        known = _with_silent(known, database.value, running + taken.silent, explanation)
    return known, since


def _with_silent(demand: Demand, database: DatabaseCount, busy: int, explanation: Explanation) -> Demand:
    """Return the demand with the slots of workers that do not answer, if tasks wait: a dead one takes none of them."""
    slots = database.queued + max(database.running, busy)
    if not database.queued or slots <= demand.slots:
        return demand
    more = slots - demand.slots
    text = f"{count(more, 'slot')} more, of workers without an answer: they may take no task"
    explanation.add("demand", text, source="agents", slots=slots, unread=more)
    return replace(demand, slots=slots, unread=more)


def messages(broker: BrokerCount, running: int) -> int:
    """Return the broker's demand; the message of a running task is in flight too, unless it was acknowledged early."""
    return broker.visible + max(broker.in_flight, running)


def _both(
    fleet: FleetPolicy,
    database: DatabaseCount,
    broker: Reading[BrokerCount],
    running: int,
    state: FleetState,
    now: float,
    explanation: Explanation,
) -> tuple[Demand, float | None]:
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
    counted, may_shrink = messages(broker.value, running), broker.value.incomplete is None
    if not may_shrink:
        text = f"Broker: some messages are not counted ({broker.value.incomplete}): no scale-in"
        explanation.add("demand", text, source="broker", known=False)
    if counted <= slots:
        if counted < slots:
            text = f"Broker: {counted} slots, less than the database: not used"
            explanation.add("demand", text, source="broker", slots=counted)
        # An incomplete count does not show that the broker agrees.
        since = None if may_shrink else state.broker_above_since
        return Demand(database.queued, database.running, slots, "database", may_shrink=may_shrink), since
    since = now if state.broker_above_since is None else min(state.broker_above_since, now)
    if now - since >= fleet.disagreement_limit_s:
        above = f"{now - since:.0f} s (limit {fleet.disagreement_limit_s:.0f} s)"
        text = f"Broker: {counted} slots, more than the database for {above}: no longer used"
        explanation.add("demand", text, source="broker", slots=counted, above_s=now - since)
        return Demand(database.queued, database.running, slots, "database", may_shrink=may_shrink), since
    text = f"Broker: {counted} slots, more than the database: used for at most {fleet.disagreement_limit_s:.0f} s"
    explanation.add("demand", text, source="broker", slots=counted)
    return Demand(database.queued, database.running, counted, "database+broker", may_shrink=may_shrink), since


def _stale(
    database: Stale[DatabaseCount], broker: Reading[BrokerCount], running: int, explanation: Explanation
) -> Demand:
    found = database.value
    slots = found.queued + found.running
    counted = f"{found.queued} queued + {found.running} running = {slots} slots"
    text = f"Database {database.age_s:.0f} s ago: {counted}: no scale-in"
    explanation.add("demand", text, source="database", slots=slots, age_s=database.age_s)
    if not isinstance(broker, Unknown) and messages(broker.value, running) > slots:
        slots = messages(broker.value, running)
        explanation.add("demand", f"Broker: {slots} slots, more than the database", source="broker", slots=slots)
    return Demand(found.queued, found.running, slots, "database", may_shrink=False, stale=True)


def _broker_only(
    broker: Reading[BrokerCount], running: int, taken: int, explanation: Explanation, *, may_shrink: bool
) -> Demand | None:
    if isinstance(broker, Unknown):
        explanation.add("demand", f"Broker unknown ({broker.reason}): demand unknown", source="broker", known=False)
        return None
    found = broker.value
    slots = messages(found, running + taken)
    more = slots - messages(found, running)
    in_flight = max(found.in_flight, running + taken)
    unread = f" ({taken} of workers without an answer)" if taken else ""
    counted = f"{found.visible} visible + {in_flight} in flight{unread} = {slots} slots"
    if isinstance(broker, Stale):
        text = f"Broker {broker.age_s:.0f} s ago: {counted}: no scale-in"
        explanation.add("demand", text, source="broker", slots=slots, age_s=broker.age_s)
        return Demand(found.visible, in_flight, slots, "broker", may_shrink=False, stale=True, unread=more)
    if found.incomplete is not None:
        counted, may_shrink = f"at least {counted} ({found.incomplete}): no scale-in", False
    explanation.add("demand", f"Broker: {counted}", source="broker", slots=slots)
    return Demand(found.visible, in_flight, slots, "broker", may_shrink=may_shrink, unread=more)
