# SPDX-License-Identifier: Apache-2.0
"""Clients for a running environment: AWS by the standard variables and the file's Region, or this machine.

Every call runs within `aws_errors`, which turns a botocore exception into one sentence with the missing permission or
the command that helps.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmwaa.commands import command
from openmwaa.config.environment import Environment
from openmwaa.config.environment_file import load
from openmwaa.operate.errors import (
    CredentialsError,
    MissingExtraError,
    NotRunningError,
    OperateError,
    PermissionMissingError,
    UnreachableError,
)

_REFUSED = frozenset(
    {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "NotAuthorized", "AuthorizationError"}
)
_BAD_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_SERVER_ERROR = 500


@dataclass(frozen=True)
class Connection:
    """The clients of one environment."""

    environment: Environment
    file: Path
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """`aws`, `ecs` and `web` of the environment on this machine; empty for AWS."""

    @property
    def local(self) -> bool:
        """Whether the environment runs on this machine."""
        return bool(self.endpoints)

    @property
    def resource_name(self) -> str:
        """The prefix of the stack's resource names; also the name of its ECS cluster."""
        return f"openmwaa-{self.environment.name}"

    @property
    def place(self) -> str:
        """The Region, or this machine, for a sentence."""
        return "this machine" if self.local else self.environment.region

    def command(self, *words: str) -> str:
        """Return the command `openmwaa WORDS` for this environment."""
        return command(*words, file=self.file)

    @property
    def target(self) -> str:
        """The Region, or `local`, for JSON."""
        return "local" if self.local else self.environment.region

    def client(self, service: str) -> Any:
        """Return a boto3 client with timeouts of seconds, not minutes.

        Raises:
            CredentialsError: the profile of AWS_PROFILE does not exist.
        """
        from botocore.config import Config  # noqa: PLC0415 - boto3 is an extra

        more: dict[str, Any] = {}
        if self.local:
            more = {
                "endpoint_url": self.endpoints.get(service, self.endpoints["aws"]),
                "aws_access_key_id": "test",
                "aws_secret_access_key": "test",
            }
        config = Config(
            connect_timeout=5,
            read_timeout=15,
            retries={"total_max_attempts": 3, "mode": "standard"},
            proxies={} if self.local else None,
        )
        return boto_session(self).client(service, config=config, **more)


def boto_session(connection: Connection, **identity: str | None) -> Any:
    """Return a new boto3 session, because the default one is shared and not safe for threads.

    Raises:
        CredentialsError: the profile does not exist.
    """
    boto3 = _boto3()
    from botocore.exceptions import ProfileNotFound  # noqa: PLC0415

    try:
        return boto3.session.Session(region_name=connection.environment.region, **identity)
    except ProfileNotFound as error:
        raise CredentialsError(f"{error}; see AWS_PROFILE.") from error


def connect(file: Path, *, local: bool | None) -> Connection:
    """Return the connection to the environment that `file` describes; for None, to the one on this machine if it runs.

    Raises:
        EnvironmentFileError: the file is not valid.
        NotRunningError: the environment on this machine does not run, or it is starting.
        MissingExtraError: a package is not installed.
    """
    environment = load(file)
    _boto3()
    if local is False:
        return Connection(environment, file)
    try:
        from openmwaa.local.daemon import daemon_client  # noqa: PLC0415 - needs the extra `local`
        from openmwaa.local.paths import LocalPaths  # noqa: PLC0415
    except ImportError as error:
        if local is None:
            return Connection(environment, file)
        raise MissingExtraError(f"`--local` needs {error.name}: install openmwaa with its extra `local`") from None
    known = daemon_client.status(LocalPaths.of(file, environment.name))
    if known is None and local is None:
        return Connection(environment, file)
    if known is None or "endpoints" not in known:
        state = "does not run" if known is None else "is starting"
        raise NotRunningError(
            f"{environment.name} {state} on this machine. Start it with `{command('local', 'up', file=file)}`, or use "
            "--aws for the environment in AWS."
        )
    endpoints = {name: known["endpoints"][name] for name in ("aws", "ecs")}
    return Connection(environment, file, {**endpoints, "web": known.get("web_address") or ""})


@contextlib.contextmanager
def aws_errors(connection: Connection, permission: str, resource: str) -> Iterator[None]:
    """Translate the botocore exceptions of the body; `permission` such as ssm:GetParameters, `resource` in words.

    Raises:
        OperateError: a subclass whose text names the remedy.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - boto3 is an extra

    try:
        yield
    except ClientError as error:
        raise _refused(error.response, connection, permission, resource) from error
    except BotoCoreError as error:
        raise _unreachable(error, connection) from error


def _refused(response: Any, connection: Connection, permission: str, resource: str) -> OperateError:
    details = response.get("Error", {})
    code, message = str(details.get("Code", "")), str(details.get("Message", "")).rstrip(".")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _REFUSED:
        return PermissionMissingError(
            f"AWS refuses {permission} on {resource}: {message or code}. "
            f"Allow {permission} there in an IAM policy of yours."
        )
    if code in _BAD_CREDENTIALS:
        return CredentialsError(
            f"AWS does not accept the credentials ({code}: {message}). Log in again, for example `aws sso login`, "
            "or set AWS_PROFILE."
        )
    if code == "ClusterNotFoundException":
        return NotRunningError(
            f"There is no ECS cluster {connection.resource_name} in {connection.place}. Run `terraform apply`, and "
            f"check the Region ({connection.environment.region}) and the account."
        )
    if "hrottl" in code or code in {"TooManyRequestsException", "RequestLimitExceeded"} or status >= _SERVER_ERROR:
        return UnreachableError(f"{permission} failed ({code}: {message}). Try again.")
    return OperateError(f"{permission} on {resource} failed: {code}: {message}.")


def _unreachable(error: Exception, connection: Connection) -> OperateError:
    from botocore import exceptions as known  # noqa: PLC0415

    bad_credentials = (
        known.NoCredentialsError,
        known.PartialCredentialsError,
        known.CredentialRetrievalError,
        known.TokenRetrievalError,
        known.SSOError,
        known.ProfileNotFound,
    )
    if isinstance(error, bad_credentials):
        return CredentialsError(
            f"No AWS credentials: {str(error).rstrip('.')}. Set AWS_PROFILE or log in, for example `aws sso login`; "
            f"`{connection.command('local', 'up')}` starts the environment on this machine."
        )
    hint = f"Check it with `{connection.command('status')}`." if connection.local else "Try again."
    return UnreachableError(f"No answer from {connection.place}: {str(error).rstrip('.')}. {hint}")


def _boto3() -> Any:
    try:
        import boto3  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("This command needs boto3: install openmwaa with its extra `live`") from None
    return boto3
