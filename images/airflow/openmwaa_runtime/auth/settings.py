# SPDX-License-Identifier: Apache-2.0
"""The variables of the web server's container that say how users log in."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.role_table import PrincipalPattern, RoleRow, RoleTable
from openmwaa_runtime.errors import MissingVariableError, UsageError

RoleSource = Literal["SIMULATION", "TABLE"]
_COMPONENT = "web-server"
_LOOPBACK = re.compile(r"http://127(\.\d{1,3}){3}:\d{1,5}", re.ASCII)
_NEEDED = ("OPENMWAA_ENVIRONMENT_ARN", "OPENMWAA_WEB_URL", "OPENMWAA_API_SECRET_KEY")


@dataclass(frozen=True)
class DagAccess:
    """Principals that have `role` for the DAGs with a tag, or of a bundle."""

    tag: str | None
    bundle: str | None
    principals: tuple[PrincipalPattern, ...]
    role: AirflowRole


@dataclass(frozen=True)
class AuthSettings:
    """The settings of IAM login. Create them with `AuthSettings.read`."""

    environment: EnvironmentArn
    web_url: str
    secret: str = field(repr=False)
    role_source: RoleSource
    role_table: RoleTable
    token_issuers: Mapping[str, str]
    """The accounts of trusted issuers of JSON Web Tokens, by the issuer's address."""
    cli_role_scoping: bool
    proxy_hops: int
    dag_access: tuple[DagAccess, ...]

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "AuthSettings":
        """Read the variables.

        Raises:
            UsageError: one is missing or invalid; the message has its name.
        """
        if missing := tuple(name for name in _NEEDED if not environ.get(name)):
            raise MissingVariableError(_COMPONENT, missing)
        environment = EnvironmentArn.read(environ["OPENMWAA_ENVIRONMENT_ARN"])
        scoping = _choice(environ, "OPENMWAA_CLI_ROLE_SCOPING", "true", "false") == "true"
        source = _choice(environ, "OPENMWAA_ROLE_SOURCE", "SIMULATION", "TABLE")
        return cls(
            environment=environment,
            web_url=environ["OPENMWAA_WEB_URL"],
            secret=environ["OPENMWAA_API_SECRET_KEY"],
            role_source="TABLE" if source == "TABLE" else "SIMULATION",
            role_table=RoleTable(environment, tuple(_role_rows(environ)), scoping),
            token_issuers=dict([*_issuers(environ), *_local_issuer(environ, environment)]),
            cli_role_scoping=scoping,
            proxy_hops=int(_choice(environ, "OPENMWAA_PROXY_HOPS", "0", "1", "2")),
            dag_access=tuple(_dag_access(environ)),
        )


def uses_iam_login(environ: Mapping[str, str]) -> bool:
    """Return whether OPENMWAA_LOGIN is IAM; without it the login has a password.

    Raises:
        UsageError: it is neither IAM nor PASSWORD.
    """
    return _choice(environ, "OPENMWAA_LOGIN", "PASSWORD", "IAM") == "IAM"


def _choice(environ: Mapping[str, str], name: str, default: str, *others: str) -> str:
    value = environ.get(name) or default
    if value not in (default, *others):
        raise UsageError(f"{name} must be {' or '.join((default, *others))}, not {value!r}")
    return value


def _role_rows(environ: Mapping[str, str]) -> Iterator[RoleRow]:
    name = "OPENMWAA_ROLE_TABLE"
    for row in _rows(environ, name, {"principal", "role"}):
        yield RoleRow(_pattern(name, row["principal"]), _role(name, row["role"]))


def _issuers(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    name = "OPENMWAA_TOKEN_ISSUERS"
    for row in _rows(environ, name, {"issuer", "account"}):
        issuer, account = row["issuer"], row["account"]
        if not (isinstance(issuer, str) and issuer.startswith("https://") and isinstance(account, str)):
            raise UsageError(f"{name}: an issuer is an address with https://, and an account is a text; got {row}")
        yield issuer, account


def _local_issuer(environ: Mapping[str, str], environment: EnvironmentArn) -> Iterator[tuple[str, str]]:
    """The issuer of an environment on one machine: the emulated STS, which decides about the other proof too."""
    name = "OPENMWAA_LOCAL_TOKEN_ISSUER"
    if issuer := environ.get(name):
        if not _LOOPBACK.fullmatch(issuer) or issuer != environment.sts_endpoint(environ):
            raise UsageError(f"{name} must be the STS of this environment, at http://127.…; it is for `openmwaa local`")
        yield issuer, environment.account


def _dag_access(environ: Mapping[str, str]) -> Iterator[DagAccess]:
    name = "OPENMWAA_DAG_ACCESS"
    for row in _rows(environ, name, {"tag", "principals", "role"}, {"bundle", "principals", "role"}):
        if not isinstance(row["principals"], list):
            raise UsageError(f"{name}: `principals` must be a list, not {row['principals']!r}")
        patterns = tuple(_pattern(name, text) for text in row["principals"])
        yield DagAccess(row.get("tag"), row.get("bundle"), patterns, _role(name, row["role"]))


def _rows(environ: Mapping[str, str], name: str, *keys: set[str]) -> list[dict[str, Any]]:
    """Return the objects of a JSON list, each with exactly one of the sets of keys."""
    try:
        rows = json.loads(environ.get(name) or "[]")
    except ValueError as error:
        raise UsageError(f"{name} is not JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) and set(row) in keys for row in rows):
        shapes = " or ".join("{" + ", ".join(sorted(shape)) + "}" for shape in keys)
        raise UsageError(f"{name} must be a JSON list of objects {shapes}")
    return rows


def _pattern(name: str, text: object) -> PrincipalPattern:
    try:
        return PrincipalPattern.read(str(text))
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error


def _role(name: str, text: object) -> AirflowRole:
    if text not in [*AirflowRole]:
        raise UsageError(f"{name}: {text!r} is not one of the roles {', '.join(AirflowRole)}")
    return AirflowRole(str(text))
