# SPDX-License-Identifier: Apache-2.0
"""Failures on demand, for the demo and for tests. All of them happen in AWS."""

from local_ecs.api.agent_endpoint import AgentEndpoint
from local_ecs.api.driver import Driver
from local_ecs.api.throttle import Throttle


class LocalFaults:
    """Injects failures into a running local ECS, by the names of services, families or operations."""

    def __init__(self, driver: Driver, throttle: Throttle, agent: AgentEndpoint) -> None:
        self._driver = driver
        self._throttle = throttle
        self._agent = agent

    def fail_launches(self, name: str, number: int) -> None:
        """Make the next launches of a service or family fail before a container starts."""
        self._driver.act(lambda: self._driver.model.faults.fail_launches(name, number))

    def hold_launches(self, name: str, *, held: bool = True) -> None:
        """Keep new tasks of a service or family PENDING until the call with `held=False`."""
        self._driver.act(lambda: self._driver.model.faults.hold_launches(name, held=held))

    def ignore_updates(self, service: str, number: int = 1) -> None:
        """Accept and answer the next UpdateService calls without applying them."""
        self._driver.act(lambda: self._driver.model.faults.ignore_updates(service, number))

    def interrupt(self, task_arn: str, code: str = "SpotInterruption") -> None:
        """Stop a task as for Spot (or `TerminationNotice` for retirement), protected or not."""
        self._driver.act(lambda: self._driver.model.faults.interrupt(task_arn, code))

    def throttle(self, operation: str, number: int = 1) -> None:
        """Answer the next calls of an operation with ThrottlingException."""
        self._throttle.refuse(operation, number)

    def agent_outage(self, *, out: bool = True) -> None:
        """Make every agent endpoint answer 500 until the call with `out=False`."""
        self._agent.outage = out
