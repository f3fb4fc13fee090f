# SPDX-License-Identifier: Apache-2.0
"""An environment of MWAA, read only: its settings, its Airflow through InvokeRestApi, the memory of its workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from openmwaa.config.environment import Environment
from openmwaa.config.environment_classes import ENVIRONMENT_CLASSES
from openmwaa.operate.airflow_http import AirflowRefusedError
from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import OperateError
from openmwaa.operate.worker_memory import peak_memory


@dataclass(frozen=True)
class MwaaEnvironment:
    """One environment of a Region."""

    name: str
    region: str

    @cached_property
    def _connection(self) -> Connection:
        return Connection(Environment.model_construct(name=self.name, region=self.region), Path(self.name))

    @cached_property
    def _client(self) -> Any:
        return self._connection.client("mwaa")

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """What GetEnvironment returns.

        Raises:
            OperateError: AWS refuses the call or does not answer, or the class is unknown.
        """
        with aws_errors(self._connection, "airflow:GetEnvironment", f"the environment {self.name}"):
            found: Mapping[str, Any] = self._client.get_environment(Name=self.name)["Environment"]
        if found["EnvironmentClass"] not in ENVIRONMENT_CLASSES:
            raise OperateError(f"{self.name} has the class {found['EnvironmentClass']}, which has no known size.")
        return found

    @property
    def slots(self) -> int:
        """Slots of a worker."""
        usual = ENVIRONMENT_CLASSES[self.settings["EnvironmentClass"]].slots
        options = self.settings.get("AirflowConfigurationOptions") or {}
        most = str(options.get("celery.worker_autoscale", "")).partition(",")[0].strip()
        return int(most) if most.isdecimal() and int(most) else usual

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        """Return the answer of Airflow's REST API.

        Raises:
            AirflowRefusedError: an answer of 4xx.
            OperateError: AWS refuses the call or does not answer.
        """
        with aws_errors(self._connection, "airflow:InvokeRestApi", f"the environment {self.name}"):
            try:
                answer = self._client.invoke_rest_api(
                    Name=self.name, Path=path, Method="GET", QueryParameters=dict(parameters)
                )
            except self._client.exceptions.RestApiClientException as error:
                status = error.response.get("RestApiStatusCode", "4xx")
                raise AirflowRefusedError(f"Airflow of {self.name} answered GET {path} with {status}.") from None
        return answer["RestApiResponse"]

    def peak_memory(self, end: datetime, days: float) -> float | None:
        """Return the highest share of a worker's memory that was used, or None without data."""
        workers = [{"Cluster": cluster, "Environment": self.name} for cluster in ("BaseWorker", "AdditionalWorker")]
        return peak_memory(self._connection, "AWS/MWAA", workers, end, days)
