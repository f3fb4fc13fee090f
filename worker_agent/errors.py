# SPDX-License-Identifier: Apache-2.0
"""What can go wrong inside the agent.

WorkerAgentError
├── SettingsError          the environment variables make no sense: the worker must not start
├── UnsupportedTransport   no gate for this broker: the worker is always protected and never drains
└── CommandRefused         a drain or resume that is not obeyed, with the HTTP status that says why
"""


class WorkerAgentError(Exception):
    """Base of all errors of this package."""


class SettingsError(WorkerAgentError):
    """An environment variable has a value that cannot be meant."""


class UnsupportedTransport(WorkerAgentError):  # noqa: N818  (reads as what it is in the log)
    """The broker's transport has no gate; such a worker is protected before it consumes and never released."""


class CommandRefused(WorkerAgentError):  # noqa: N818
    """A command that must not be obeyed."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
