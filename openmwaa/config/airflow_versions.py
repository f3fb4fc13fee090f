# SPDX-License-Identifier: Apache-2.0
"""The supported versions of Airflow, one row each.

A further version is a row, its lock file (`make lock`) and a run of the tests. `make docs` writes
docs/reference/airflow-versions.md from the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

IMAGE_PYTHON: Final = "3.12"
"""The Python of the images."""


@dataclass(frozen=True)
class AirflowVersion:
    """One version of Airflow."""

    version: str
    pythons: tuple[str, ...]
    """The versions of Python that it runs with, for `openmwaa local`; `IMAGE_PYTHON` is one of them."""
    packages_until: date
    """The lock file has packages that were published before this day: those of Airflow's own constraints."""
    end_of_life: date | None
    """The day after which Airflow's project publishes no corrections; None: not announced."""
    differs: tuple[str, ...] = ()
    """What differs from the default version, for users."""

    @property
    def lock(self) -> str:
        """The name of its lock file in images/airflow/requirements, and of its virtual environment."""
        return f"airflow-{self.version}"


_ROWS: Final = (
    AirflowVersion("3.3.2", ("3.11", "3.12", "3.13"), date(2026, 9, 25), end_of_life=None),
    AirflowVersion("2.11.2", ("3.11", "3.12"), date(2026, 9, 25), end_of_life=date(2026, 4, 22)),
)
AIRFLOW_VERSIONS: Final[Mapping[str, AirflowVersion]] = {row.version: row for row in _ROWS}
DEFAULT_VERSION: Final = _ROWS[0].version
