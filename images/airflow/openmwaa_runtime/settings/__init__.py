# SPDX-License-Identifier: Apache-2.0
"""Airflow's settings in this environment: connections between the components, and defaults with reasons."""

from openmwaa_runtime.settings.compute import airflow_environment
from openmwaa_runtime.settings.container_env import COMPONENTS, ContainerEnv
from openmwaa_runtime.settings.model import AirflowSetting

__all__ = ["COMPONENTS", "AirflowSetting", "ContainerEnv", "airflow_environment"]
