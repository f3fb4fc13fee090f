# SPDX-License-Identifier: Apache-2.0
"""The running environment: the scaler's page for workers, Airflow's health for the scheduler."""

import json
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from openmwaa_runtime.auth.errors import AuthUnavailableError
from openmwaa_runtime.auth.pinned_http import PinnedHttp
from openmwaa_runtime.mwaa_api.environment import BoundsRefusedError, WorkerBounds


class RunningEnvironment:
    """A LiveEnvironment of `scaler_url`; `health` returns the body of Airflow's health."""

    def __init__(self, scaler_url: str | None, health: Callable[[], bytes]) -> None:
        self._scaler = None
        if scaler_url:
            parts = urlsplit(scaler_url)
            self._scaler = PinnedHttp(f"{parts.scheme}://{parts.netloc}")
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
            status, body = self._scaler("/v1/fleets?brief", {})
            fleets = json.loads(body)["fleets"] if status == 200 else []  # noqa: PLR2004
            return {fleet["fleet"]: WorkerBounds(int(fleet["min"]), int(fleet["max"])) for fleet in fleets}
        except (AuthUnavailableError, ValueError, KeyError, TypeError):
            return {}

    def set_override(self, fleet: str, *, minimum: int | None, maximum: int | None, by: str) -> None:
        """Refuse: the web server must not have the right to write overrides, because DAG code may share its role.

        Raises:
            BoundsRefusedError: always.
        """
        bounds = "".join(f" --{word} {n}" for word, n in (("min", minimum), ("max", maximum)) if n is not None)
        raise BoundsRefusedError(
            f"{by} can change the workers with `openmwaa scale --fleet {fleet}{bounds}`; the web server has no right "
            "to write overrides"
        )
