# SPDX-License-Identifier: Apache-2.0
"""A worker fleet on this machine: a local ECS whose services are plain Celery workers on SQS and the real scaler.

    with CeleryFleet(emulator_url, folder) as world:
        tasks = world.burst(60, 0.5)
        world.until_fleet_is(4)
        world.until_finished(tasks)
        world.until_fleet_is(1)
        assert not world.audit().violations

ECS and its tasks run in a thread of their own. A test reads ECS (boto3 and its journal), the journal that the tasks
write, and the agents' HTTP.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil

from local_ecs.api import Entry
from local_ecs.runtime.process_tree import Trace, find
from openmwaa.local import task_journal
from tests.support.fleet_audit import Audit
from tests.support.local_fleet import AGENT_PORT, CLUSTER, SCALER, A, LocalFleet, LocalFleetSettings
from tests.support.worker import request

T = TypeVar("T")

PATIENCE_S = 240.0
"""For any one thing that has to happen; minutes are a hang, a busy machine is not."""
Json = dict[str, Any]
StartWorld = Callable[..., "CeleryFleet"]


class CeleryFleet(LocalFleet):
    """One fleet, its queue and its scaler, with helpers for tests."""

    def __init__(self, emulator: str, folder: Path, settings: LocalFleetSettings | None = None) -> None:
        super().__init__(emulator, folder, settings or LocalFleetSettings())
        self._tasks: list[str] = []

    def __enter__(self) -> Self:
        try:
            self.create_services()
            first = ["consuming"] * self.settings.minimum
            self.until("the first workers consume", lambda: [*self.phases().values()] == first)
            self.until("the scaler decides", lambda: any(d["running"] == len(first) for d in self.decisions()))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- work -------------------------------------------------------------------------------------------------

    def burst(self, number: int, *seconds: float) -> list[str]:
        """Send tasks that work for `seconds`, in turn; returns their names in the task journal."""
        names = self._names("work", number)
        self.queue.publish(
            "tests.support.fleet_app.work",
            [(name, seconds[index % len(seconds)]) for index, name in enumerate(names)],
        )
        return names

    def hold(self, number: int) -> list[str]:
        """Send tasks that work until they are let go; returns their names in the task journal."""
        names = self._names("hold", number)
        self.queue.publish("tests.support.fleet_app.hold", [(name, str(self._gate(name))) for name in names])
        return names

    def let_go(self, tasks: Iterable[str] | None = None) -> None:
        """Let held tasks end, by default all of them."""
        for name in self._tasks if tasks is None else tasks:
            self._gate(name).touch()

    def task_journal(self) -> task_journal.TaskJournal:
        """Return what the tasks wrote; expected is all that was sent."""
        return task_journal.read(self.task_journal_file, self._tasks)

    def under_way(self) -> dict[str, list[str]]:
        """Return the tasks that started and did not end, by the address of their worker."""
        found: dict[str, list[str]] = {}
        for line in self.task_journal().lines:
            if line.event == "start":
                found.setdefault(line.worker, []).append(line.task)
            else:
                found[line.worker].remove(line.task)
        return {worker: tasks for worker, tasks in found.items() if tasks}

    def _names(self, kind: str, number: int) -> list[str]:
        names = [f"{kind}[{len(self._tasks) + index}]" for index in range(number)]
        self._tasks += names
        return names

    def _gate(self, name: str) -> Path:
        return self.folder / f"{name}.end"

    # --- state of ECS and the agents --------------------------------------------------------------------------

    def service(self, name: str = A) -> Any:
        """Return a service from DescribeServices."""
        return self.client.describe_services(cluster=CLUSTER, services=[name])["services"][0]

    def desired(self, *names: str) -> int:
        """Return the desired count of services together; by default those of the fleet."""
        return sum(int(self.service(name)["desiredCount"]) for name in names or self.settings.services)

    def addresses(self, *names: str) -> dict[str, str]:
        """Return the addresses of the running tasks of services by ARN; by default those of the fleet."""
        return {
            arn: address for name in names or self.settings.services for arn, address in self._addresses(name).items()
        }

    def _addresses(self, name: str) -> dict[str, str]:
        arns = self.client.list_tasks(cluster=CLUSTER, serviceName=name)["taskArns"]
        found = self.client.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"] if arns else []
        return {
            task["taskArn"]: next(
                detail["value"]
                for detail in task["attachments"][0]["details"]
                if detail["name"] == "privateIPv4Address"
            )
            for task in found
            if task["lastStatus"] == "RUNNING"
        }

    def states(self) -> dict[str, Json]:
        """Return the agents' states by task ARN; a worker that does not answer is left out."""
        found = {}
        for arn, address in self.addresses().items():
            with contextlib.suppress(OSError):
                found[arn] = request(f"http://{address}:{AGENT_PORT}/v1/state")[1]
        return found

    def phases(self) -> dict[str, str]:
        """Return the phases of the workers' agents by task ARN."""
        return {arn: str(state["phase"]) for arn, state in self.states().items()}

    def protected(self) -> set[str]:
        """Return the ARNs of the fleet's tasks that ECS protects."""
        arns = [*self.addresses()]
        answer = self.client.get_task_protection(cluster=CLUSTER, tasks=arns)["protectedTasks"] if arns else []
        return {task["taskArn"] for task in answer if task["protectionEnabled"]}

    def journal(self, *kinds: str) -> list[Entry]:
        """Return what ECS did."""

        async def entries() -> list[Entry]:
            return self.ecs.journal.entries(*kinds)

        return self.call(entries())

    def audit(self) -> Audit:
        """Hold all that happened to the promise."""
        return Audit(self.journal(), *self.settings.services, task_journal=self.task_journal().lines)

    def decisions(self) -> list[Json]:
        """Return what the scaler decided, in all its lives; `task` is the beginning of its task's id."""
        found = []
        path = self.folder / "logs" / f"{SCALER}.log"
        for line in path.read_text().splitlines() if path.exists() else ():
            head, _, text = line.partition(" | ")
            with contextlib.suppress(ValueError):
                document = json.loads(text)
                if isinstance(document, dict) and document.get("event") == "decision":
                    found.append({"task": head.split()[0], **document})
        return found

    # --- waiting ----------------------------------------------------------------------------------------------

    def until(self, what: str, condition: Callable[[], T], *, seconds: float = PATIENCE_S) -> T:
        """Wait for the first true value of a condition; fails with all that is needed to understand why not."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self._story()}"
            time.sleep(0.1)
        return value

    def until_fleet_is(self, number: int) -> None:
        """Wait until the fleet has this size: desired, running, and nothing on its way."""

        def reached() -> bool:
            seen = [self.service(name) for name in self.settings.services]
            counts = [
                sum(service[count] for service in seen) for count in ("desiredCount", "runningCount", "pendingCount")
            ]
            return counts == [number, number, 0] and all(len(service["deployments"]) == 1 for service in seen)

        self.until(f"a fleet of {number}", reached)

    def until_started(self, tasks: Iterable[str]) -> None:
        """Wait until tasks are under way."""
        expected = set(tasks)
        self.until("tasks start", lambda: expected <= {task for busy in self.under_way().values() for task in busy})

    def until_finished(self, tasks: Iterable[str]) -> None:
        """Wait until tasks ended."""
        expected = set(tasks)
        self.until("tasks end", lambda: expected <= set(self.task_journal().completions))

    def until_ticks(self, seconds: float) -> None:
        """Wait until a scaler has ticked for `seconds`; its log leaves out lines without news."""
        begin = datetime.now(UTC)

        def looked() -> bool:
            for address in self._scalers():
                with contextlib.suppress(OSError):
                    for fleet in request(f"http://{address}:8082/v1/fleets")[1]["fleets"]:
                        return datetime.fromisoformat(fleet["at"]) - begin >= timedelta(seconds=seconds)
            return False

        self.until(f"the scaler looks for {seconds:g} s", looked)

    def _scalers(self) -> list[str]:
        """Return their addresses, without a call that may be throttled."""

        async def services() -> list[Json]:
            return list(self.ecs.status()["services"])

        tasks = [task for service in self.call(services()) if service["name"] == SCALER for task in service["tasks"]]
        return [str(task["address"]) for task in tasks if task["status"] == "RUNNING"]

    def until_ecs_acted(self) -> None:
        """Wait until ECS has carried out all requests."""

        async def busy() -> bool:
            return self.ecs.driver.busy

        self.until("ECS acts", lambda: not self.call(busy()))

    def _story(self) -> str:
        decisions = [f"  {d['task']} {d['at']} {d['reason']} {d['errors']}" for d in self.decisions()[-8:]]
        entries = [f"  {e.at:.2f} {e.kind} {dict(e.detail)}" for e in self.journal()[-25:]]
        logs = [self.folder / "logs" / f"{name}.log" for name in self.settings.services]
        tail = [line for log in logs if log.exists() for line in log.read_text(errors="replace").splitlines()[-10:]]
        return "\n".join(
            ["phases:", f"  {self.phases()}", "decisions:", *decisions, "ECS:", *entries, "workers:", *tail]
        )

    # --- accidents --------------------------------------------------------------------------------------------

    def kill(self, arn: str) -> None:
        """SIGKILL every process of a task, and wait until ECS noticed."""
        pid = self._pid(arn)
        for process in find(Trace(sessions=(pid,), roots=(pid,))):
            process.kill()
        ended = f"ECS sees the end of {arn}"
        self.until(ended, lambda: any(e.detail["task"] == arn for e in self.journal("TaskStopped")))

    def kill_scaler(self) -> None:
        """SIGKILL the scaler; ECS starts another."""
        (arn,) = self.addresses(SCALER)
        self.kill(arn)

    @contextlib.contextmanager
    def scaler_frozen(self) -> Iterator[None]:
        """Let the scaler do nothing for a while, as if its host hung."""
        (arn,) = self.addresses(SCALER)
        pid = self._pid(arn)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def throttled(self, *operations: str) -> Iterator[None]:
        """Let ECS answer every call of some operations with ThrottlingException for a while."""
        many = 1_000_000
        self._throttle(operations, many)
        try:
            yield
        finally:
            self._throttle(operations, -many)

    def _throttle(self, operations: Iterable[str], number: int) -> None:
        async def throttle() -> None:
            for operation in operations:
                self.ecs.faults.throttle(operation, number)

        self.call(throttle())

    def interrupt(self, arn: str) -> None:
        """Stop a task as AWS does for a Spot interruption."""

        async def interrupt() -> None:
            self.ecs.faults.interrupt(arn)

        self.call(interrupt())

    def freeze_pool(self, arn: str) -> None:
        """Stop the processes that run a worker's tasks; its main process goes on."""
        for child in psutil.Process(self._pid(arn)).children():
            child.suspend()

    @contextlib.contextmanager
    def agent_outage(self) -> Iterator[None]:
        """Let ECS's agent answer every worker's call for protection with 500 for a while."""
        self._agent_outage(out=True)
        try:
            yield
        finally:
            self._agent_outage(out=False)

    def _agent_outage(self, *, out: bool) -> None:
        async def outage() -> None:
            self.ecs.faults.agent_outage(out=out)

        self.call(outage())

    def _pid(self, arn: str) -> int:
        async def pid() -> int | None:
            return self.ecs.driver.containers(arn)[0].pid

        found = self.call(pid())
        assert found is not None, f"{arn} has no process"
        return found


def assert_nothing_was_hurt(world: CeleryFleet) -> None:
    """Every task ended exactly once, no worker was stopped while protected, no task ran unprotected."""
    found = world.task_journal()
    assert (found.lost, found.duplicated, found.interrupted) == ((), (), ())
    assert world.audit().violations == []
    world.until("the queue is empty", lambda: world.queue.counts() == (0, 0))
