# SPDX-License-Identifier: Apache-2.0
"""The log line of one tick of one fleet, and the numbers that the log, the metrics and HTTP share."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from scaler.core.model import Known, Overrides, Reading, Schedule, Service, Stale, Unknown
from scaler.core.state import Demand, total
from scaler.ports import rfc3339
from scaler.reporting.explanation import LINE_VERSION
from scaler.reporting.tick_codec import Json
from scaler.runtime.tick_result import TickResult, Write


def decision_line(result: TickResult, environment: str) -> dict[str, Json]:
    """Return the log line of a decision."""
    tick, decision = result.tick, result.tick.decision
    seen = ecs_services(result)
    workers = decision.workers
    line: dict[str, Json] = {
        "event": "decision",
        "version": LINE_VERSION,
        "at": rfc3339(result.at),
        "environment": environment,
        "fleet": tick.fleet.name,
        "current": decision.current,
        "desired_before": decision.observed,
        "desired": decision.desired,
        "slots_per_worker": decision.slots_per_worker,
        "needed": decision.needed,
        "target": decision.target,
        "min": decision.minimum,
        "max": decision.maximum,
        "bounds": {"min": tick.fleet.minimum, "max": tick.fleet.maximum},
        "schedule": _schedule_line(tick.observation.schedule),
        "running": total(service.running if service else None for service in seen.values()),
        "pending": total(service.pending if service else None for service in seen.values()),
        "protected": workers.protected,
        "demand": _demand_line(decision.demand),
        "workers": worker_states(result),
        "slots": _slots_line(result),
        "overrides": _overrides_line(decision.overrides),
        "overrides_state": type(decision.overrides).__name__.lower(),
        "drain": list(decision.drains),
        "resume": list(decision.resumes),
        "kind": decision.kind,
        "reason": decision.reason,
        "explanation": [
            {"name": step.name, "text": step.text, "values": dict(step.values)} for step in decision.explanation
        ],
        "errors": [
            {"source": error.source, "kind": type(error).__name__, "text": str(error)} for error in result.errors
        ],
        "readings": {name: None if age is None else round(age, 3) for name, age in reading_ages(result).items()},
        "services": {name: _service_line(result, name, service) for name, service in seen.items()},
    }
    if result.write is not None:
        line["update_service"] = _write_line(result.write)
    return line


def ecs_services(result: TickResult) -> dict[str, Service | None]:
    """Return each ECS service of this tick; None where it is unknown."""
    readings = {name: observed.service for name, observed in result.tick.observation.services.items()}
    return {name: reading.value if isinstance(reading, Known) else None for name, reading in readings.items()}


def tasks_known(result: TickResult) -> bool:
    """Return whether the tasks of every service are known; if not, the worker states are unknown too."""
    return all(isinstance(observed.tasks, Known) for observed in result.tick.observation.services.values())


def oldest_drain_s(result: TickResult) -> float:
    """Return the age of the oldest drain in seconds; 0 without drains."""
    began = [at for state in result.tick.before.services.values() for at in state.drains.values()]
    return max(0.0, result.tick.now - min(began)) if began else 0.0


def refused_workers(result: TickResult) -> int | None:
    """Return how many workers report that ECS refuses their protection; None if none does and some are unknown."""
    readings = [agent for observed in result.tick.observation.services.values() for agent in observed.agents.values()]
    refused = sum(1 for reading in readings if isinstance(reading, Known) and reading.value.phase == "refused")
    known = tasks_known(result) and all(isinstance(reading, Known) for reading in readings)
    return refused if refused or known else None


def accuracy_of(result: TickResult) -> Mapping[str, float]:
    """Return the known figures of the look-ahead's accuracy."""
    steps = result.tick.decision.explanation
    values = next((step.values for step in steps if step.name == "accuracy"), {})
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def worker_states(result: TickResult) -> dict[str, Json]:
    """Return the number of workers in each state; None for each while the tasks of a service are unknown."""
    workers = result.tick.decision.workers if tasks_known(result) else None
    states = ("starting", "stuck", "consuming_idle", "busy", "draining", "released", "unknown")
    return {state: getattr(workers, state, None) for state in states}


def _slots_line(result: TickResult) -> dict[str, Json]:
    workers, known = result.tick.decision.workers, tasks_known(result)
    return {"total": workers.slots_total if known else None, "free": workers.slots_free if known else None}


def _service_line(result: TickResult, name: str, service: Service | None) -> dict[str, Json]:
    decision = result.tick.decision.services[name]
    line: dict[str, Json] = {
        "revision": service.revision if service else None,
        "desired_before": decision.observed,
        "desired": decision.desired,
        "running": service.running if service else None,
        "pending": service.pending if service else None,
        "kind": decision.kind,
        "protected_minimum": decision.protected_minimum,
    }
    if name in result.writes:
        line["update_service"] = _write_line(result.writes[name])
    return line


def _demand_line(demand: Demand | None) -> Json:
    if demand is None:
        return None
    return {name: value for name, value in asdict(demand).items() if name != "may_shrink"}


def _schedule_line(schedule: Schedule | None) -> Json:
    return None if schedule is None else {"min": schedule.minimum, "description": schedule.description}


def _overrides_line(reading: Reading[Overrides]) -> Json:
    """Return the overrides in force; None if there are none or they are unknown."""
    if isinstance(reading, Unknown) or reading.value == Overrides():
        return None
    short = {"minimum": "min", "maximum": "max"}
    return {short.get(name, name): value for name, value in asdict(reading.value).items()}


def _write_line(write: Write) -> dict[str, Json]:
    if write.answered_at is None:
        reason = str(write.error) if write.error else write.left_out
        return {"sent": False, "desired": write.desired, "reason": reason}
    return {
        "sent": True,
        "desired": write.desired,
        "answered_at": rfc3339(write.answered_at),
        "duration_s": round(write.duration_s, 3),
    }


def reading_ages(result: TickResult) -> dict[str, float | None]:
    """Return the age in seconds of each source's reading, the oldest of all services; None: a reading is unknown."""
    observation = result.tick.observation
    services = observation.services.values()
    sources: dict[str, list[Reading[object]]] = {
        "service": [service.service for service in services],
        "tasks": [service.tasks for service in services],
        "protection": [service.protected for service in services],
        "broker": [observation.broker],
        "overrides": [observation.overrides],
    }
    if observation.database is not None:
        sources["database"] = [observation.database]
    if observation.demand_metric is not None:
        sources["metric"] = [observation.demand_metric]
    now = result.tick.now
    return {name: _oldest(_age(reading, now) for reading in readings) for name, readings in sources.items()}


def _oldest(ages: Iterable[float | None]) -> float | None:
    found = list(ages)
    known = [age for age in found if age is not None]
    return max(known) if known and len(known) == len(found) else None


def _age(reading: Reading[object], now: float) -> float | None:
    match reading:
        case Known(at=at):
            return max(0.0, now - at)
        case Stale(age_s=age_s):
            return age_s
        case Unknown():
            return None
