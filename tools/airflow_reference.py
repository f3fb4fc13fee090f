# SPDX-License-Identifier: Apache-2.0
"""The reference page of the settings that the Airflow image makes."""

from collections.abc import Iterable, Iterator

from openmwaa_runtime.settings.connections import CONNECTIONS
from openmwaa_runtime.settings.container_env import AIRFLOW_COMPONENTS
from openmwaa_runtime.settings.defaults import DEFAULTS
from openmwaa_runtime.settings.model import Setting

_HEAD = """\
# Airflow's settings

Made from `images/airflow/openmwaa_runtime/settings` by `make docs`.

Airflow's own defaults suit one machine. What differs here, and why. Whatever the environment's YAML file says under
`airflow_configuration_options` (`core.parallelism: 5`) wins over every line of this page, and so does a variable
`AIRFLOW__SECTION__OPTION` of your own image.
"""
_TUNING = """
## Defaults

Ten minutes without the execution API cost no task: requests are repeated for longer than that, the scheduler waits
longer than that for heartbeats, and tokens live longer than that. The four numbers hang together; change them together.
Tried with real Airflow: the API away for 600 s under three running tasks without retries, one of which ended meanwhile;
all of them succeeded, and so did five that waited in the queue.
"""
_WIRING = """
## Connections

These follow from the task definitions. Change them only to replace a part.
"""


def page() -> str:
    """The whole page, Markdown."""
    return "\n".join([_HEAD + _TUNING, *_table(DEFAULTS), _WIRING, *_table(CONNECTIONS), ""])


def _table(settings: Iterable[Setting]) -> Iterator[str]:
    yield "| option | value | where | why |"
    yield "|---|---|---|---|"
    for one in settings:
        where = "everywhere" if one.on == AIRFLOW_COMPONENTS else ", ".join(sorted(one.on))
        yield f"| `{one.name}` | {one.shown} | {where} | {one.reason} |"
