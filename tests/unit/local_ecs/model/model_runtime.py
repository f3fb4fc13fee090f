# SPDX-License-Identifier: Apache-2.0
"""A model with one cluster, and a runtime that executes its effects at once or on request."""

from dataclasses import dataclass, field
from typing import Any

from local_ecs.model import EcsError, EcsModel, EcsSettings, EcsTask, LaunchTask, StopTask, oldest_first
from local_ecs.model.settings import Picker

CLUSTER = "c"


@dataclass
class ModelRuntime:
    """Executes effects at once. With `lazy_stops` stopping tasks stay STOPPING until `finish_stops`."""

    settings: EcsSettings = field(default_factory=EcsSettings)
    picker: Picker = oldest_first
    lazy_stops: bool = False
    runs: bool = True
    stops: list[StopTask] = field(default_factory=list)
    launches: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ecs = EcsModel(self.settings, picker=self.picker)
        self.ecs.clusters.create(CLUSTER)
        self.definition()

    def definition(self, **container: Any) -> str:
        shape = {"containerDefinitions": [{"name": "worker", **container}]}
        return self.ecs.task_definitions.register("worker", shape).arn

    def service(self, desired: int, **options: Any) -> None:
        self.ecs.services.create("w", cluster=CLUSTER, task_definition="worker", desired_count=desired, **options)
        self.settle()

    def update(self, **changes: Any) -> None:
        self.ecs.services.update("w", cluster=CLUSTER, **changes)
        self.settle()

    def settle(self, seconds: float = 0.0) -> None:
        """Advance by `seconds` and execute all effects."""
        end = self.ecs.now + seconds
        for _ in range(10_000):
            due = self.ecs.next_due()
            effects = self.ecs.advance(end if due is None else min(end, max(due, self.ecs.now)))
            for effect in effects:
                self._execute(effect)
            due = self.ecs.next_due()
            if not effects and self.ecs.now >= end and (due is None or due > end):
                return
        raise AssertionError("the model always has another effect")

    def _execute(self, effect: LaunchTask | StopTask) -> None:
        if isinstance(effect, LaunchTask):
            self.launches.append(effect.task.arn)
            if self.runs:
                self.ecs.task_running(effect.task.arn)
        else:
            self.stops.append(effect)
            if not self.lazy_stops:
                self.ecs.task_stopped(effect.task.arn)

    def finish_stops(self) -> None:
        for effect in self.stops:
            self.ecs.task_stopped(effect.task.arn)
        self.settle()

    def protect(self, *tasks: EcsTask, minutes: int | None = None, enabled: bool = True) -> list[str]:
        """Set or clear protection. Returns the reasons of the failures."""
        _, failures = self.ecs.protection.update(
            [t.arn for t in tasks], enabled=enabled, minutes=minutes, cluster=CLUSTER
        )
        self.settle()
        return [f.reason for f in failures]

    @property
    def shown(self) -> Any:
        (service,), failures = self.ecs.services.describe(["w"], cluster=CLUSTER)
        assert not failures
        return service

    @property
    def live(self) -> list[EcsTask]:
        return [t for t in self.ecs.services.tasks(self.shown) if not t.stopping]

    @property
    def counts(self) -> tuple[int, int]:
        counts = self.ecs.services.counts(self.shown)
        return counts.running, counts.pending

    @property
    def messages(self) -> list[str]:
        return [e.message for e in self.shown.events]


def code_of(call: Any) -> str:
    """Return the code of the EcsError that a call raises, or an empty string."""
    try:
        call()
    except EcsError as error:
        return error.code
    return ""
