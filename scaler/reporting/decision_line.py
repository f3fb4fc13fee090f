# SPDX-License-Identifier: Apache-2.0
"""What one tick of one fleet did, for the log, the metrics and HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from scaler.core.model import Overrides, Known, Reading, Schedule, Service, Stale, Unknown
from scaler.core.state import Demand, total
from scaler.reporting.explanation import LINE_VERSION
from scaler.reporting.tick_codec import Json
from scaler.runtime.tick_result import Report, Write


def decision_line(report: Report, environment: str) -> dict[str, Json]:
    """Return the log line of a decision."""
    tick, decision = report.tick, report.tick.decision
    seen = services(report)
    workers = decision.workers
    line: dict[str, Json] = {
        "event": "decision",
        "version": LINE_VERSION,
        "at": rfc3339(report.at),
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
        "running": total(each.running if each else None for each in seen.values()),
        "pending": total(each.pending if each else None for each in seen.values()),
        "protected": workers.protected,
        "demand": _demand_line(decision.demand),
        "workers": worker_states(report),
        "slots": _slots_line(report),
        "overrides": _controls_line(decision.overrides),
        "overrides_state": type(decision.overrides).__name__.lower(),
        "drain": list(decision.drains),
        "resume": list(decision.resumes),
        "kind": decision.kind,
        "reason": decision.reason,
        "explanation": [
            {"name": step.name, "text": step.text, "values": dict(step.values)} for step in decision.explanation
        ],
        "errors": [
            {"source": error.source, "kind": type(error).__name__, "text": str(error)} for error in report.errors
        ],
        "readings": {name: None if age is None else round(age, 3) for name, age in reading_ages(report).items()},
        "services": {name: _generation_line(report, name, service) for name, service in seen.items()},
    }
    if report.write is not None:
        line["update_service"] = _write_line(report.write)
    return line


def services(report: Report) -> dict[str, Service | None]:
    """Return each service as this tick saw it; None where it is not known."""
    readings = {name: seen.service for name, seen in report.tick.observation.services.items()}
    return {name: each.value if isinstance(each, Known) else None for name, each in readings.items()}


def tasks_known(report: Report) -> bool:
    """Return whether the tasks of every service are known: otherwise who does what is not known either."""
    return all(isinstance(each.tasks, Known) for each in report.tick.observation.services.values())


def oldest_drain_s(report: Report) -> float:
    """Return for how long the longest drain goes on, in seconds; 0 without any."""
    began = [at for state in report.tick.before.services.values() for at in state.drains.values()]
    return max(0.0, report.tick.now - min(began)) if began else 0.0


def refused_workers(report: Report) -> int | None:
    """Return how many workers say that ECS refuses to protect them; None where nobody says so and some are silent."""
    readings = [agent for seen in report.tick.observation.services.values() for agent in seen.agents.values()]
    refused = sum(1 for each in readings if isinstance(each, Known) and each.value.phase == "refused")
    heard = tasks_known(report) and all(isinstance(each, Known) for each in readings)
    return refused if refused or heard else None


def worker_states(report: Report) -> dict[str, Json]:
    """Return how many workers do what; None of each where the tasks of a service are unknown."""
    workers = report.tick.decision.workers if tasks_known(report) else None
    states = ("starting", "stuck", "consuming_idle", "busy", "draining", "released", "unknown")
    return {state: getattr(workers, state, None) for state in states}


def _slots_line(report: Report) -> dict[str, Json]:
    workers, known = report.tick.decision.workers, tasks_known(report)
    return {"total": workers.slots_total if known else None, "free": workers.slots_free if known else None}


def _generation_line(report: Report, name: str, service: Service | None) -> dict[str, Json]:
    decision = report.tick.decision.services[name]
    line: dict[str, Json] = {
        "revision": service.revision if service else None,
        "desired_before": decision.observed,
        "desired": decision.desired,
        "running": service.running if service else None,
        "pending": service.pending if service else None,
        "kind": decision.kind,
        "protected_minimum": decision.protected_minimum,
    }
    if name in report.writes:
        line["update_service"] = _write_line(report.writes[name])
    return line


def _demand_line(demand: Demand | None) -> Json:
    if demand is None:
        return None
    return {
        "queued": demand.queued,
        "running": demand.running,
        "slots": demand.slots,
        "source": demand.source,
        "stale": demand.stale,
    }


def _schedule_line(schedule: Schedule | None) -> Json:
    return None if schedule is None else {"min": schedule.minimum, "words": schedule.words}


def _controls_line(reading: Reading[Overrides]) -> Json:
    """Return what was ordered; None when nothing is in force or nothing is known."""
    if isinstance(reading, Unknown) or reading.value == Overrides():
        return None
    ordered = reading.value
    return {
        "min": ordered.minimum,
        "max": ordered.maximum,
        "fixed": ordered.fixed,
        "pause": ordered.pause,
        "dry_run": ordered.dry_run,
        "by": ordered.by,
        "at": ordered.at,
        "why": ordered.why,
        "until": ordered.until,
    }


def _write_line(write: Write) -> dict[str, Json]:
    if write.answered_at is None:
        why = str(write.error) if write.error else write.left_out
        return {"sent": False, "desired": write.desired, "why": why}
    return {
        "sent": True,
        "desired": write.desired,
        "answered_at": rfc3339(write.answered_at),
        "duration_s": round(write.duration_s, 3),
    }


def fleet_view(report: Report) -> dict[str, Json]:
    """Return what /v1/fleets says of a fleet beside its last decision."""
    return {"slots_per_worker": report.tick.fleet.slots, "interval_s": report.tick.fleet.interval_s}


def reading_ages(report: Report) -> dict[str, float | None]:
    """Return the age in seconds of each source's reading, of several services the oldest; None: one is not known."""
    seen = report.tick.observation
    generations = seen.services.values()
    sources: dict[str, list[Reading[object]]] = {
        "service": [each.service for each in generations],
        "tasks": [each.tasks for each in generations],
        "protection": [each.protected for each in generations],
        "broker": [seen.broker],
        "overrides": [seen.overrides],
    }
    if seen.database is not None:
        sources["database"] = [seen.database]
    return {name: _oldest(_age(each, report.tick.now) for each in readings) for name, readings in sources.items()}


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


def rfc3339(at: datetime) -> str:
    """Return a time in UTC with milliseconds."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
