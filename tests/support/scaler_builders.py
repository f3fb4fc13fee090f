# SPDX-License-Identifier: Apache-2.0
"""Observations in a few words, for the tests of the scaler's core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaler.core.decide import decide
from scaler.core.model import (
    AgentState,
    BrokerCount,
    DatabaseCount,
    Deployment,
    Fleet,
    Known,
    Observation,
    Reading,
    Service,
    Stale,
    Task,
    Unknown,
)
from scaler.core.state import Decision, State

FLEET = Fleet(name="default", queues=("default",), slots=5, minimum=1, maximum=10)
SILENT = Unknown("no answer")

# word: (ECS status, agent or None, protected)
WORKERS: Mapping[str, tuple[str, AgentState | None, bool]] = {
    "busy": ("RUNNING", AgentState("consuming", 2, 2, 5, protected=True), True),
    "one": ("RUNNING", AgentState("consuming", 1, 1, 5, protected=True), True),
    "full": ("RUNNING", AgentState("consuming", 5, 5, 5, protected=True), True),
    "idle": ("RUNNING", AgentState("consuming", 0, 0, 5, protected=True), True),
    "draining": ("RUNNING", AgentState("draining", 1, 1, 5, protected=True), True),
    "releasing": ("RUNNING", AgentState("releasing", 0, 0, 5, protected=True), False),
    "released": ("RUNNING", AgentState("released", 0, 0, 5, protected=False), False),
    "released but protected": ("RUNNING", AgentState("released", 0, 0, 5, protected=False), True),
    "lapsed": ("RUNNING", AgentState("consuming", 1, 1, 5, protected=False), False),
    "starting": ("RUNNING", AgentState("starting", 0, 0, 5, protected=False), False),
    "refused": ("RUNNING", AgentState("refused", 0, 0, 5, protected=False, refusal="DEPLOYMENT_BLOCKED"), False),
    "stopping": ("RUNNING", AgentState("stopping", 0, 0, 5, protected=False), False),
    "silent": ("RUNNING", None, True),
    "booting": ("RUNNING", None, False),
    "pending": ("PENDING", None, False),
    "provisioning": ("PROVISIONING", None, False),
}


def arn(number: int) -> str:
    """Return the ARN of worker number `number`."""
    return f"arn:aws:ecs:us-east-1:123456789012:task/openmwaa-test/{number:032x}"


def observe(
    workers: Sequence[str],
    *,
    desired: int | None = None,
    queued: int = 0,
    running: int = 0,
    broker: Reading[BrokerCount] | None = None,
    database: Reading[DatabaseCount] | None = None,
    protected: Unknown | None = None,
    old: Sequence[int] = (),
    now: float = 0.0,
) -> Observation:
    """Build an observation; the broker agrees with the database unless it is given.

    `old` are the numbers of the workers on the previous revision; with any, a deployment rolls.
    """
    tasks = [
        Task(arn(i), WORKERS[word][0], address=f"10.0.0.{i}", task_definition="worker:1" if i in old else "worker:2")
        for i, word in enumerate(workers)
    ]
    up = [i for i, task in enumerate(tasks) if task.last_status == "RUNNING"]
    deployments = [Deployment("PRIMARY", "worker:2", "COMPLETED")]
    if old:
        deployments.append(Deployment("ACTIVE", "worker:1", "COMPLETED"))
    service = Service(
        desired=len(workers) if desired is None else desired,
        running=len(up),
        pending=len(tasks) - len(up),
        deployments=tuple(deployments),
    )
    agents: dict[str, Reading[AgentState]] = {}
    for i in up:
        agent = WORKERS[workers[i]][1]
        agents[arn(i)] = SILENT if agent is None else Known(agent, now)
    at_work = sum(each.value.running for each in agents.values() if isinstance(each, Known))
    if broker is None:
        in_flight = min(max(running, at_work), queued + running)
        broker = Known(BrokerCount(visible=queued + running - in_flight, in_flight=in_flight), now)
    return Observation(
        service=Known(service, now),
        tasks=Known(tuple(tasks), now),
        protected=protected or Known(frozenset(arn(i) for i in up if WORKERS[workers[i]][2]), now),
        agents=agents,
        broker=broker,
        database=database or Known(DatabaseCount(queued, running), now),
    )


def settled(observation: Observation, fleet: Fleet = FLEET, state: State | None = None, start: float = 0.0) -> State:
    """Return the state after one window of this same observation, drains and resumes not remembered."""
    state = state or State()
    now = start
    while now < start + fleet.scale_in_window_s:
        _, state = decide(fleet, observation, state, now)
        now += fleet.interval_s
    return replace(state, drains={}, resumes={}, attempt=None, expected=None)


def after_window(
    observation: Observation, fleet: Fleet = FLEET, *, draining: Sequence[int] = ()
) -> tuple[Decision, State]:
    """Decide on an observation that has been the same for a full window."""
    state = replace(settled(observation, fleet), drains={arn(i): 0.0 for i in draining})
    return decide(fleet, observation, state, fleet.scale_in_window_s)


__all__ = ["FLEET", "SILENT", "WORKERS", "Stale", "after_window", "arn", "observe", "settled"]
