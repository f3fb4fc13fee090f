# SPDX-License-Identifier: Apache-2.0
"""Builders of observations and states, for the tests of the scaler's core."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from scaler.core.decide import decide
from scaler.core.model import (
    AgentState,
    BrokerCount,
    DatabaseCount,
    Deployment,
    FleetPolicy,
    Known,
    Observation,
    Overrides,
    Reading,
    Schedule,
    Service,
    ServiceObservation,
    Task,
    Unknown,
)
from scaler.core.state import Decision, ExplanationStep, FleetState, ServiceState

FLEET = FleetPolicy(name="default", queues=("default",), slots=5, minimum=1, maximum=10)
SILENT = Unknown("no answer")

# name: (ECS status, agent or None, protected)
WORKERS: Mapping[str, tuple[str, AgentState | None, bool]] = {
    "busy": ("RUNNING", AgentState("consuming", 2, 2, 5, protected=True), True),
    "one": ("RUNNING", AgentState("consuming", 1, 1, 5, protected=True), True),
    "full": ("RUNNING", AgentState("consuming", 5, 5, 5, protected=True), True),
    "idle": ("RUNNING", AgentState("consuming", 0, 0, 5, protected=True), True),
    "draining": ("RUNNING", AgentState("draining", 1, 1, 5, protected=True), True),
    "emptied": ("RUNNING", AgentState("draining", 0, 0, 5, protected=True), True),
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


SERVICE = "worker-default"
NO_OVERRIDES = Overrides()


@cache
def arn(number: int, service: str = SERVICE) -> str:
    """Return the ARN of worker number `number`."""
    place = 0 if service == SERVICE else zlib.crc32(service.encode())
    return f"arn:aws:ecs:us-east-1:123456789012:task/openmwaa-test/{number:08x}{place:024x}"


def service_observation(
    workers: Sequence[str],
    *,
    service: str = SERVICE,
    desired: int | None = None,
    revision: int = 2,
    protected: Unknown | None = None,
    old: Sequence[int] = (),
    arns: Sequence[str] | None = None,
    now: float = 0.0,
) -> ServiceObservation:
    """Build a service and its workers; `arns` replaces the ARNs numbered from 0.

    `old` has the numbers of the workers on the previous revision; with any of them a deployment is rolling.
    """
    arns = arns or [arn(i, service) for i in range(len(workers))]
    newest, previous = f"worker:{revision}", f"worker:{revision - 1}"
    tasks = [
        Task(arns[i], WORKERS[word][0], address=f"10.0.0.{i}", task_definition=previous if i in old else newest)
        for i, word in enumerate(workers)
    ]
    up = [i for i, task in enumerate(tasks) if task.last_status == "RUNNING"]
    deployments = [Deployment("PRIMARY", newest, "COMPLETED")]
    if old:
        deployments.append(Deployment("ACTIVE", previous, "COMPLETED"))
    agents: dict[str, Reading[AgentState]] = {}
    for i in up:
        agent = WORKERS[workers[i]][1]
        agents[arns[i]] = SILENT if agent is None else Known(agent, now)
    return ServiceObservation(
        service=Known(
            Service(
                desired=len(workers) if desired is None else desired,
                running=len(up),
                pending=len(tasks) - len(up),
                deployments=tuple(deployments),
            ),
            now,
        ),
        tasks=Known(tuple(tasks), now),
        protected=protected or Known(frozenset(arns[i] for i in up if WORKERS[workers[i]][2]), now),
        agents=agents,
    )


def observe_services(
    services: Mapping[str, ServiceObservation],
    *,
    queued: int = 0,
    running: int = 0,
    broker: Reading[BrokerCount] | None = None,
    database: Reading[DatabaseCount] | None = None,
    overrides: Reading[Overrides] | None = None,
    schedule: Schedule | None = None,
    now: float = 0.0,
) -> Observation:
    """Build an observation of several services; by default the broker agrees with the database."""
    agents = [agent for service in services.values() for agent in service.agents.values()]
    in_workers = sum(agent.value.running for agent in agents if isinstance(agent, Known))
    if broker is None:
        in_flight = min(max(running, in_workers), queued + running)
        broker = Known(BrokerCount(visible=queued + running - in_flight, in_flight=in_flight), now)
    return Observation(
        services=services,
        broker=broker,
        overrides=overrides or Known(NO_OVERRIDES, now),
        database=database or Known(DatabaseCount(queued, running), now),
        schedule=schedule,
    )


def observe(
    workers: Sequence[str],
    *,
    desired: int | None = None,
    queued: int = 0,
    running: int = 0,
    broker: Reading[BrokerCount] | None = None,
    database: Reading[DatabaseCount] | None = None,
    protected: Unknown | None = None,
    overrides: Overrides | None = None,
    schedule: Schedule | None = None,
    old: Sequence[int] = (),
    now: float = 0.0,
) -> Observation:
    """Build an observation of a fleet with one service."""
    return observe_services(
        {SERVICE: service_observation(workers, desired=desired, protected=protected, old=old, now=now)},
        queued=queued,
        running=running,
        broker=broker,
        database=database,
        overrides=Known(overrides, now) if overrides else None,
        schedule=schedule,
        now=now,
    )


def with_changes(observation: Observation, of: str = SERVICE, **changes: Any) -> Observation:
    """Return the observation with other readings of one service."""
    changed = replace(observation.services[of], **changes)
    return replace(observation, services={**observation.services, of: changed})


def only_service(observation: Observation) -> ServiceObservation:
    """Return the one service of the fleet."""
    (service,) = observation.services.values()
    return service


def state_of(state: FleetState, service: str = SERVICE) -> ServiceState:
    """Return the state of one service."""
    return state.of(service)


def with_state(state: FleetState, of: str = SERVICE, **changes: Any) -> FleetState:
    """Return the state with another state of one service."""
    return replace(state, services={**state.services, of: replace(state.of(of), **changes)})


def state_after_window(
    observation: Observation, fleet: FleetPolicy = FLEET, state: FleetState | None = None, start: float = 0.0
) -> FleetState:
    """Return the state after one window of the same observation, without drains and resumes."""
    state = state or FleetState()
    now = start
    while now < start + fleet.scale_in_window_s:
        _, state = decide(fleet, observation, state, now)
        now += fleet.interval_s
    services = {
        name: replace(service, drains={}, resumes={}, attempt=None, expected=None)
        for name, service in state.services.items()
    }
    return replace(state, services=services)


def decide_after_window(
    observation: Observation, fleet: FleetPolicy = FLEET, *, draining: Sequence[int] = ()
) -> tuple[Decision, FleetState]:
    """Decide on an observation that has been the same for a full window."""
    state = with_state(state_after_window(observation, fleet), drains={arn(i): 0.0 for i in draining})
    return decide(fleet, observation, state, fleet.scale_in_window_s)


def explained(steps: Sequence[ExplanationStep], words: str) -> bool:
    """Return whether the text of a step contains these words."""
    return any(words in step.text for step in steps)
