# SPDX-License-Identifier: Apache-2.0
"""One entry of the table of defaults: a name, how its value follows from the facts, and why."""

from collections.abc import Callable
from dataclasses import dataclass

from openmwaa_runtime.settings.container_env import AIRFLOW_COMPONENTS, Facts


@dataclass(frozen=True)
class Setting:
    """A default for one Airflow option, on the components that read it."""

    name: str
    """`section.option`, as in Airflow's configuration reference."""
    value: Callable[[Facts], str | None]
    """The value; None where the facts give none and Airflow's own default stays."""
    shown: str
    """The value as the documentation writes it."""
    reason: str
    on: frozenset[str] = AIRFLOW_COMPONENTS

    @property
    def variable(self) -> str:
        """The environment variable Airflow reads, AIRFLOW__SECTION__OPTION."""
        section, _, option = self.name.partition(".")
        return f"AIRFLOW__{section.upper()}__{option.upper()}"


def fixed(name: str, value: str, reason: str, on: frozenset[str] = AIRFLOW_COMPONENTS) -> Setting:
    """Build a default that is the same in every environment."""
    return Setting(name, lambda _facts: value, f"`{value}`", reason, on)
