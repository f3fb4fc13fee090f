# SPDX-License-Identifier: Apache-2.0
"""The errors before Airflow starts, each with the exit status of the container; after a 3, a restart may help."""

from typing import ClassVar


class StartupError(Exception):
    """An error that is shown as one line, without a traceback."""

    exit_status: ClassVar[int] = 1


class UsageError(StartupError):
    """The command or a variable is missing or wrong."""

    exit_status: ClassVar[int] = 2


class MissingVariableError(UsageError):
    """A variable that the component needs is not set or empty."""

    def __init__(self, component: str, names: tuple[str, ...]) -> None:
        plural = "s" if len(names) > 1 else ""
        super().__init__(f"{component} needs the environment variable{plural} {', '.join(names)}")


class MetadataError(StartupError):
    """The ECS task metadata endpoint does not respond."""

    exit_status: ClassVar[int] = 3


class DatabaseError(StartupError):
    """PostgreSQL does not respond, or refused a statement."""

    exit_status: ClassVar[int] = 3


class BrokerError(StartupError):
    """Redis does not respond, or its users cannot be changed."""

    exit_status: ClassVar[int] = 3


class NotPreparedError(StartupError):
    """The database was not prepared in time."""

    exit_status: ClassVar[int] = 3


class PreparationError(StartupError):
    """The database or the broker could not be prepared."""

    exit_status: ClassVar[int] = 4
