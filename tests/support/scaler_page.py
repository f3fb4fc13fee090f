# SPDX-License-Identifier: Apache-2.0
"""A scaler without decisions of its own: given decision lines, served by the real application."""

import io
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from scaler.ports import rfc3339
from scaler.reporting.decision_log import DecisionLog
from scaler.reporting.explanation import LINE_VERSION
from scaler.reporting.http import application, serving
from scaler.reporting.override_api import OverrideApi
from scaler.reporting.prometheus_metrics import PrometheusMetrics
from scaler.runtime.supervisor import FleetSupervisor
from tests.support.emulator import free_port

TASK = "arn:aws:ecs:eu-central-1:123456789012:task/openmwaa-analytics/{:032x}"


def workers(**counts: int) -> dict[str, int]:
    """Workers by state; the default is 0."""
    states = ("starting", "stuck", "consuming_idle", "busy", "draining", "released", "unknown")
    return dict.fromkeys(states, 0) | counts


def step(name: str, text: str, **values: Any) -> dict[str, Any]:
    """A step of an explanation."""
    return {"name": name, "text": text, "values": values}


def line(
    fleet: str = "default", *, at: datetime | None = None, queued: int = 28, running: int = 5, **more: Any
) -> dict[str, Any]:
    """A decision line of a fleet with five slots per worker and the workers it needs; `more` changes its values."""
    slots = queued + running
    needed = -(-slots // 5)
    target = more.get("target", max(1, min(20, needed)))
    desired = more.get("desired", target)
    up = more.get("running_workers", desired)
    busy = min(up, -(-running // 5))
    decided: dict[str, Any] = {
        "event": "decision",
        "version": LINE_VERSION,
        "at": rfc3339(at or datetime.now(UTC)),
        "environment": "analytics",
        "fleet": fleet,
        "current": f"worker-{fleet}-a",
        "kind": "hold",
        "reason": f"Desired {desired}: {slots} slots needed / 5 per worker = {needed}.",
        "explanation": [
            step("demand", f"Database: {queued} queued + {running} running = {slots} slots"),
            step("slots", f"{slots} slots / 5 per worker (reported by the agents) = {needed} workers"),
            step("protection", f"{up} protected + 0 about to be protected: desired at least {up}"),
        ],
        "desired_before": desired,
        "desired": desired,
        "slots_per_worker": 5,
        "needed": needed,
        "target": target,
        "min": 1,
        "max": 20,
        "bounds": {"min": 1, "max": 20},
        "running": up,
        "pending": max(0, desired - up),
        "protected": up,
        "demand": {"queued": queued, "running": running, "slots": slots, "source": "database", "stale": False},
        "workers": workers(starting=max(0, desired - up), consuming_idle=up - busy, busy=busy),
        "slots": {"total": up * 5, "free": up * 5 - running},
        "overrides": None,
        "overrides_state": "known",
        "drain": [],
        "resume": [],
        "errors": [],
        "readings": {"service": 0.1, "tasks": 0.2, "protection": 0.1, "broker": 0.3, "overrides": 1.2, "database": 0.2},
        "services": {f"worker-{fleet}-a": {"revision": 7, "desired": desired, "running": up, "kind": "hold"}},
    }
    more.pop("running_workers", None)
    return decided | more


@dataclass
class FakeScaler:
    """The log behind a page, and the URL of the page."""

    log: DecisionLog
    out: io.StringIO
    url: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def decide(self, decided: Mapping[str, Any], *, ago_s: float = 0.0) -> None:
        """Add a decision."""
        at = self.now - timedelta(seconds=ago_s)
        self.log.decided(at, {**decided, "at": rfc3339(at)}, {"slots_per_worker": 5, "interval_s": 5.0})


LINKS = {"airflow": "https://airflow.example.com", "log": "https://console.example.com/log-groups"}


def fake_scaler(environment: str = "analytics", now: datetime | None = None) -> FakeScaler:
    """A log without a server; its clock stands at `now`."""
    out = io.StringIO()
    log = DecisionLog(environment, out, lambda: now or datetime.now(UTC))
    log.links = LINKS
    return FakeScaler(log, out, now=now or datetime.now(UTC))


@asynccontextmanager
async def served(scaler: FakeScaler, overrides: OverrideApi | None = None) -> AsyncIterator[FakeScaler]:
    """Serve the page, and the writes of overrides."""
    port = free_port()
    app = application(FleetSupervisor([], _Clock()), scaler.log, PrometheusMetrics(), overrides=overrides)
    async with serving(app, "127.0.0.1", port):
        scaler.url = f"http://127.0.0.1:{port}/"
        yield scaler


def decide_for_hours(scaler: FakeScaler, fleet: str = "default", *, hours: float = 6.0) -> None:
    """Add hours of a fleet: waves of work, immediate scale-out, scale-in by drains; at the end 7 workers."""
    desired, running, drains, step = 2, 2, 0, 20
    for ago in range(int(hours * 3600), 20, -step):
        turn = ago / 3600
        slots = int(26 + 22 * math.sin(turn * 2.4 + 1.2) + 9 * math.sin(turn * 13)) if ago > 240 else 12
        slots = max(0, slots)
        needed = max(1, -(-slots // 5))
        before, kind, reason = desired, "hold", f"Desired {desired}: {slots} slots needed / 5 per worker = {needed}."
        running = min(desired, running + 1) if running < desired and ago % 40 == 0 else min(running, desired)
        if needed > desired:
            desired, kind, drains = min(20, needed), "grow", 0
            reason = f"Desired {before} -> {desired}: {slots} slots needed / 5 per worker = {desired}."
        elif needed < desired and not drains:
            drains, kind = desired - needed, "drain"
            until = f"Desired {desired} until {drains} surplus workers drained"
            reason = f"{until}: {slots} slots needed / 5 per worker = {needed}."
        elif drains and ago % 160 == 0:
            desired, kind, drains = max(needed, desired - drains), "shrink", 0
            reason = f"Desired {before} -> {desired}: {slots} slots needed / 5 per worker = {needed}."
        busy = min(slots, 5 * running)
        scaler.decide(
            line(
                fleet,
                queued=slots - busy,
                running=busy,
                desired=desired,
                desired_before=before,
                running_workers=running,
                kind=kind,
                reason=reason,
                workers=workers(
                    starting=desired - running, busy=max(0, running - drains), draining=min(drains, running)
                ),
            ),
            ago_s=ago,
        )
    scale_out_to_seven(scaler, fleet)


def scale_out_to_seven(scaler: FakeScaler, fleet: str = "default") -> None:
    """33 slots needed at five per worker: the fleet scales out from 3 to 7."""
    why = "Desired 3 -> 7: 33 slots needed / 5 per worker = 7."
    steps = [
        step("demand", "Database: 13 queued + 20 running = 33 slots"),
        step("slots", "33 slots / 5 per worker (reported by the agents) = 7 workers"),
        step("up", "7 workers needed, 3 in service: scale out now"),
        step("protection", "5 protected + 2 about to be protected: desired at least 7"),
    ]
    grown = line(
        fleet,
        queued=13,
        running=20,
        running_workers=5,
        workers=workers(starting=2, consuming_idle=1, busy=4),
        explanation=steps,
    )
    update = {"sent": True, "desired": 7, "answered_at": rfc3339(scaler.now), "duration_s": 0.08}
    scaler.decide(grown | {"kind": "grow", "desired_before": 3, "reason": why, "update_service": update}, ago_s=12)
    scaler.decide(grown | {"explanation": [*steps[:2], steps[3]]}, ago_s=1)


class _Clock:
    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> datetime:
        return datetime.now(UTC)
