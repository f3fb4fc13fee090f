# SPDX-License-Identifier: Apache-2.0
"""Our scaler: the real `decide` and its drain protocol, with or without look-ahead."""

from typing import Final

from scaler.core.decide import decide
from scaler.core.forecast.forecaster import Forecaster
from scaler.core.look_ahead import horizon_s, launch_latency_s
from scaler.core.model import (
    AgentState,
    BrokerCount,
    DatabaseCount,
    Deployment,
    FleetPolicy,
    Forecast,
    Known,
    LookAheadPolicy,
    Observation,
    Overrides,
    Phase,
    Service,
    ServiceObservation,
    Task,
)
from scaler.core.state import FleetState
from simulation.engine.airflow import ProgressListener
from simulation.engine.fleet import EngineWorker, State, StopProtection
from simulation.engine.policy import EngineFleetView, ScalingRule
from simulation.policies.observed_plan import ObservedPlan
from simulation.workloads.model import Workload

SERVICE: Final = "worker"
DEFINITION: Final = "worker:1"
DEPLOYMENTS: Final = (Deployment("PRIMARY", DEFINITION),)
PHASES: Final[dict[State, Phase]] = {
    State.CONSUMING: "consuming",
    State.DRAINING: "draining",
    State.RELEASED: "released",
    State.RESUMING: "starting",
}

REST_TICKS: Final = 24
"""Two minutes: more than the window and the gap after which it begins again."""


class Openmwaa(ScalingRule):
    """`decide` every 5 s."""

    name = "openmwaa"
    source = "scaler/core/decide.py"
    protection = StopProtection.DRAIN

    def __init__(self, settings: LookAheadPolicy | None = None, queues: tuple[str, ...] = ()) -> None:
        self._settings = settings
        self._queues = queues
        self._plan: ObservedPlan | None = None
        self._forecaster = Forecaster()
        self._state = FleetState()
        self._last: Observation | None = None
        self._resting: tuple[object, ...] | None = None
        self._ticks_at_rest = 0
        self._tasks: dict[int, tuple[State, Task]] = {}
        self._agents: dict[tuple[State, int], AgentState] = {}

    def begin(self, workload: Workload) -> None:
        """Follow the workload's plan, if this rule looks ahead."""
        if self._settings is not None:
            self._plan = ObservedPlan(workload, self._queues, headroom=self._settings.headroom)

    @property
    def listener(self) -> ProgressListener | None:
        """The reader of the plan."""
        return self._plan

    def tick(self, view: EngineFleetView) -> None:
        """Observe, decide, act."""
        fleet, observation = self._fleet(view), self._observe(view)
        if self._rests(view, fleet, observation):
            return
        self._last = observation
        decision, self._state = decide(fleet, observation, self._state, view.now)
        service = decision.services[SERVICE]
        view.fleet.drain([int(arn) for arn in service.drains], view.now)
        view.fleet.resume([int(arn) for arn in service.resumes], view.now)
        if service.desired is not None:
            view.fleet.set_desired(service.desired, view.now)

    def _rests(self, view: EngineFleetView, fleet: FleetPolicy, observation: Observation) -> bool:
        """Whether nothing happens and nothing is expected for so long that the decision only repeats itself.

        The decisions of the last window are made up before the next one, so a rest changes no result.
        """
        forecast = observation.forecast
        expected = isinstance(forecast, Known) and (any(forecast.value.slots) or forecast.value.unplanned)
        calm = not (view.queued or view.running or expected)
        key = (view.desired, *((worker.number, worker.state) for worker in view.workers))
        if calm and key == self._resting:
            self._ticks_at_rest += 1
            return self._ticks_at_rest > REST_TICKS
        if self._ticks_at_rest > REST_TICKS and self._last is not None:
            for tick in range(REST_TICKS, 0, -1):
                _, self._state = decide(fleet, self._last, self._state, view.now - tick * self.interval_s)
        self._resting, self._ticks_at_rest = key if calm else None, 0
        return False

    def _fleet(self, view: EngineFleetView) -> FleetPolicy:
        settings = view.settings
        return FleetPolicy(
            settings.name,
            settings.queues,
            settings.slots,
            settings.minimum,
            settings.maximum,
            look_ahead=self._settings,
        )

    def _forecast(self, now: float, workers: list[EngineWorker]) -> Known[Forecast] | None:
        if self._settings is None or self._plan is None:
            return None
        launch_s = launch_latency_s(self._settings, self._state.launch_latencies) + self.interval_s
        draining = {str(worker.number) for worker in workers if worker.state in (State.DRAINING, State.RELEASED)}
        plan = self._plan.plan(now)
        found = self._forecaster.expect(plan, now, horizon_s=horizon_s(launch_s), unknown_s=launch_s, draining=draining)
        return Known(found, now)

    def _observe(self, view: EngineFleetView) -> Observation:
        now, workers = view.now, [worker for worker in view.workers if worker.state is not State.STOPPING]
        starting = sum(1 for worker in workers if worker.state is State.STARTING)
        service = Service(view.desired, len(workers) - starting, starting, DEPLOYMENTS)
        protected = frozenset(
            str(worker.number) for worker in workers if worker.state in (State.CONSUMING, State.DRAINING)
        )
        observed = ServiceObservation(
            service=Known(service, now),
            tasks=Known(tuple(self._task(worker) for worker in workers), now),
            protected=Known(protected, now),
            agents={
                str(worker.number): Known(self._agent(worker, view.settings.slots), now)
                for worker in workers
                if worker.state is not State.STARTING
            },
        )
        return Observation(
            services={SERVICE: observed},
            broker=Known(BrokerCount(view.queued, view.running), now),
            overrides=Known(Overrides(), now),
            database=Known(DatabaseCount(view.queued, view.running), now),
            forecast=self._forecast(now, workers),
        )

    def _task(self, worker: EngineWorker) -> Task:
        found = self._tasks.get(worker.number)
        if found is None or found[0] is not worker.state:
            status = "PENDING" if worker.state is State.STARTING else "RUNNING"
            found = worker.state, Task(str(worker.number), status, task_definition=DEFINITION)
            self._tasks[worker.number] = found
        return found[1]

    def _agent(self, worker: EngineWorker, slots: int) -> AgentState:
        key = worker.state, len(worker.running)
        found = self._agents.get(key)
        if found is None:
            protected = worker.state in (State.CONSUMING, State.DRAINING)
            found = self._agents[key] = AgentState(PHASES[worker.state], key[1], key[1], slots, protected)
        return found
