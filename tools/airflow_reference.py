# SPDX-License-Identifier: Apache-2.0
"""The reference page of the settings that the Airflow image makes."""

from collections.abc import Iterable

from openmwaa.config.airflow_options import OWNED_OPTIONS
from openmwaa_runtime.settings.connections import CONNECTIONS
from openmwaa_runtime.settings.container_env import AIRFLOW_COMPONENTS
from openmwaa_runtime.settings.defaults import DEFAULTS
from openmwaa_runtime.settings.model import AirflowSetting
from tools.page_blocks import reference, table


def page() -> str:
    """Return the page as Markdown."""
    return reference(
        "airflow-defaults.md",
        defaults=_options(DEFAULTS),
        connections=_options(CONNECTIONS),
        verdicts=table(
            "option", "verdict", "", rows=((f"`{row.option}`", row.verdict, row.advice) for row in OWNED_OPTIONS)
        ),
    )


def _options(settings: Iterable[AirflowSetting]) -> str:
    rows = ((f"`{setting.name}`", setting.shown, _where(setting), setting.reason) for setting in settings)
    return table("option", "value", "where", "why", rows=rows)


def _where(setting: AirflowSetting) -> str:
    return "everywhere" if setting.components == AIRFLOW_COMPONENTS else ", ".join(sorted(setting.components))
