# SPDX-License-Identifier: Apache-2.0
"""Airflow's settings in this environment: what connects the parts, and defaults with their reasons."""

from openmwaa_runtime.settings.compute import airflow_environment
from openmwaa_runtime.settings.container_env import COMPONENTS, Facts
from openmwaa_runtime.settings.model import Setting

__all__ = ["COMPONENTS", "Facts", "Setting", "airflow_environment"]
