# SPDX-License-Identifier: Apache-2.0
"""The interface of the model: operations by resource, effects, and reports of the runtime."""

from local_ecs.model import lifecycle
from local_ecs.model.clusters import Clusters, Tags, TaskDefinitions
from local_ecs.model.effects import Effect
from local_ecs.model.faults import Faults
from local_ecs.model.records import EcsTask, HealthStatus
from local_ecs.model.services import Services
from local_ecs.model.settings import EcsSettings, Ids, Picker, SequentialIds, spread_then_oldest
from local_ecs.model.snapshot import Snapshot, restore, take_snapshot
from local_ecs.model.state import EcsState
from local_ecs.model.tasks import Protection, Tasks


class EcsModel:
    """An ECS with its service scheduler, without running tasks.

    Call `advance(now)`, then operations (they use that `now`), then `advance(now)` again for their effects: as in AWS,
    an operation answers before the scheduler has reacted. `next_due()` is the next time for a call of `advance`.
    """

    def __init__(
        self,
        settings: EcsSettings | None = None,
        *,
        now: float = 0.0,
        ids: Ids | None = None,
        picker: Picker = spread_then_oldest,
    ) -> None:
        self._state = EcsState(settings or EcsSettings(), now=now, ids=ids or SequentialIds(), picker=picker)
        self.clusters = Clusters(self._state)
        self.task_definitions = TaskDefinitions(self._state)
        self.services = Services(self._state)
        self.tasks = Tasks(self._state)
        self.protection = Protection(self._state)
        self.tags = Tags(self._state)
        self.faults = Faults(self._state)

    @property
    def now(self) -> float:
        """The time of the last `advance`."""
        return self._state.now

    @property
    def settings(self) -> EcsSettings:
        """The settings of this model."""
        return self._state.settings

    def advance(self, now: float) -> tuple[Effect, ...]:
        """Process everything that is due until `now`, in order, and return the effects for the runtime.

        A `now` before the last one counts as the last one: the model's time never goes back.
        """
        now = max(now, self._state.now)
        while (entry := self._state.agenda.pop(now)) is not None:
            self._state.now = max(self._state.now, entry[0])
            match entry[1]:
                case ("task", arn):
                    lifecycle.due(self._state, str(arn))
                case ("service", (cluster, name)):
                    self.services.reconcile((cluster, name))
        self._state.now = now
        effects = tuple(self._state.effects)
        self._state.effects.clear()
        return effects

    def next_due(self) -> float | None:
        """Return the next time for `advance`; None: not before another operation or report."""
        return self._state.agenda.next_at()

    def task_running(self, arn: str) -> None:
        """Report that all containers of a task run."""
        lifecycle.running(self._state, arn)

    def task_health(self, arn: str, health: HealthStatus | str) -> None:
        """Report the health of a task: UNKNOWN, HEALTHY or UNHEALTHY."""
        lifecycle.health(self._state, arn, HealthStatus(health))

    def task_stopped(self, arn: str, stop_code: str = "EssentialContainerExited", reason: str = "") -> None:
        """Report the end of a task, expected or not."""
        lifecycle.stopped(self._state, arn, stop_code, reason)

    def task(self, arn: str) -> EcsTask | None:
        """Return a task by its ARN."""
        return self._state.tasks.get(arn)

    def snapshot(self) -> Snapshot:
        """Return clusters, task definitions and services as JSON data, without tasks."""
        return take_snapshot(self._state)

    def restore(self, snapshot: Snapshot) -> None:
        """Load a snapshot. Services launch their desiredCount again."""
        restore(self._state, snapshot)
