# SPDX-License-Identifier: Apache-2.0
"""Login with an AWS identity: the identity's proof in exchange for a token of the web server."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from openmwaa.config.regions import region_table
from openmwaa.operate.airflow_http import LOGIN_PATH, AirflowRefusedError, send, web_url
from openmwaa.operate.connection import Connection, aws_errors, boto_session
from openmwaa.operate.errors import CredentialsError, OperateError
from openmwaa.operate.identity_proof import describe_proof, identity_proof
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.verifier import STS_PROOF_PREFIX

Purpose = Literal["web", "cli", "api", "credentials", "revoke"]


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


@dataclass(frozen=True)
class Caller:
    """Who logs in, and where; each None is the default."""

    principal: str | None = None
    """One of the IAM users of an environment on this machine. Default: `admin`."""
    profile: str | None = None
    """The AWS profile of the identity. Default: AWS's standard variables."""
    account: str | None = None
    """The account of the environment. Default: that of the identity."""
    url: str | None = None
    """The address of the web server. Default: the domain of the file, or the address in ECS."""

    def web_url(self, connection: Connection) -> str:
        """Return the address of the web server, without a slash at the end.

        Raises:
            OperateError: it is not one, or it sends a proof in plain text although the environment has HTTPS.
        """
        if self.url is None:
            return web_url(connection)
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OperateError(f"--url {self.url} is not an address such as https://airflow.example.com.")
        https = not (connection.local or connection.environment.web_access.allow_http)
        if parts.scheme == "http" and https and not _is_loopback(parts.hostname):
            raise OperateError(f"--url {self.url} would send your proof of identity in plain text: use https://.")
        return self.url.rstrip("/")

    def web_host(self, connection: Connection) -> str:
        """Return the name of the web server for the proof; through a tunnel, the name is the environment's own.

        Raises:
            OperateError: it cannot be read.
        """
        host = urlsplit(self.web_url(connection)).hostname or ""
        return urlsplit(web_url(connection)).hostname or "" if _is_loopback(host) else host


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


DEFAULT_CALLER: Final = Caller()


def exchange(
    connection: Connection,
    purpose: Purpose,
    caller: Caller = DEFAULT_CALLER,
    *,
    role: str | None = None,
    principal: str | None = None,
) -> Mapping[str, Any]:
    """Prove the caller's identity, and return the answer of the web server, with the kind of proof.

    `principal` is the ARN of the principal whose sessions to revoke; None: the caller.

    Raises:
        CredentialsError: there are no credentials, or no such principal.
        OperateError: the login is denied or not possible; the text is the server's.
    """
    session = _local_session(connection, caller) if connection.local else _aws_session(connection, caller)
    environment = _environment_arn(connection, session, caller.account)
    issuers = [trusted.issuer for trusted in connection.environment.web_access.iam_login.token_issuers]
    if connection.local:
        issuers.append(connection.endpoints["aws"])  # the emulated STS is the local issuer
    host, url = caller.web_host(connection), f"{caller.web_url(connection)}{LOGIN_PATH}/exchange"

    def answer_to(proof: str) -> dict[str, Any]:
        content = json.dumps({"proof": proof, "purpose": purpose, "role": role, "principal": principal}).encode()
        return dict(send(connection, "POST", url, content))

    # A token does not name the session of a role, and the environment may not trust its issuer any more. A row of the
    # role table may name the session that keys of `credentials` are for.
    for trusted in [()] if purpose == "credentials" else [issuers, ()]:
        proof = identity_proof(connection, session, environment, trusted, host)
        presigned = not trusted or proof.startswith(STS_PROOF_PREFIX)
        try:
            answer = answer_to(proof)
        except AirflowRefusedError:
            if presigned:
                raise
            continue
        if presigned or purpose != "revoke":
            break  # else the sessions of both kinds of proof end: their principals differ
    if purpose == "credentials":  # its format is that of `credential_process`
        return answer
    return {**answer, "proof": describe_proof(proof, local=connection.local)}


def _environment_arn(connection: Connection, session: Any, account: str | None) -> EnvironmentArn:
    region = connection.environment.region
    if account is None:
        with aws_errors(connection, "sts:GetCallerIdentity", "the caller"):
            sts = session.client("sts", region_name=region, endpoint_url=connection.endpoints.get("aws"))
            account = str(sts.get_caller_identity()["Account"])
    return EnvironmentArn(region_table().partitions[region], region, account, connection.environment.name)


def _aws_session(connection: Connection, caller: Caller) -> Any:
    if caller.principal is not None:
        raise OperateError("`--as` is for an environment on this machine. In AWS set AWS_PROFILE.")
    return boto_session(connection, profile_name=caller.profile)


def _local_session(connection: Connection, caller: Caller) -> Any:
    from openmwaa.local.paths import LocalPaths  # noqa: PLC0415 - needs the extra `local`
    from openmwaa.local.services import principals  # noqa: PLC0415

    if caller.profile is not None:
        return boto_session(connection, profile_name=caller.profile)
    keys = principals.read(LocalPaths.of(connection.file, connection.environment.name).principals)
    name = caller.principal or principals.DEFAULT
    if name not in keys:
        names = ", ".join(keys) or f"none; run `{connection.command('local', 'up')}` again"
        raise CredentialsError(f"There is no principal {name} on this machine. Principals: {names}.")
    return boto_session(connection, aws_access_key_id=keys[name].key_id, aws_secret_access_key=keys[name].secret)
