# SPDX-License-Identifier: Apache-2.0
"""`GetEnvironment`: what Terraform has written into a variable, and what is read at the moment of the call."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from openmwaa_runtime.errors import UsageError

VARIABLE = "OPENMWAA_MWAA_ENVIRONMENT"
"""The description: the output shape `Environment` of botocore's model, without members that are read live.

Its AirflowConfigurationOptions are a list of names: the values are already variables of the container.
"""


class BoundsRefusedError(Exception):
    """The override is not possible; the message has the reason."""


@dataclass(frozen=True)
class WorkerBounds:
    """The minimum and maximum of workers that are in force: of the file, a schedule, or an override."""

    minimum: int
    maximum: int


class LiveEnvironment(Protocol):
    """What runs now. The methods raise AuthUnavailableError if the source does not answer, except `bounds`."""

    def healthy(self) -> bool:
        """Whether the scheduler has had a heartbeat lately."""
        ...

    def bounds(self) -> Mapping[str, WorkerBounds]:
        """The bounds of each fleet; empty if the scaler does not answer."""
        ...

    def set_override(self, fleet: str, *, minimum: int | None, maximum: int | None, by: str) -> None:
        """Set the scaler's override of a fleet; None keeps a bound as it is.

        Raises:
            BoundsRefusedError: the result would not be valid.
            AuthUnavailableError: it was not written.
        """
        ...


class EnvironmentDescription:
    """The environment as MWAA's API describes it."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        try:
            # A module's caller may leave a variable out.
            self._members = {name: value for name, value in json.loads(text).items() if value is not None}
            names = self._members.pop("AirflowConfigurationOptions", [])
            options = {name: variables[_variable_of(name)] for name in names}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{VARIABLE} is not the description of an environment: {error!r}") from error
        if options:
            self._members["AirflowConfigurationOptions"] = options
        if url := self._members.get("WebserverUrl"):
            self._members["WebserverUrl"] = urlsplit(url).netloc  # a host name, as MWAA has it

    def members(self) -> dict[str, Any]:
        """What the file determines."""
        return dict(self._members)

    def with_live(self, live: LiveEnvironment) -> dict[str, Any]:
        """All members."""
        bounds = live.bounds().values()
        workers = {
            "MinWorkers": sum(fleet.minimum for fleet in bounds),
            "MaxWorkers": sum(fleet.maximum for fleet in bounds),
        }
        # A web server that answers is there; so are not CREATING, DELETED and the like.
        status = "AVAILABLE" if live.healthy() else "UNAVAILABLE"
        return {**self._members, "Status": status, **(workers if bounds else {})}


def _variable_of(option: str) -> str:
    section, _, key = option.rpartition(".")
    return f"AIRFLOW__{re.sub(r'[^A-Z0-9]', '_', section.upper())}__{key.upper()}"
