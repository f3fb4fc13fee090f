# SPDX-License-Identifier: Apache-2.0
"""Proves the caller's AWS identity to an environment; its credentials stay on this machine.

Where an account's tokens are trusted and the caller may request one, the proof is a JSON Web Token of STS. Else it is
a presigned `sts:GetCallerIdentity`, for which every AWS identity has the permission.
"""

import base64
import json
import os
from collections.abc import Collection
from typing import Any

from openmwaa.operate.connection import Connection, aws_errors
from openmwaa.operate.errors import CredentialsError
from openmwaa.presigned_identity import LIFETIME_S, presigned_identity
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.verifier import STS_PROOF_PREFIX

_NO_TOKEN = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "InvalidAction",  # an STS without it
        "OutboundWebIdentityFederationDisabled",
        "OutboundWebIdentityFederationDisabledException",
        "SessionDurationEscalation",  # the caller's session ends earlier than the token would
        "SessionDurationEscalationException",
    }
)


def identity_proof(
    connection: Connection, session: Any, environment: EnvironmentArn, token_issuers: Collection[str], host: str
) -> str:
    """Return a proof of the identity of a boto3 session, for one login at the environment within a minute.

    Only a presigned proof is bound to `host`, the name of the web server: the audience of a token is the environment.

    Raises:
        CredentialsError: the session has no credentials, or AWS does not accept them.
        UnreachableError: STS does not answer.
    """
    endpoint = connection.endpoints.get("aws") or environment.sts_endpoint(os.environ)
    with aws_errors(connection, "sts:GetWebIdentityToken", str(environment)):
        credentials = session.get_credentials()
        if credentials is None:
            raise CredentialsError("No AWS credentials. Set AWS_PROFILE or log in, for example `aws sso login`.")
        token = _web_identity_token(session, environment, endpoint) if token_issuers else None
        if token and _issuer(token) in token_issuers:
            return token
        return presigned_identity(credentials.get_frozen_credentials(), environment, endpoint, host)


def describe_proof(proof: str, *, local: bool) -> str:
    """Return the kind of a proof in words; the issuer of an environment on this machine is named as local."""
    if proof.startswith(STS_PROOF_PREFIX):
        return "presigned request to STS"
    return f"JSON Web Token of {'the local issuer ' if local else ''}{_issuer(proof)}"


def _web_identity_token(session: Any, environment: EnvironmentArn, endpoint: str) -> str | None:
    from botocore.config import Config  # noqa: PLC0415 - boto3 is an extra
    from botocore.exceptions import ClientError  # noqa: PLC0415

    config = Config(connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 2, "mode": "standard"})
    client = session.client("sts", region_name=environment.region, endpoint_url=endpoint, config=config)
    try:
        answer = client.get_web_identity_token(
            Audience=[str(environment)], DurationSeconds=LIFETIME_S, SigningAlgorithm="ES384"
        )
    except ClientError as error:
        if error.response["Error"]["Code"] in _NO_TOKEN:
            return None
        raise
    return str(answer["WebIdentityToken"])


def _issuer(token: str) -> str:
    claims = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iss"])
