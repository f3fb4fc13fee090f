# SPDX-License-Identifier: Apache-2.0
"""The reference page of the settings that the Airflow image makes."""

from collections.abc import Iterable, Iterator

from openmwaa_runtime.settings.connections import CONNECTIONS
from openmwaa_runtime.settings.container_env import AIRFLOW_COMPONENTS
from openmwaa_runtime.settings.defaults import DEFAULTS
from openmwaa_runtime.settings.model import AirflowSetting

_HEAD = """\
# Airflow's settings

Made from `images/airflow/openmwaa_runtime/settings` by `make docs`.

Airflow's own defaults are for one machine. This page lists the options that differ here, with the reasons. The
`airflow_configuration_options` of `environment.yaml` (`core.parallelism: 5`) override every line of this page. The
variables `AIRFLOW__SECTION__OPTION` of your own image do so too.
"""
_TUNING = """
## Defaults

Tasks survive an outage of the execution API of ten minutes: requests are retried for longer than that, the scheduler
waits longer than that for heartbeats, and tokens are valid for longer than that. The four numbers depend on each other;
change them together. Tested with Airflow: an outage of 600 s during three running tasks without retries, one of which
ended in that time. All of them succeeded, and so did five tasks in the queue.
"""
_WIRING = """
## Connections

Their values come from the task definitions. Change them only to replace a component.
"""


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join([_HEAD + _TUNING, *_table(DEFAULTS), _WIRING, *_table(CONNECTIONS), ""])


def _table(settings: Iterable[AirflowSetting]) -> Iterator[str]:
    yield "| option | value | where | why |"
    yield "|---|---|---|---|"
    for setting in settings:
        where = "everywhere" if setting.components == AIRFLOW_COMPONENTS else ", ".join(sorted(setting.components))
        yield f"| `{setting.name}` | {setting.shown} | {where} | {setting.reason} |"
