# SPDX-License-Identifier: Apache-2.0
"""Login with an AWS identity: the identity's proof in exchange for a token of the web server."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from openmwaa.config.regions import region_table
from openmwaa.operate.airflow_http import LOGIN_PATH, send, web_url
from openmwaa.operate.connection import Connection, aws_errors, boto_session
from openmwaa.operate.errors import CredentialsError, OperateError
from openmwaa.operate.identity_proof import identity_proof
from openmwaa_runtime.auth.environment_arn import EnvironmentArn

Purpose = Literal["web", "cli", "api", "credentials"]


def required(connection: Connection) -> Connection:
    """Return the connection, if its environment has the login.

    Raises:
        OperateError: it has a password.
    """
    if connection.environment.web_access.login != "IAM":
        raise OperateError(
            "This environment has a password for its user `admin`, and no login with AWS identities. "
            "Set `web_access.login: IAM` and apply."
        )
    return connection


def exchange(
    connection: Connection, purpose: Purpose, *, role: str | None = None, principal: str | None = None
) -> Mapping[str, Any]:
    """Prove the caller's identity, and return the answer of the web server.

    `principal` is one of the IAM users of an environment on this machine; None: its `admin`, or in AWS the identity of
    the standard variables and profile.

    Raises:
        CredentialsError: there are no credentials, or no such principal.
        OperateError: the login is denied or not possible; the text is the server's.
    """
    session = _local_session(connection, principal) if connection.local else _aws_session(connection, principal)
    proof = identity_proof(connection, session, environment_arn(connection, session), _issuers(connection))
    content = json.dumps({"proof": proof, "purpose": purpose, "role": role}).encode()
    return dict(send(connection, "POST", f"{web_url(connection)}{LOGIN_PATH}/exchange", content))


def environment_arn(connection: Connection, session: Any) -> EnvironmentArn:
    """Return the ARN of the environment in the account of the session.

    Raises:
        OperateError: AWS does not answer, or does not accept the credentials.
    """
    region = connection.environment.region
    with aws_errors(connection, "sts:GetCallerIdentity", "the caller"):
        endpoint = connection.endpoints.get("aws")
        account = session.client("sts", region_name=region, endpoint_url=endpoint).get_caller_identity()["Account"]
    return EnvironmentArn(region_table().partitions[region], region, account, connection.environment.name)


def _issuers(connection: Connection) -> list[str]:
    return [trusted.issuer for trusted in connection.environment.web_access.iam_login.token_issuers]


def _aws_session(connection: Connection, principal: str | None) -> Any:
    if principal is not None:
        raise OperateError("`--as` is for an environment on this machine. In AWS set AWS_PROFILE.")
    return boto_session(connection)


def _local_session(connection: Connection, principal: str | None) -> Any:
    from openmwaa.local.paths import LocalPaths  # noqa: PLC0415 - needs the extra `local`
    from openmwaa.local.services import principals  # noqa: PLC0415

    keys = principals.read(LocalPaths.of(connection.file, connection.environment.name).principals)
    name = principal or principals.DEFAULT
    if name not in keys:
        names = ", ".join(keys) or f"none; run `{connection.command('local', 'up')}` again"
        raise CredentialsError(f"There is no principal {name} on this machine. Principals: {names}.")
    return boto_session(connection, aws_access_key_id=keys[name].key_id, aws_secret_access_key=keys[name].secret)
