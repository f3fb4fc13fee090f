# SPDX-License-Identifier: Apache-2.0
"""Exchanges a proof of the caller's AWS identity for a token or for keys of an environment."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Literal

from openmwaa.config.regions import region_table
from openmwaa.operate.airflow_api import TIMEOUT_S, AdminApi
from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import CredentialsError, UnreachableError
from openmwaa_runtime.auth.environment_arn import EnvironmentArn

Prove = Callable[[Connection, Any, EnvironmentArn, Collection[str]], str]
"""`openmwaa.operate.identity_proof.identity_proof`."""
_PATH: Final = "/aws_mwaa/exchange"
_SERVER_ERROR: Final = 500
_LONGEST_MESSAGE: Final = 1000


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would send the proof to another address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Return None: the redirect is an error."""


@dataclass(frozen=True)
class Exchange:
    """The exchange of one environment; `session` is the boto3 session of the caller's AWS identity."""

    connection: Connection
    session: Any
    prove: Prove
    url: str | None = None
    """The web server's address; left out, it is read from ECS."""
    account: str | None = None
    """The environment's account; left out, the caller's."""
    token_issuers: Collection[str] = ()

    def request(self, purpose: Literal["web", "cli", "api", "credentials"], role: str | None = None) -> dict[str, Any]:
        """Return the environment's answer.

        Raises:
            OperateError: AWS or the environment refuses or does not answer.
        """
        url = (self.url or AdminApi(self.connection).url).rstrip("/") + _PATH
        proof = self.prove(self.connection, self.session, self._environment_arn(), self.token_issuers)
        body = json.dumps({"proof": proof, "purpose": purpose, "role": role}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
        # A proxy of this machine does not reach it.
        handlers = [_NoRedirects(), *([urllib.request.ProxyHandler({})] if self.connection.local else [])]
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            with error:
                kind = UnreachableError if error.code >= _SERVER_ERROR else CredentialsError
                raise kind(f"{url} answered with {error.code}: {_message(error)}") from None
        except (OSError, ValueError) as error:
            raise UnreachableError(f"{url} does not answer: {error}. A private web server: use its network.") from None

    def _environment_arn(self) -> EnvironmentArn:
        environment = self.connection.environment
        partition = region_table().partitions.get(environment.region, "aws")
        return EnvironmentArn(partition, environment.region, self.account or self._caller_account(), environment.name)

    def _caller_account(self) -> str:
        with aws_errors(self.connection, "sts:GetCallerIdentity", "*"):
            endpoint = self.connection.endpoints.get("aws")
            sts = self.session.client("sts", region_name=self.connection.environment.region, endpoint_url=endpoint)
            return str(sts.get_caller_identity()["Account"])


def _message(error: urllib.error.HTTPError) -> str:
    try:
        found = json.loads(error.read(2 * _LONGEST_MESSAGE))
        return str(found["message"])[:_LONGEST_MESSAGE]
    except (OSError, ValueError, TypeError, KeyError):
        return str(error.reason)
