# SPDX-License-Identifier: Apache-2.0
"""From the container's variables to Airflow's, as one pure function."""

from collections.abc import Mapping

from openmwaa_runtime.settings.connections import CONNECTIONS
from openmwaa_runtime.settings.container_env import Facts
from openmwaa_runtime.settings.defaults import DEFAULTS

_PROCESS: Mapping[str, str] = {
    # Each thread that allocates gets an own malloc arena of up to 64 MiB address space; two are enough under the GIL.
    "MALLOC_ARENA_MAX": "2",
    # Logs reach CloudWatch line by line.
    "PYTHONUNBUFFERED": "1",
}


def airflow_environment(component: str, environ: Mapping[str, str], address: str) -> dict[str, str]:
    """Compute the variables to add to `environ` before Airflow starts; what is set already is never among them.

    Raises:
        UsageProblem: a variable that the component needs is missing or wrong.
    """
    facts = Facts.read(component, environ, address)
    wanted = {"AIRFLOW_HOME": facts.home, "AIRFLOW_CONN_AWS_DEFAULT": "aws://", **_PROCESS}
    for setting in (*CONNECTIONS, *DEFAULTS):
        if component not in setting.on or _set_by_user(setting.variable, environ):
            continue
        value = setting.value(facts)
        if value is not None:
            wanted[setting.variable] = value
    return {name: value for name, value in wanted.items() if name not in environ}


def _set_by_user(variable: str, environ: Mapping[str, str]) -> bool:
    # Airflow prefers the plain variable to the two others, so a default would win over what the user meant.
    return any(name in environ for name in (variable, f"{variable}_CMD", f"{variable}_SECRET"))
