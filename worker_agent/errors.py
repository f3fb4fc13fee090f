# SPDX-License-Identifier: Apache-2.0
"""The errors of the agent.

WorkerAgentError
├── SettingsError              an environment variable has an invalid value: the worker must not start
├── TaskLockedError            another worker of this ECS task is protected and drained for the whole task
├── UnsupportedTransportError  no gate for this broker: the worker is always protected and cannot drain
└── CommandRefusedError        a drain or resume command was refused; carries the HTTP status
"""


class WorkerAgentError(Exception):
    """Base of all errors of this package."""


class SettingsError(WorkerAgentError):
    """An environment variable has an invalid value."""


class TaskLockedError(WorkerAgentError):
    """Another worker of this ECS task is protected and drained for the whole task."""


class UnsupportedTransportError(WorkerAgentError):
    """There is no gate for the broker's transport: the worker is always protected and cannot drain."""


class CommandRefusedError(WorkerAgentError):
    """A command is invalid or not authorised."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
