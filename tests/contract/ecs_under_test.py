# SPDX-License-Identifier: Apache-2.0
"""The operations of contract tests on an ECS: the local one or AWS."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

# Ends at SIGTERM. The shell waits in the background so that the trap runs at once.
STOPS_AT_SIGTERM = "trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"
IGNORES_SIGTERM = "trap '' TERM; while true; do sleep 1; done"
IMAGE = "public.ecr.aws/docker/library/busybox:stable"


class Platform(Protocol):
    """The platform of the ECS: this machine or an AWS account."""

    client: Any
    cluster: str
    timeout_s: float
    """Maximum time for the start or end of a task."""
    service_options: dict[str, Any]
    """Options of CreateService and RunTask: launch type and network."""

    def pass_time(self, seconds: float) -> None:
        """Advance the clock of the local ECS, or wait."""
        ...

    def agent_put(self, task_arn: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Call a task's agent endpoint; None if only the task itself can."""
        ...

    def until_trap_is_set(self, task_arn: str) -> None:
        """Wait until a task's shell has set its trap for SIGTERM. RUNNING is reported before its first line."""
        ...

    def family(self) -> str:
        """Return a name for a new family, which is removed at the end."""
        ...

    def created(self, service: str) -> None:
        """Register a service, which is removed at the end."""
        ...


@dataclass
class EcsUnderTest:
    """A platform with the operations of the tests."""

    platform: Platform

    @property
    def client(self) -> Any:
        return self.platform.client

    @property
    def cluster(self) -> str:
        return self.platform.cluster

    def register(self, script: str = STOPS_AT_SIGTERM, *, family: str | None = None, stop_timeout: int = 2) -> str:
        container = {
            "name": "main",
            "image": IMAGE,
            "entryPoint": ["/bin/sh", "-c"],
            "command": [script],
            "stopTimeout": stop_timeout,
        }
        answer = self.client.register_task_definition(
            family=family or self.platform.family(),
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            containerDefinitions=[container],
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def service(self, desired: int, *, script: str = STOPS_AT_SIGTERM, stop_timeout: int = 2, **options: Any) -> str:
        """Create a service and wait until all its tasks run."""
        name = f"contract-{uuid4().hex[:8]}"
        definition = self.register(script, stop_timeout=stop_timeout)
        self.client.create_service(
            cluster=self.cluster,
            serviceName=name,
            taskDefinition=definition,
            desiredCount=desired,
            **self.platform.service_options,
            **options,
        )
        self.platform.created(name)
        self.until_running(name, desired)
        return name

    def update(self, service: str, **changes: Any) -> dict[str, Any]:
        return dict(self.client.update_service(cluster=self.cluster, service=service, **changes)["service"])

    def shown(self, service: str) -> dict[str, Any]:
        return dict(self.client.describe_services(cluster=self.cluster, services=[service])["services"][0])

    def tasks(self, service: str) -> list[str]:
        """List the ARNs of a service's tasks with desiredStatus RUNNING."""
        return sorted(self.client.list_tasks(cluster=self.cluster, serviceName=service)["taskArns"])

    def running(self, service: str) -> list[str]:
        """List the ARNs of the running tasks, oldest first."""
        tasks = self.describe(self.tasks(service))
        tasks.sort(key=lambda t: (t["createdAt"], t["taskArn"]))
        return [t["taskArn"] for t in tasks if t["lastStatus"] == "RUNNING"]

    def describe(self, arns: Sequence[str]) -> list[dict[str, Any]]:
        if not arns:
            return []
        return list(self.client.describe_tasks(cluster=self.cluster, tasks=list(arns))["tasks"])

    def task(self, arn: str) -> dict[str, Any]:
        (found,) = self.describe([arn])
        return found

    def protect(self, *arns: str, enabled: bool = True, minutes: int | None = None) -> dict[str, Any]:
        expiry = {} if minutes is None else {"expiresInMinutes": minutes}
        answer = self.client.update_task_protection(
            cluster=self.cluster, tasks=list(arns), protectionEnabled=enabled, **expiry
        )
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        return dict(answer)

    def protected(self, *arns: str) -> list[str]:
        answer = self.client.get_task_protection(cluster=self.cluster, tasks=list(arns))
        return [t["taskArn"] for t in answer["protectedTasks"] if t["protectionEnabled"]]

    # --- waiting ----------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, at most for the platform's time-out."""
        deadline = time.monotonic() + self.platform.timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {self.platform.timeout_s:g} s: {what}"
            time.sleep(min(2.0, self.platform.timeout_s / 300))

    def until_running(self, service: str, number: int) -> None:
        def reached() -> bool:
            shown = self.shown(service)
            return (shown["runningCount"], shown["pendingCount"]) == (number, 0)

        self.until(reached, f"{number} running tasks and none pending in {service}")

    def until_stopped(self, arn: str) -> dict[str, Any]:
        self.until(lambda: self.task(arn)["lastStatus"] == "STOPPED", f"{arn} stopped")
        return self.task(arn)

    def stays(self, condition: Callable[[], bool], what: str) -> None:
        """Check that a condition holds for several steps of the scheduler; on AWS for half a minute."""
        for _ in range(10):
            assert condition(), what
            time.sleep(self.platform.timeout_s / 300)


def refusals(answer: dict[str, Any]) -> list[str]:
    """Return the reasons of an answer's failures."""
    return [failure["reason"] for failure in answer["failures"]]
