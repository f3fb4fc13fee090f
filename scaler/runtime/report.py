# SPDX-License-Identifier: Apache-2.0
"""What one tick of one fleet did, for the log, the metrics and HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from scaler.core.model import Known, Reading, Stale, Unknown
from scaler.core.record import Json, Tick
from scaler.errors import SourceError


@dataclass(frozen=True, slots=True)
class Write:
    """One UpdateService: answered, failed, or left out at the last moment."""

    desired: int
    answered_at: datetime | None = None
    duration_s: float = 0.0
    error: SourceError | None = None
    left_out: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One tick and what came of it."""

    at: datetime
    tick: Tick
    write: Write | None
    errors: Sequence[SourceError]
    duration_s: float


class Listener(Protocol):
    """Somebody who wants to know of every tick."""

    def ticked(self, report: Report) -> None:
        """Take note; must not block and must not raise."""
        ...

    def failed(self, fleet: str, error: BaseException) -> None:
        """Take note that a tick was not finished."""
        ...


def decision_line(report: Report, environment: str) -> dict[str, Json]:
    """Return the log line of a decision."""
    tick, decision = report.tick, report.tick.decision
    service = tick.observation.service
    seen = service.value if isinstance(service, Known) else None
    demand = decision.demand
    line: dict[str, Json] = {
        "event": "decision",
        "at": rfc3339(report.at),
        "environment": environment,
        "fleet": tick.fleet.name,
        "desired_before": decision.observed,
        "desired": decision.desired,
        "running": seen.running if seen else None,
        "pending": seen.pending if seen else None,
        "protected": decision.workers.protected,
        "demand": {"queued": demand.queued, "running": demand.running, "source": demand.source} if demand else None,
        "drain": list(decision.drains),
        "resume": list(decision.resumes),
        "kind": decision.kind,
        "reason": decision.reason,
        "explanation": list(decision.explanation),
        "errors": [str(error) for error in report.errors],
    }
    if report.write is not None:
        line["update_service"] = _write_line(report.write)
    return line


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
    """Return what /v1/fleets says of a fleet."""
    tick, decision = report.tick, report.tick.decision
    demand, workers = decision.demand, decision.workers
    return {
        "fleet": tick.fleet.name,
        "at": rfc3339(report.at),
        "desired": decision.desired,
        "min": tick.fleet.minimum,
        "max": tick.fleet.maximum,
        "slots_per_worker": tick.fleet.slots,
        "workers": {
            "starting": workers.starting,
            "consuming_idle": workers.consuming_idle,
            "busy": workers.busy,
            "draining": workers.draining,
            "released": workers.released,
            "unknown": workers.unknown,
        },
        "demand": {"queued": demand.queued, "running": demand.running, "source": demand.source} if demand else None,
        "slots": {"total": workers.slots_total, "free": workers.slots_free},
        "reason": decision.reason,
        "explanation": list(decision.explanation),
    }


def reading_ages(report: Report) -> dict[str, float | None]:
    """Return the age in seconds of each source's reading; None where nothing is known."""
    seen = report.tick.observation
    sources: dict[str, Reading[object]] = {
        "service": seen.service,
        "tasks": seen.tasks,
        "protection": seen.protected,
        "broker": seen.broker,
    }
    if seen.database is not None:
        sources["database"] = seen.database
    return {name: _age(reading, report.tick.now) for name, reading in sources.items()}


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
