# SPDX-License-Identifier: Apache-2.0
"""The running environment: the scaler's page for workers, Airflow's health for the scheduler."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

from openmwaa_runtime.auth.errors import AuthUnavailableError
from openmwaa_runtime.auth.scaler_client import ScalerClient
from openmwaa_runtime.mwaa_api.environment import BoundsRefusedError, WorkerBounds


class RunningEnvironment:
    """A LiveEnvironment; `health` returns the body of Airflow's health."""

    def __init__(self, scaler: ScalerClient | None, health: Callable[[], bytes]) -> None:
        self._scaler = scaler
        self._health = health

    def healthy(self) -> bool:
        """Whether Airflow reports a heartbeat of the scheduler."""
        try:
            return bool(json.loads(self._health())["scheduler"]["status"] == "healthy")
        except (ValueError, KeyError, TypeError) as error:
            raise AuthUnavailableError("Airflow does not report its health; try again") from error

    def bounds(self) -> Mapping[str, WorkerBounds]:
        """The bounds that the scaler has decided with last."""
        if self._scaler is None:
            return {}
        try:
            fleets = json.loads(self._scaler.get("/v1/fleets?brief").body)["fleets"]
            return {fleet["fleet"]: WorkerBounds(int(fleet["min"]), int(fleet["max"])) for fleet in fleets}
        except (ValueError, KeyError, TypeError):
            return {}

    def set_override(self, fleet: str, *, minimum: int | None, maximum: int | None, by: str) -> None:
        """Change the bounds in the override of a fleet; the scaler keeps its other fields.

        Raises:
            BoundsRefusedError: the result would not be valid.
            AuthUnavailableError: the scaler or SSM does not answer, or the two containers have no common key.
        """
        bounds = {name: number for name, number in (("min", minimum), ("max", maximum)) if number is not None}
        answer = self._scaler.write_override("PATCH", fleet, bounds, by) if self._scaler else None
        if answer and answer.status == HTTPStatus.OK:
            return
        if answer and answer.status == HTTPStatus.BAD_REQUEST:
            raise BoundsRefusedError(json.loads(answer.body)["error"])
        words = "".join(f" --{name} {number}" for name, number in bounds.items())
        raise AuthUnavailableError(
            f"the scaler has not written the override; try again, or run `openmwaa scale --fleet {fleet}{words}`"
        )
