# SPDX-License-Identifier: Apache-2.0
"""One row of the table of settings: an option, its value and the reason."""

from collections.abc import Callable
from dataclasses import dataclass

from openmwaa_runtime.settings.container_env import AIRFLOW_COMPONENTS, ContainerEnv


@dataclass(frozen=True)
class AirflowSetting:
    """A default of one Airflow option, for the components that read it."""

    name: str
    """`section.option`, as in Airflow's configuration reference."""
    value: Callable[[ContainerEnv], str | None]
    """The value; None: Airflow's own default stays."""
    shown: str
    """The value in the documentation."""
    reason: str
    components: frozenset[str] = AIRFLOW_COMPONENTS

    @property
    def variable(self) -> str:
        """The environment variable AIRFLOW__SECTION__OPTION."""
        section, _, option = self.name.partition(".")
        return f"AIRFLOW__{section.upper()}__{option.upper()}"


def fixed(name: str, value: str, reason: str, components: frozenset[str] = AIRFLOW_COMPONENTS) -> AirflowSetting:
    """Return a default that is the same in every environment."""
    return AirflowSetting(name, lambda _env: value, f"`{value}`", reason, components)
