# SPDX-License-Identifier: Apache-2.0
"""What the doors and MWAA's API need of Airflow: sessions, and calls of its own API in the same process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest
from openmwaa_runtime.auth.logins import SESSION_S
from openmwaa_runtime.auth.principal import Principal

Handler = Callable[[HttpRequest], HttpAnswer]


@dataclass(frozen=True)
class AirflowSession:
    """A session that is neither over nor revoked."""

    principal: Principal
    role: AirflowRole


class AirflowPort(Protocol):
    """Airflow, as the handlers of the doors see it."""

    def mint(self, principal: Principal, role: AirflowRole, session_start: int, lifetime_s: int = SESSION_S) -> str:
        """Return a token of Airflow, for the cookie or as Bearer. A session ends after 12 h."""
        ...

    def cookies(self, token: str) -> Sequence[str]:
        """Open a browser's session; the values of `Set-Cookie`. Airflow 2 does it for the request that is running."""
        ...

    def session(self, token: str) -> AirflowSession:
        """Return the session of a token of Airflow.

        Raises:
            ProofError: the token is not valid, or its session is over or revoked.
            AuthUnavailableError: the database does not answer.
        """
        ...

    def call(self, request: HttpRequest, token: str, timeout_s: float) -> HttpAnswer:
        """Send a request to Airflow's public API as the owner of the token; 504 after the time-out."""
        ...


Handlers = Callable[[Mapping[str, str], AirflowPort], Handler]
"""`openmwaa_runtime.web_handlers.handlers`: the variables of the container and Airflow -> the handler of all doors."""
