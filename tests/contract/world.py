# SPDX-License-Identifier: Apache-2.0
"""What a contract test needs from an ECS, wherever it is."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

# Says when it was told to stop, and ends: the shell waits in the background so that the trap runs at once.
OBEDIENT = "trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"
STUBBORN = "trap '' TERM; while true; do sleep 1; done"
IMAGE = "public.ecr.aws/docker/library/busybox:stable"


class Place(Protocol):
    """Where ECS is: this machine, or an account."""

    client: Any
    cluster: str
    patience_s: float
    """How long anything that takes an ECS task's start or end may take."""
    service_options: dict[str, Any]
    """What CreateService and RunTask need there: launch type and network."""

    def pass_time(self, seconds: float) -> None:
        """Let time pass: by the clock of the local ECS, or by waiting."""
        ...

    def agent_put(self, task_arn: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Ask a task's agent endpoint as the task; None where only the task itself can."""
        ...

    def until_it_traps(self, task_arn: str) -> None:
        """Wait until a task's shell has set its trap for SIGTERM: RUNNING is told before its first line has run."""
        ...

    def family(self) -> str:
        """Return a name for a new family, to be removed at the end."""
        ...

    def created(self, service: str) -> None:
        """Note a service that is to be removed at the end."""
        ...


@dataclass
class World:
    """A place, with the verbs the tests speak."""

    place: Place

    @property
    def client(self) -> Any:
        return self.place.client

    @property
    def cluster(self) -> str:
        return self.place.cluster

    def register(self, script: str = OBEDIENT, *, family: str | None = None, stop_timeout: int = 2) -> str:
        container = {
            "name": "main",
            "image": IMAGE,
            "entryPoint": ["/bin/sh", "-c"],
            "command": [script],
            "stopTimeout": stop_timeout,
        }
        answer = self.client.register_task_definition(
            family=family or self.place.family(),
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            containerDefinitions=[container],
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def service(self, desired: int, *, script: str = OBEDIENT, stop_timeout: int = 2, **options: Any) -> str:
        """Create a service, and wait until all its tasks run."""
        name = f"contract-{uuid4().hex[:8]}"
        definition = self.register(script, stop_timeout=stop_timeout)
        self.client.create_service(
            cluster=self.cluster,
            serviceName=name,
            taskDefinition=definition,
            desiredCount=desired,
            **self.place.service_options,
            **options,
        )
        self.place.created(name)
        self.until_running(name, desired)
        return name

    def update(self, service: str, **changes: Any) -> dict[str, Any]:
        return dict(self.client.update_service(cluster=self.cluster, service=service, **changes)["service"])

    def shown(self, service: str) -> dict[str, Any]:
        return dict(self.client.describe_services(cluster=self.cluster, services=[service])["services"][0])

    def tasks(self, service: str) -> list[str]:
        """List the ARNs of the tasks a service wants to run."""
        return sorted(self.client.list_tasks(cluster=self.cluster, serviceName=service)["taskArns"])

    def running(self, service: str) -> list[str]:
        """List the ARNs of the tasks that run, oldest first."""
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
        """Wait for a condition, as long as the place's tasks may take."""
        deadline = time.monotonic() + self.place.patience_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {self.place.patience_s:g} s: {what}"
            time.sleep(min(2.0, self.place.patience_s / 300))

    def until_running(self, service: str, number: int) -> None:
        def reached() -> bool:
            shown = self.shown(service)
            return (shown["runningCount"], shown["pendingCount"]) == (number, 0)

        self.until(reached, f"{number} running tasks and none pending in {service}")

    def until_stopped(self, arn: str) -> dict[str, Any]:
        self.until(lambda: self.task(arn)["lastStatus"] == "STOPPED", f"{arn} stopped")
        return self.task(arn)

    def stays(self, condition: Callable[[], bool], what: str) -> None:
        """Hold a condition over three quick looks of the scheduler; on AWS over half a minute."""
        for _ in range(10):
            assert condition(), what
            time.sleep(self.place.patience_s / 300)


def refusals(answer: dict[str, Any]) -> list[str]:
    """Return the reasons of an answer's failures."""
    return [failure["reason"] for failure in answer["failures"]]
