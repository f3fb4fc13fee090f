# SPDX-License-Identifier: Apache-2.0
"""The status of a running environment, in parts: each is read on its own, at the same time and with one deadline.

A part that cannot be read is unknown, with the reason and the missing permission; it is never "no trouble".
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Literal

from openmwaa.operate import explanation
from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.control_plane import control_plane_status
from openmwaa.operate.decisions import DecisionsLog
from openmwaa.operate.errors import NotRunningError, OperateError
from openmwaa.operate.override_store import OverrideStore, as_data, describe
from openmwaa.operate.rollouts import rollout_status
from openmwaa.operate.sleep import awake_status
from scaler.reporting.airflow_problems import EVENT

State = Literal["healthy", "asleep", "trouble", "unknown", "not running"]
DEADLINE_S: Final = 30.0
RECENT: Final = timedelta(minutes=3)
"""The scaler and the syncers repeat their lines every minute."""
LEFT_OUT: Final = "DagObjectsLeftOut"
FAILURES: Final = "DagSyncFailures"
CURRENT: Final = "dags_current"
_LISTED: Final = 20
_FAILS_S: Final = 90
# Without workers and control plane these have nothing to report.
_OF_AWAKE: Final = frozenset({"control plane", "fleets", "Airflow", "DAGs"})


@dataclass(frozen=True)
class Part:
    """One part of the status."""

    troubles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    data: Any = None
    unknown: str | None = None
    """Why it could not be read."""
    absent: bool = False
    """Whether the environment does not run, or was never applied."""


@dataclass(frozen=True)
class Status:
    """All parts by name."""

    parts: Mapping[str, Part] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The state in one word."""
        if self.parts["control plane"].absent:
            return "not running"
        asleep = bool((self.parts["sleep"].data or {}).get("asleep"))
        parts = [part for name, part in self.parts.items() if not (asleep and name in _OF_AWAKE)]
        if any(part.troubles for part in parts):
            return "trouble"
        if any(part.unknown for part in parts):
            return "unknown"
        return "asleep" if asleep else "healthy"

    def as_data(self) -> dict[str, Any]:
        """Return plain data for `--json`."""
        return {"state": self.state, "parts": {name: asdict(part) for name, part in self.parts.items()}}


def read_status(
    connection: Connection, more: Mapping[str, Callable[[], Part]] | None = None, *, deadline_s: float = DEADLINE_S
) -> Status:
    """Return the status; `more` are further parts, such as those of this machine."""
    now = datetime.now(UTC)
    readers: dict[str, Callable[[], Part]] = {
        "control plane": partial(_control_plane, connection),
        "sleep": partial(_sleep, connection),
        "fleets": partial(_fleets, connection, now),
        "rollouts": partial(_rollouts, connection),
        "overrides": partial(_overrides, connection, now),
        "Airflow": partial(_airflow, connection, now),
        "DAGs": partial(_dags, connection, now),
        "alarms": partial(_alarms, connection),
        **(more or {}),
    }
    found: dict[str, Part] = {}
    # Not a pool, which would wait for its threads at the end of the process.
    threads = [threading.Thread(target=_read, args=(found, *item), daemon=True) for item in readers.items()]
    end = time.monotonic() + deadline_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = Part(unknown=f"no answer within {deadline_s:g} s")
    return Status({name: found.get(name, late) for name in readers})


def _read(found: dict[str, Part], name: str, reader: Callable[[], Part]) -> None:
    try:
        found[name] = reader()
    except OperateError as error:
        found[name] = Part(unknown=str(error), absent=isinstance(error, NotRunningError))
    except Exception as error:  # noqa: BLE001 - one part must not hide the others
        found[name] = Part(unknown=f"{type(error).__name__}: {error}")


def _control_plane(connection: Connection) -> Part:
    status = control_plane_status(connection)
    services = status.data["control_plane"]
    counts = ", ".join(f"{service['service']} {service['running']}/{service['desired']}" for service in services)
    return Part(status.failures + status.awaited, (counts,), services)


def _sleep(connection: Connection) -> Part:
    asleep = awake_status(connection).failures
    return Part(notes=asleep or ("awake",), data={"asleep": bool(asleep)})


def _rollouts(connection: Connection) -> Part:
    status = rollout_status(connection)
    return Part(status.failures, status.awaited, status.data)


def _fleets(connection: Connection, now: datetime) -> Part:
    troubles, rows = [], {}
    for found in explanation.in_force(DecisionsLog.of(connection), [*connection.environment.fleets], now):
        line = found.decision
        rows[found.fleet] = line
        if line is None:
            failed = f"; the last error: {found.failures[-1].get('error')}" if found.failures else ""
            troubles.append(f"{found.fleet}: no decision within {explanation.IN_FORCE.seconds // 60} min{failed}")
            continue
        if line.get("desired") is None:
            troubles.append(f"{found.fleet}: {line.get('reason')}")
        troubles += [f"{found.fleet}: {error['text']}" for error in line.get("errors") or ()]
        if late := (line.get("workers") or {}).get("stuck"):
            troubles.append(f"{found.fleet}: {late} workers did not start in time")
        if lost := (line.get("demand") or {}).get("without_message"):
            troubles.append(
                f"{found.fleet}: the broker has no message of {lost} queued tasks; the scheduler queues them again"
            )
    return Part(tuple(troubles), data=rows)


def _overrides(connection: Connection, now: datetime) -> Part:
    troubles, notes, rows = [], [], {}
    for fleet, override in OverrideStore(connection).read([*connection.environment.fleets]).items():
        if override.problem is not None:
            troubles.append(f"{fleet}: {override.parameter} is not valid: {override.problem}")
        elif override.document is not None and override.state(now) == "active":
            rows[fleet] = as_data(override.document)
            until = f" until {override.document.until}" if override.document.until else ""
            notes.append(f"{fleet}: {describe(override.document)}{until}, by {override.document.by or 'unknown'}")
    return Part(tuple(troubles), tuple(notes), rows)


def _airflow(connection: Connection, now: datetime) -> Part:
    log = DecisionsLog.of(connection)
    lines = log.lines(now - RECENT, now, f'{{ $.event = "{EVENT}" }}')
    last: dict[str, Any] = next(reversed([line for line in lines if line.get("event") == EVENT]), {})
    if "import_errors" not in last:
        return Part(unknown=str(last.get("error") or f"no report of the scaler within {RECENT.seconds // 60} min"))
    serving = {queue: name for name, fleet in connection.environment.fleets.items() for queue in fleet.queues}
    troubles = [f"{problem['file']} does not import: {problem['error']}" for problem in last["files"]]
    for task in last["tasks"]:
        name = f"{task['dag_id']}.{task['task_id']}" + (f"[{task['map_index']}]" if task["map_index"] >= 0 else "")
        fleet = f"fleet {serving[task['queue']]}" if task["queue"] in serving else "no fleet of the file serves it"
        troubles.append(
            f"{name} of {task['run_id']} is queued for {task['queued_s'] / 60:.0f} min in {task['queue']} ({fleet})"
        )
    more = last["import_errors"] + last["waiting"] - len(troubles)
    return Part((*troubles, *([f"and {more} more"] if more > 0 else ())), data=last)


def _dags(connection: Connection, now: datetime) -> Part:
    """Every syncer copies the same source, so the last line of each log group is the state."""
    log, troubles, syncs = DecisionsLog.of(connection), dict[str, None](), dict[str, Any]()
    pattern = f'{{ ($.{LEFT_OUT} = *) || ($.{FAILURES} = *) || ($.event = "{CURRENT}") }}'
    for group in ("DAGProcessing", "Worker"):
        last: dict[str, dict[str, Any]] = {}
        for line in log.lines(now - RECENT, now, pattern, group=group):
            last |= {name: line for name in (LEFT_OUT, FAILURES) if name in line}
            if line.get("event") == CURRENT:
                syncs[group] = {name: line[name] for name in ("checked_at", "files", "commit") if name in line}
        for left in last.get(LEFT_OUT, {}).get("objects", ()):
            troubles[f"{left['key']} is left out: {left['reason']}"] = None
        # One that fails is repeated within 70 s.
        if (failed := last.get(FAILURES)) and now.timestamp() - failed["_aws"]["Timestamp"] / 1000 < _FAILS_S:
            troubles[f"{failed[FAILURES]} syncs in a row failed: {failed.get('error')}"] = None
    if not troubles and "DAGProcessing" not in syncs:  # an environment may have no worker
        return Part(unknown=f"no report of a syncer within {RECENT.seconds // 60} min")
    return Part(tuple(troubles)[-_LISTED:], tuple(_synced(*item, now) for item in syncs.items()), syncs)


def _synced(group: str, sync: Mapping[str, Any], now: datetime) -> str:
    commit = f" of commit {sync['commit']}" if "commit" in sync else ""
    return f"{group}: {sync['files']} files{commit}, in step {now.timestamp() - sync['checked_at']:.0f} s ago"


def _alarms(connection: Connection) -> Part:
    if connection.local or not connection.environment.monitoring.alarms:
        return Part(notes=("none are created",))
    request = {"AlarmNamePrefix": f"{connection.resource_name}/", "StateValue": "ALARM"}
    with aws_errors(connection, "cloudwatch:DescribeAlarms", "*"):
        pages = connection.client("cloudwatch").get_paginator("describe_alarms").paginate(**request)
        found = [alarm for page in pages for alarm in page["MetricAlarms"]]
    return Part(tuple(f"{alarm['AlarmName']}: {alarm.get('AlarmDescription', '')}" for alarm in found))
