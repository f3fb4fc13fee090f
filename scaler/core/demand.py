# SPDX-License-Identifier: Apache-2.0
"""Step 1: how many slots are wanted now, and who says so.

Airflow's database is the first witness: it alone knows a task that outlived the queue's visibility timeout. The
broker is the second: it alone knows a task that still uploads its log while the database already calls it done. The
broker answers alone for plain Celery, and, upward only, while the database is silent.
"""

from __future__ import annotations

from scaler.core.explain import Trail
from scaler.core.model import BrokerCount, DatabaseCount, Fleet, Known, Observation, Reading, Stale, Unknown
from scaler.core.state import Demand, State


def assess(
    fleet: Fleet, observation: Observation, state: State, now: float, trail: Trail
) -> tuple[Demand | None, float | None]:
    """Return the demand, None when nobody knows it, and since when the broker says more than the database."""
    agents = [agent for seen in observation.generations.values() for agent in seen.agents.values()]
    at_work = sum(reading.value.running for reading in agents if isinstance(reading, Known))
    database = observation.database
    if database is None:
        return _broker_alone(observation.broker, at_work, trail, first_witness=True), None
    if isinstance(database, Unknown):
        trail.add(
            "demand", f"the database is unknown ({database.reason}); the broker may raise the fleet, not lower it"
        )
        return _broker_alone(observation.broker, at_work, trail, first_witness=False), state.broker_above_since
    if isinstance(database, Stale):
        return _stale(database, observation.broker, at_work, trail), state.broker_above_since
    return _both(fleet, database.value, observation.broker, at_work, state, now, trail)


def messages(count: BrokerCount, at_work: int) -> int:
    """Return the broker's demand; a running task's message is in flight too, unless it was acknowledged early."""
    return count.visible + max(count.in_flight, at_work)


def _both(
    fleet: Fleet,
    database: DatabaseCount,
    broker: Reading[BrokerCount],
    at_work: int,
    state: State,
    now: float,
    trail: Trail,
) -> tuple[Demand | None, float | None]:
    slots = database.queued + database.running
    trail.add("demand", f"the database says {database.queued} queued + {database.running} running = {slots}")
    if not isinstance(broker, Known):
        why = broker.reason if isinstance(broker, Unknown) else f"{broker.age_s:.0f} s old"
        trail.add("demand", f"the broker's count is not known ({why}), so nothing shrinks")
        return Demand(database.queued, database.running, slots, "database", may_shrink=False), state.broker_above_since
    said = messages(broker.value, at_work)
    if said <= slots:
        if said < slots:
            trail.add("demand", f"the broker says {said}, which is less; the database counts")
        return Demand(database.queued, database.running, slots, "database", may_shrink=True), None
    since = now if state.broker_above_since is None else min(state.broker_above_since, now)
    if now - since >= fleet.disagreement_limit_s:
        above = f"{now - since:.0f} s, longer than {fleet.disagreement_limit_s:.0f} s"
        trail.add("demand", f"the broker has said more ({said}) for {above}; no longer believed")
        return Demand(database.queued, database.running, slots, "database", may_shrink=True), since
    trail.add(
        "demand", f"the broker says {said}, which is more; believed for {fleet.disagreement_limit_s:.0f} s at most"
    )
    return Demand(database.queued, database.running, said, "database+broker", may_shrink=True), since


def _stale(database: Stale[DatabaseCount], broker: Reading[BrokerCount], at_work: int, trail: Trail) -> Demand:
    count = database.value
    slots = count.queued + count.running
    trail.add(
        "demand",
        f"the database said {count.queued} queued + {count.running} running {database.age_s:.0f} s ago; only upward",
    )
    if not isinstance(broker, Unknown) and messages(broker.value, at_work) > slots:
        slots = messages(broker.value, at_work)
        trail.add("demand", f"the broker says {slots}, which is more")
    return Demand(count.queued, count.running, slots, "database (stale)", may_shrink=False)


def _broker_alone(broker: Reading[BrokerCount], at_work: int, trail: Trail, *, first_witness: bool) -> Demand | None:
    if isinstance(broker, Unknown):
        trail.add("demand", f"the broker is unknown ({broker.reason}); nobody knows the demand")
        return None
    count = broker.value
    slots = messages(count, at_work)
    in_flight = max(count.in_flight, at_work)
    if isinstance(broker, Stale):
        trail.add("demand", f"the broker said {count.visible} visible + {in_flight} in flight {broker.age_s:.0f} s ago")
        return Demand(count.visible, in_flight, slots, "broker (stale)", may_shrink=False)
    trail.add("demand", f"the broker says {count.visible} visible + {in_flight} in flight = {slots}")
    return Demand(count.visible, in_flight, slots, "broker", may_shrink=first_witness)
