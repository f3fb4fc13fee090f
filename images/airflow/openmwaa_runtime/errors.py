# SPDX-License-Identifier: Apache-2.0
"""The errors before Airflow starts, each with the exit status of the container.

StartupError
 ├─ UsageError             2: the command or a variable is missing or wrong; a restart does not help
 │   └─ MissingVariableError
 ├─ MetadataError          3: the ECS task metadata endpoint does not respond; a restart may help
 ├─ DatabaseError          3: PostgreSQL does not respond or refused a statement; a restart may help
 ├─ BrokerError            3: Redis does not respond or its users cannot be changed; a restart may help
 ├─ NotPreparedError       3: the database was not prepared in time; a restart may help
 └─ PreparationError       4: prepare-database or prepare-broker failed
"""

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
        self.names = names


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
