# SPDX-License-Identifier: Apache-2.0
"""The state as the scaler reads it; `wire.schema.json` is the contract that both sides' tests hold to."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from worker_agent.state_machine import Phase, Snapshot, State


@dataclass(frozen=True)
class Report:
    """One instant of the agent: what it decided, what the consumer's thread saw, and the clocks to tell it by."""

    task_arn: str
    state: State
    now: float
    wall: float

    def to_wire(self) -> dict[str, Any]:
        """Return the answer of `GET /v1/state`."""
        seen = self.state.seen or Snapshot(0, False, 0, 0, 0, 0, 0)
        return {
            "version": 1,
            "task_arn": self.task_arn,
            "phase": self.state.phase.value,
            "gate": "shut" if self.state.gate_until is None else "open",
            "polls_in_flight": seen.polls_in_flight,
            "reserved": max(seen.reserved, seen.unacked),
            "running": seen.running,
            "concurrency": seen.concurrency,
            "longest_running_s": seen.longest_running_s,
            "protected_until": self._moment(self.state.protected_until),
            "protection_refusal": self.state.refusal,
            "drain_lease_until": self._moment(self.state.lease_until),
        }

    def log_line(self, was: Phase) -> str:
        """Return the one line that a change of phase leaves in the log."""
        wire = self.to_wire()
        return json.dumps({"event": "worker_agent.phase", "was": was.value, **wire}, sort_keys=False)

    def _moment(self, monotonic: float | None) -> str | None:
        if monotonic is None:
            return None
        moment = datetime.fromtimestamp(self.wall + monotonic - self.now, tz=UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
