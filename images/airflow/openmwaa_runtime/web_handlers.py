# SPDX-License-Identifier: Apache-2.0
"""All handlers of the web server beside Airflow's own, wired by the variables of the container."""

import os
import time
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from openmwaa_runtime.auth.access import AccessPolicy, RequestContext
from openmwaa_runtime.auth.airflow_port import AirflowPort, Handler
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.audit import AuditLog
from openmwaa_runtime.auth.cli_door import CliRunner
from openmwaa_runtime.auth.client_address import client_address
from openmwaa_runtime.auth.doors import PREFIXES, Doors
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest
from openmwaa_runtime.auth.iam_policy import IamPolicy, open_iam
from openmwaa_runtime.auth.jwt_proof import IssuerKeys, JwtProofVerifier
from openmwaa_runtime.auth.login_store import LoginStore, PostgresLoginStore
from openmwaa_runtime.auth.logins import Logins
from openmwaa_runtime.auth.pinned_http import PinnedHttp
from openmwaa_runtime.auth.principal import Principal
from openmwaa_runtime.auth.scaler_client import ScalerClient
from openmwaa_runtime.auth.scaler_page import PATH as SCALER_PATH
from openmwaa_runtime.auth.scaler_page import ScalerPage
from openmwaa_runtime.auth.settings import AuthSettings
from openmwaa_runtime.auth.sts_proof import StsProofVerifier
from openmwaa_runtime.auth.tokens import TokenIssuer
from openmwaa_runtime.auth.verifier import ProofVerifier
from openmwaa_runtime.auth.web_session import RevokedSessions
from openmwaa_runtime.mwaa_api.app import PATH as API_PATH
from openmwaa_runtime.mwaa_api.app import MwaaApi
from openmwaa_runtime.mwaa_api.credentials import issue_credentials
from openmwaa_runtime.mwaa_api.environment import VARIABLE, EnvironmentDescription
from openmwaa_runtime.mwaa_api.live_environment import RunningEnvironment
from openmwaa_runtime.mwaa_api.operations import Operations
from openmwaa_runtime.mwaa_api.sigv4 import HOST_PREFIXES, SignatureVerifier, served_hosts
from openmwaa_runtime.release import installed_release

SCALER_KEY: Final = "OPENMWAA_SCALER_OVERRIDES_KEY"
API_CALL_S: Final = 60.0
"""MWAA's limit is 10 s."""
_KEPT_FROM_COMMANDS: Final = frozenset(
    {
        *("OPENMWAA_API_SECRET_KEY", SCALER_KEY),
        *("AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"),
    }
)
"""Commands of Airflow need none of them: with them a command could sign tokens, or overrides."""


def policy_of(settings: AuthSettings) -> AccessPolicy:
    """IAM after the static table, or the table alone."""
    if settings.role_source == "TABLE":
        return settings.role_table
    return IamPolicy(open_iam(settings.environment), settings.role_table, time.time)


def verifiers_of(settings: AuthSettings, store: LoginStore, environ: Mapping[str, str]) -> dict[str, ProofVerifier]:
    """The verifier of presigned requests, and that of tokens if the account's issuers are configured."""
    endpoint = settings.environment.sts_endpoint(environ)
    sts = StsProofVerifier(
        settings.environment,
        endpoint,
        store,
        time.time,
        PinnedHttp(endpoint),
        settings.role_table.accounts,
        host_names(web_urls(environ)),
    )
    found: dict[str, ProofVerifier] = {"sts": sts}
    if settings.token_issuers:
        issuers = {
            issuer: (account, IssuerKeys(PinnedHttp(issuer))) for issuer, account in settings.token_issuers.items()
        }
        found["jwt"] = JwtProofVerifier(settings.environment, issuers, store, time.time)
    return found


def web_urls(environ: Mapping[str, str]) -> list[str]:
    """The addresses of the web server."""
    return [url for name in ("OPENMWAA_WEB_URL", "OPENMWAA_PRIVATE_WEB_URL") if (url := environ.get(name))]


def host_names(urls: Iterable[str]) -> frozenset[str]:
    """The names of the certificate for these addresses: also inside the VPC, and those of MWAA's API."""
    hosts = {urlsplit(url).hostname or "" for url in urls}
    return frozenset(
        prefix + inside + host for host in hosts for inside in ("", "internal.") for prefix in ("", *HOST_PREFIXES)
    )


def handlers(environ: Mapping[str, str], airflow: AirflowPort) -> Handler:
    """Return the handler of all paths below the login's prefixes.

    Raises:
        UsageError: a variable is missing or invalid.
    """
    settings, store, audit = AuthSettings.read(environ), PostgresLoginStore.of_web_server(environ), AuditLog(print)
    tokens = TokenIssuer(settings.secret, settings.environment, store, time.time)
    logins = Logins(
        verifiers_of(settings, store, environ),
        policy_of(settings),
        tokens,
        urlsplit(settings.web_url).netloc,
        settings.cli_role_scoping,
    )

    secure = urlsplit(settings.web_url).scheme == "https"

    def context(request: HttpRequest) -> RequestContext:
        return RequestContext(client_address(request, settings.proxy_hops), secure)

    doors = Doors(
        logins=logins,
        environment_name=settings.environment.name,
        airflow=airflow,
        store=store,
        credentials=lambda principal: issue_credentials(tokens, principal),
        run_command=_command_runner().run,
        context=context,
        audit=audit,
        single_dags=bool(settings.dag_access),
    )
    verifier = SignatureVerifier(
        region=settings.environment.region,
        hosts=served_hosts(web_urls(environ)),
        tokens=tokens,
        clock=time.time,
        revoked=RevokedSessions(store.revoked),
    )
    scaler_url = environ.get("OPENMWAA_SCALER_URL")
    scaler = ScalerClient(scaler_url, environ.get(SCALER_KEY, "")) if scaler_url else None
    operations = _operations(environ, settings, logins, airflow, scaler)
    api = MwaaApi(verifier=verifier, operations=operations, store=store, audit=audit, context=context)

    routes: dict[str, Handler] = {f"{API_PATH}/": api.handle}
    if scaler:
        routes[SCALER_PATH] = ScalerPage(
            scaler,
            f"{PREFIXES[0]}/login",
            lambda token: _list_dags(airflow, token),
            airflow.session,
            audit,
            lambda request: context(request).source_ip,
        ).handle

    def handle(request: HttpRequest) -> HttpAnswer:
        found = next((route for path, route in routes.items() if request.raw_path.startswith(path)), doors.handle)
        return found(request)

    return handle


def _command_runner() -> CliRunner:
    variables = {name: value for name, value in os.environ.items() if name not in _KEPT_FROM_COMMANDS}
    # Airflow writes warnings to the standard output, before the JSON of `-o json`.
    return CliRunner({**variables, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"})


def _list_dags(airflow: AirflowPort, token: str) -> int:
    request = HttpRequest("GET", f"{installed_release().api}/dags", "limit=1", (), b"", "")
    return airflow.call(request, token, API_CALL_S).status


def _operations(
    environ: Mapping[str, str],
    settings: AuthSettings,
    logins: Logins,
    airflow: AirflowPort,
    scaler: ScalerClient | None,
) -> Operations:
    release = installed_release()

    def health() -> bytes:
        return airflow.call(HttpRequest("GET", release.health, "", (), b"", ""), "", API_CALL_S).body

    def call_airflow(
        principal: Principal, role: AirflowRole, method: str, path: str, query: str, body: bytes
    ) -> tuple[int, bytes]:
        token = airflow.mint(principal, role, int(time.time()), int(API_CALL_S) + 1)
        headers = (("content-type", "application/json"), ("accept", "application/json"))
        answer = airflow.call(HttpRequest(method, path, query, headers, body, ""), token, API_CALL_S)
        return answer.status, answer.body

    return Operations(
        environment=settings.environment,
        description=EnvironmentDescription(environ[VARIABLE], environ),
        logins=logins,
        live=RunningEnvironment(scaler, health),
        call_airflow=call_airflow,
        api_prefix=release.api,
    )
