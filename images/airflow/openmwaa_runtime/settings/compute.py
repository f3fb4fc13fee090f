# SPDX-License-Identifier: Apache-2.0
"""Computes Airflow's variables from the container's variables. Pure."""

from collections.abc import Mapping

from openmwaa_runtime.release import AirflowRelease, installed_release
from openmwaa_runtime.settings.airflow_2 import AIRFLOW_2_SETTINGS
from openmwaa_runtime.settings.connections import CONNECTIONS
from openmwaa_runtime.settings.container_env import ContainerEnv
from openmwaa_runtime.settings.defaults import DEFAULTS
from openmwaa_runtime.settings.model import AirflowSetting

_PROCESS: Mapping[str, str] = {
    # glibc creates a malloc arena of up to 64 MiB address space for each thread; two are enough with the GIL.
    "MALLOC_ARENA_MAX": "2",
    # Write each log line to CloudWatch at once.
    "PYTHONUNBUFFERED": "1",
}


SETTINGS: Mapping[int, tuple[AirflowSetting, ...]] = {3: (*CONNECTIONS, *DEFAULTS), 2: AIRFLOW_2_SETTINGS}
"""The settings of each major version of Airflow."""


def airflow_environment(
    component: str, environ: Mapping[str, str], address: str, *, release: AirflowRelease | None = None
) -> dict[str, str]:
    """Return the variables to add to `environ` before Airflow starts, without those that are already set.

    Raises:
        UsageError: a variable that the component needs is missing or wrong.
    """
    release = release or installed_release()
    env = ContainerEnv.read(component, environ, address, release)
    additions = {"AIRFLOW_HOME": env.home, "AIRFLOW_CONN_AWS_DEFAULT": "aws://", **_PROCESS}
    for setting in SETTINGS[release.major]:
        # Airflow prefers the plain variable to the two others, so a default would override the user's value.
        set_by_user = any(f"{setting.variable}{suffix}" in environ for suffix in ("", "_CMD", "_SECRET"))
        if component not in setting.components or set_by_user:
            continue
        value = setting.value(env)
        if value is not None:
            additions[setting.variable] = value
    return {name: value for name, value in additions.items() if name not in environ}
