# SPDX-License-Identifier: Apache-2.0
"""The model's face: verbs by subject, time passed in, effects out, reports in."""

from local_ecs.model import lifecycle
from local_ecs.model.clusters import Clusters, Tags, TaskDefinitions
from local_ecs.model.effects import Effect
from local_ecs.model.faults import Faults
from local_ecs.model.records import Health, Task
from local_ecs.model.services import Services
from local_ecs.model.settings import Ids, Picker, SequentialIds, Settings, spread_then_oldest
from local_ecs.model.snapshot import Snapshot, restore, take
from local_ecs.model.state import State
from local_ecs.model.tasks import Protection, Tasks


class Ecs:
    """An ECS with its service scheduler, without a world.

    Call `advance(now)` first, then verbs (they act at that `now`), then `advance(now)` again for their consequences:
    as in AWS, a verb answers before the scheduler has reacted. `next_due()` tells when `advance` has something to do.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        now: float = 0.0,
        ids: Ids | None = None,
        picker: Picker = spread_then_oldest,
    ) -> None:
        self._state = State(settings or Settings(), now=now, ids=ids or SequentialIds(), picker=picker)
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
    def settings(self) -> Settings:
        """The numbers this model runs with."""
        return self._state.settings

    def advance(self, now: float) -> tuple[Effect, ...]:
        """Make everything happen that is due until `now`, in order, and return what the world is to do.

        A `now` before the last one is taken as the last one: the model's time never runs backwards.
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
        """When `advance` has something to do next; None means not before another verb or report."""
        return self._state.agenda.next_at()

    def task_running(self, arn: str) -> None:
        """The world reports that all of a task's containers run."""
        lifecycle.running(self._state, arn)

    def task_health(self, arn: str, health: Health | str) -> None:
        """The world reports a task's health: UNKNOWN, HEALTHY or UNHEALTHY."""
        lifecycle.health(self._state, arn, Health(health))

    def task_stopped(self, arn: str, stop_code: str = "EssentialContainerExited", reason: str = "") -> None:
        """The world reports a task's end, wanted or not."""
        lifecycle.stopped(self._state, arn, stop_code, reason)

    def task(self, arn: str) -> Task | None:
        """Return a task by its ARN."""
        return self._state.tasks.get(arn)

    def snapshot(self) -> Snapshot:
        """Return clusters, task definitions and services as plain JSON data; tasks are not kept."""
        return take(self._state)

    def restore(self, snapshot: Snapshot) -> None:
        """Take over a snapshot; services launch their desiredCount anew."""
        restore(self._state, snapshot)
