# SPDX-License-Identifier: Apache-2.0
"""The state as the scaler reads it. `wire.schema.json` defines it; the tests of both sides check against it."""

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from worker_agent.state_machine import Phase, Snapshot, WorkerState

CONSUMER_PHASES: Final = frozenset({Phase.CONSUMING, Phase.DRAINING, Phase.RELEASING})


@dataclass(frozen=True)
class AgentReport:
    """The state of the agent at one time, with the monotonic clock and the wall clock."""

    task_arn: str
    state: WorkerState
    now: float
    wall: float
    snapshot_due: float = math.inf
    """When (monotonic seconds) the consumer's next snapshot is overdue."""

    @property
    def stale(self) -> bool:
        """Whether the phase depends on a consumer that has ended its snapshots: its numbers are unknown."""
        return self.now > self.snapshot_due and self.state.phase in CONSUMER_PHASES

    def to_wire(self) -> dict[str, Any]:
        """Return the answer of `GET /v1/state`."""
        snapshot = self.state.snapshot or Snapshot(0, False, 0, 0, 0, 0, 0)
        return {
            "version": 1,
            "task_arn": self.task_arn,
            "phase": self.state.phase.value,
            "gate": "closed" if self.state.gate_until is None else "open",
            "polls_in_flight": snapshot.polls_in_flight,
            "reserved": max(snapshot.reserved, snapshot.unacked),
            "scheduled": snapshot.scheduled,
            "running": snapshot.running,
            "concurrency": snapshot.concurrency,
            "longest_running_s": snapshot.longest_running_s,
            "protected_until": self._timestamp(self.state.protected_until),
            "protection_refusal": self.state.refusal,
            "drain_lease_until": self._timestamp(self.state.lease_until),
        }

    def log_line(self, previous: Phase) -> str:
        """Return the log line of a change of phase."""
        wire = self.to_wire()
        return json.dumps({"event": "worker_agent.phase", "previous": previous.value, **wire})

    def _timestamp(self, monotonic: float | None) -> str | None:
        if monotonic is None:
            return None
        time = datetime.fromtimestamp(self.wall + monotonic - self.now, tz=UTC)
        return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
