# SPDX-License-Identifier: Apache-2.0
"""Failures on demand, all of which happen in AWS."""

from local_ecs.model import lifecycle
from local_ecs.model.errors import invalid
from local_ecs.model.state import EcsState


class Faults:
    """Injects failures by the name of a service or of a task definition's family."""

    def __init__(self, state: EcsState) -> None:
        self._state = state

    def fail_launches(self, name: str, number: int) -> None:
        """Make the next `number` launches fail before a container starts (an image that cannot be pulled)."""
        self._state.launch_failures[name] = number

    def hold_launches(self, name: str, *, held: bool = True) -> None:
        """Keep new tasks PENDING (no capacity) until the call with `held=False`."""
        if held:
            self._state.held.add(name)
            return
        self._state.held.discard(name)
        for task in self._state.tasks.values():
            if not task.launched and not task.stopping:
                self._state.agenda.schedule(("task", task.arn), max(self._state.now, task.launch_at))

    def refuse_launches(self, service: str, reason: str | None) -> None:
        """Make the service unable to place tasks, for a reason as in ECS (a quota, no capacity). None: end this."""
        if reason is None:
            self._state.unplaceable.pop(service, None)
            for key in self._state.services:
                if key[1] == service:
                    self._state.reconcile_soon(key)
        else:
            self._state.unplaceable[service] = reason

    def ignore_updates(self, service: str, number: int = 1) -> None:
        """Accept and answer the next `number` UpdateService calls without applying them."""
        self._state.ignored_updates[service] = number

    def interrupt(
        self, arn: str, code: str = "SpotInterruption", reason: str = "Your Spot Task was interrupted."
    ) -> None:
        """Stop a task as AWS does for Spot and for retirement (`TerminationNotice`), protected or not."""
        task = self._state.tasks.get(arn)
        if task is None:
            raise invalid("The referenced task was not found.")
        lifecycle.stop(self._state, task, code, reason)
