# SPDX-License-Identifier: Apache-2.0
"""Where a history comes from: an environment of openmwaa, one of MWAA, or a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES, Architecture
from openmwaa.errors import OpenmwaaError
from openmwaa.fleet_rollout import service_names
from openmwaa.operate.airflow_api import EnvironmentApi
from openmwaa.operate.airflow_history import HistoryReader
from openmwaa.operate.connection import Connection
from openmwaa.operate.errors import PermissionMissingError
from openmwaa.operate.mwaa_environment import MwaaEnvironment
from openmwaa.operate.whatif import MeasuredMemory
from openmwaa.operate.worker_memory import peak_memory
from simulation.workloads.model import Workload
from simulation.workloads.source import load_workloads

DEFAULT_CLASS: Final = "mw1.small"
DEFAULT_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class WorkloadHistory:
    """A workload, and the workers that it has today."""

    workload: Workload
    region: str = DEFAULT_REGION
    environment_class: str = DEFAULT_CLASS
    minimum: int = 1
    maximum: int = 10
    architecture: Architecture = "ARM64"
    memory: MeasuredMemory | None = None


def history_of_file(name: str, seed: int) -> WorkloadHistory:
    """Return a workload as a history, or raise OpenmwaaError."""
    (workload,) = load_workloads([name], seed)
    return WorkloadHistory(workload)


def history_of_environment(connection: Connection, days: float, rows: int) -> WorkloadHistory:
    """Read the Airflow of an environment; the workers are those of its first fleet.

    Raises:
        OperateError: Airflow or AWS refuses a call or does not answer, or there are too many rows or no runs.
    """
    api, environment = EnvironmentApi(connection), connection.environment

    def get(path: str, parameters: Mapping[str, str]) -> Any:
        return api.call("GET", f"{path}?{urlencode(parameters)}" if parameters else path)

    now = datetime.now(UTC)
    workload = HistoryReader(get, rows).workload(environment.name, now, days)
    name, fleet = next(iter(environment.fleets.items()))
    services = [{"ClusterName": connection.resource_name, "ServiceName": service} for service in service_names(name)]
    try:
        peak = peak_memory(connection, "AWS/ECS", services, now, days)
    except PermissionMissingError:
        peak = None  # the memory is not measured, and all else is
    return WorkloadHistory(
        workload,
        environment.region,
        environment.environment_class,
        fleet.min,
        fleet.max,
        fleet.architecture,
        None if peak is None else MeasuredMemory(peak, fleet.memory, fleet.slots),
    )


def history_of_mwaa(name: str, region: str | None, days: float, rows: int) -> WorkloadHistory:
    """Read an environment of MWAA.

    Raises:
        OperateError: AWS refuses a call or does not answer, or there are too many rows or no runs.
        OpenmwaaError: there is no Region.
    """
    if region is None:
        raise OpenmwaaError("--mwaa needs the Region of the environment: add --region.")
    environment, now = MwaaEnvironment(name, region), datetime.now(UTC)
    settings = environment.settings
    workload = HistoryReader(environment.get, rows).workload(name, now, days)
    peak = environment.peak_memory(now, days)
    mib = ENVIRONMENT_CLASSES[settings["EnvironmentClass"]].worker.memory
    memory = None if peak is None else MeasuredMemory(peak, mib, environment.slots)
    return WorkloadHistory(
        workload,
        region,
        settings["EnvironmentClass"],
        settings.get("MinWorkers", 1),
        settings.get("MaxWorkers", 10),
        memory=memory,
    )
