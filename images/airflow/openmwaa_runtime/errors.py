# SPDX-License-Identifier: Apache-2.0
"""What can go wrong before Airflow runs, each with the status the container exits with.

RuntimeProblem
 ├─ UsageProblem            2: what the container was told is incomplete or wrong; starting again does not help
 │   └─ MissingVariable
 ├─ MetadataProblem         3: the ECS task metadata endpoint does not answer; starting again may help
 ├─ DatabaseProblem         3: PostgreSQL does not answer or refuses; starting again may help
 ├─ BrokerProblem           3: Redis or its users cannot be asked; starting again may help
 ├─ NotPrepared             3: the database was not ready before the deadline; starting again may help
 └─ PreparationFailed       4: prepare-database or prepare-broker could not do its work
"""

from typing import ClassVar


class RuntimeProblem(Exception):  # noqa: N818 - problems are what the user reads
    """One line for the log and an exit status; never a traceback."""

    exit_status: ClassVar[int] = 1


class UsageProblem(RuntimeProblem):
    """The word or a variable is wrong."""

    exit_status: ClassVar[int] = 2


class MissingVariable(UsageProblem):
    """A variable that the component cannot do without is not set, or empty."""

    def __init__(self, component: str, names: tuple[str, ...]) -> None:
        plural = "s" if len(names) > 1 else ""
        super().__init__(f"{component} needs the environment variable{plural} {', '.join(names)}")
        self.names = names


class MetadataProblem(RuntimeProblem):
    """The ECS task metadata endpoint does not answer."""

    exit_status: ClassVar[int] = 3


class DatabaseProblem(RuntimeProblem):
    """PostgreSQL does not answer, or refuses what it was asked."""

    exit_status: ClassVar[int] = 3


class BrokerProblem(RuntimeProblem):
    """Redis does not answer, or its users cannot be changed."""

    exit_status: ClassVar[int] = 3


class NotPrepared(RuntimeProblem):
    """The database did not become ready in time."""

    exit_status: ClassVar[int] = 3


class PreparationFailed(RuntimeProblem):
    """The database or the broker could not be prepared."""

    exit_status: ClassVar[int] = 4
