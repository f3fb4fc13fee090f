# SPDX-License-Identifier: Apache-2.0
"""Invariants of a service under any sequence of operations."""

import math
import os
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from local_ecs.model import CircuitBreaker, EcsModel, EcsService, EcsSettings, EcsTask, LaunchTask, StopTask, shuffled
from tests.unit.local_ecs.model.model_runtime import code_of

CLUSTER = "c"


class ServiceMachine(RuleBasedStateMachine):
    """One service with random operations. The runtime reports late, in any order, or with failures."""

    @initialize(
        seed=st.integers(0, 2**32),
        minimum=st.sampled_from([0, 50, 100]),
        maximum=st.sampled_from([100, 150, 200]),
        breaker=st.booleans(),
        rollback=st.booleans(),
        latency=st.sampled_from([0, 15]),
    )
    def create(self, seed: int, minimum: int, maximum: int, breaker: bool, rollback: bool, latency: int) -> None:
        picker = shuffled(random.Random(seed))
        self.ecs = EcsModel(EcsSettings(provisioning_s=latency, pending_s=latency), picker=picker)
        self.ecs.clusters.create(CLUSTER)
        self.ecs.task_definitions.register("worker", {"containerDefinitions": [{"name": "worker"}]})
        self.ecs.services.create(
            "w",
            cluster=CLUSTER,
            task_definition="worker",
            desired_count=2,
            minimum_healthy_percent=minimum,
            maximum_percent=maximum,
            circuit_breaker=CircuitBreaker(breaker, rollback),
        )
        self.to_start: list[str] = []
        self.to_stop: list[str] = []
        self.advance(0)

    def advance(self, seconds: float) -> None:
        """Advance in the model's own steps. Check each effect against the protection just before it."""
        end = self.ecs.now + seconds
        for _ in range(10_000):
            due = self.ecs.next_due()
            step = end if due is None else min(end, max(due, self.ecs.now))
            protected = {t.arn for t in self.tasks if t.protected(step)}
            for effect in self.ecs.advance(step):
                match effect:
                    case LaunchTask(task):
                        assert task.arn not in self.to_start, "launched twice"
                        self.to_start.append(task.arn)
                    case StopTask(task, reason):
                        if reason.startswith("Scaling activity"):
                            assert task.arn not in protected, "the scheduler stopped a protected task"
                        self.to_stop.append(task.arn)
            due = self.ecs.next_due()
            if self.ecs.now >= end and (due is None or due > end):
                return
        raise AssertionError("the model always has another effect")

    @property
    def service(self) -> EcsService:
        return self.ecs.services.describe(["w"], cluster=CLUSTER)[0][0]

    @property
    def tasks(self) -> list[EcsTask]:
        return self.ecs.services.tasks(self.service)

    @property
    def live(self) -> list[EcsTask]:
        return [t for t in self.tasks if not t.stopping]

    @rule(desired=st.integers(0, 6))
    def scale(self, desired: int) -> None:
        before = self.service.deployments
        self.ecs.services.update("w", cluster=CLUSTER, desired_count=desired)
        assert self.service.deployments == before, "a new count started a deployment"

    @rule(register=st.booleans())
    def deploy(self, register: bool) -> None:
        if register:
            self.ecs.task_definitions.register("worker", {"containerDefinitions": [{"name": "worker"}]})
        before = self.service
        refusal = code_of(
            lambda: self.ecs.services.update("w", cluster=CLUSTER, task_definition="worker", force_new_deployment=True)
        )
        assert bool(refusal) == (len(before.deployments) == 5), "exactly the sixth deployment is refused"
        if refusal:
            assert refusal == "InvalidParameterException"
            assert self.service == before

    @rule(which=st.integers(0, 20), minutes=st.integers(1, 10))
    def protect(self, which: int, minutes: int) -> None:
        if not self.live:
            return
        task = self.live[which % len(self.live)]
        others = [t for t in self.live if t.protected(self.ecs.now) and t.arn != task.arn]
        done, failures = self.ecs.protection.update([task.arn], enabled=True, minutes=minutes, cluster=CLUSTER)
        if done:
            assert len(others) + 1 <= self.service.desired_count
        elif failures[0].reason == "DEPLOYMENT_BLOCKED":
            assert len(others) + 1 > self.service.desired_count

    @rule(which=st.integers(0, 20))
    def release(self, which: int) -> None:
        if self.live:
            self.ecs.protection.update([self.live[which % len(self.live)].arn], enabled=False, cluster=CLUSTER)

    @rule(which=st.integers(0, 20))
    def stop_by_hand(self, which: int) -> None:
        if self.live:
            self.ecs.tasks.stop(self.live[which % len(self.live)].arn, cluster=CLUSTER)

    @precondition(lambda self: self.to_start)
    @rule(which=st.integers(0, 20))
    def starts(self, which: int) -> None:
        self.ecs.task_running(self.to_start.pop(which % len(self.to_start)))

    @precondition(lambda self: self.to_start)
    @rule(which=st.integers(0, 20))
    def fails_to_start(self, which: int) -> None:
        self.ecs.task_stopped(self.to_start.pop(which % len(self.to_start)), "TaskFailedToStart", "no image")

    @precondition(lambda self: self.to_stop)
    @rule(which=st.integers(0, 20))
    def stops(self, which: int) -> None:
        self.ecs.task_stopped(self.to_stop.pop(which % len(self.to_stop)))

    @rule(which=st.integers(0, 20), code=st.sampled_from(["EssentialContainerExited", "unhealthy", "spot"]))
    def fails_while_running(self, which: int, code: str) -> None:
        if not self.live:
            return
        arn = self.live[which % len(self.live)].arn
        if code == "unhealthy":
            self.ecs.task_health(arn, "UNHEALTHY")
        elif code == "spot":
            self.ecs.faults.interrupt(arn)
        else:
            self.ecs.task_stopped(arn, code)

    @rule(number=st.integers(1, 3))
    def launches_fail(self, number: int) -> None:
        self.ecs.faults.fail_launches("w", number)

    @rule(seconds=st.sampled_from([0, 1, 5, 30, 61, 600]))
    def time_passes(self, seconds: int) -> None:
        self.advance(seconds)

    @invariant()
    def counts_match(self) -> None:
        counts = self.ecs.services.counts(self.service)
        per_deployment = [self.ecs.services.counts(self.service, d) for d in {t.deployment_id for t in self.tasks}]
        assert counts.running == sum(c.running for c in per_deployment)
        assert counts.pending == sum(c.pending for c in per_deployment)
        assert counts.running + counts.pending == len(self.live)

    @invariant()
    def deployments_are_bounded_and_known(self) -> None:
        deployments = {d.id for d in self.service.deployments}
        assert 1 <= len(deployments) <= 5
        assert {t.deployment_id for t in self.live} <= deployments

    @invariant()
    def launches_respect_the_maximum(self) -> None:
        # Launches respect maximumPercent of the highest desired count (6).
        limit = math.floor(6 * self.service.maximum_percent / 100)
        assert len(self.live) <= limit, "more tasks than any desired count allowed"

    def teardown(self) -> None:
        """With a runtime without failures, the service reaches its desired count."""
        if not hasattr(self, "ecs"):
            return
        self.ecs.faults.fail_launches("w", 0)
        for task in self.live:
            self.ecs.protection.update([task.arn], enabled=False, cluster=CLUSTER)
        self.ecs.services.update("w", cluster=CLUSTER, desired_count=3, minimum_healthy_percent=50, maximum_percent=200)
        for _ in range(60):
            while self.to_start:
                self.ecs.task_running(self.to_start.pop())
            while self.to_stop:
                self.ecs.task_stopped(self.to_stop.pop())
            self.advance(60)
        failed = self.service.primary.rollout_state == "FAILED"
        counts = self.ecs.services.counts(self.service)
        if not failed:
            assert (counts.running, counts.pending) == (3, 0)
            assert len(self.service.deployments) == 1
            assert self.service.primary.rollout_state == "COMPLETED"


ServiceMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "60")), stateful_step_count=30, deadline=None
)
TestService = ServiceMachine.TestCase
