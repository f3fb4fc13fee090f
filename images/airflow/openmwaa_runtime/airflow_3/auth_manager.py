# SPDX-License-Identifier: Apache-2.0
"""Airflow 3's auth manager for IAM login: users are AWS principals, and roles are FAB's five, as in MWAA.

`fab_decisions.json` has what FAB grants to the roles; `tools/fab_reference.py` writes it.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from airflow.api_fastapi.app import AUTH_MANAGER_FASTAPI_APP_PREFIX
from airflow.api_fastapi.auth.managers.base_auth_manager import BaseAuthManager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.configuration import conf
from jwt import ExpiredSignatureError, InvalidTokenError

from openmwaa_runtime.airflow_3.web_app import AirflowInProcess, DoorsMiddleware, send_answer
from openmwaa_runtime.auth import pages
from openmwaa_runtime.auth.airflow_port import AirflowSession
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.dag_access import DagRoles
from openmwaa_runtime.auth.errors import ProofError
from openmwaa_runtime.auth.http_message import HttpAnswer
from openmwaa_runtime.auth.login_store import PostgresLoginStore
from openmwaa_runtime.auth.logins import SESSION_S
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.settings import AuthSettings
from openmwaa_runtime.auth.web_session import RevokedSessions
from openmwaa_runtime.web_handlers import handlers

_LOWEST_ROLE: Final[Mapping[str, Mapping[str, str]]] = json.loads(
    Path(__file__).with_name("fab_decisions.json").read_text("utf-8")
)["lowest_role"]
# Kind of resource -> method or name -> the rank of the lowest role that has it.
_LOWEST_RANK: Final = {
    kind: {key: AirflowRole(role).rank for key, role in rows.items()} for kind, rows in _LOWEST_ROLE.items()
}


def _allows(kind: str, key: str, role: AirflowRole | None) -> bool:
    """What FAB does not grant, and what it does not have, is denied to all."""
    lowest = _LOWEST_RANK.get(kind, {}).get(str(key))
    return role is not None and lowest is not None and role.rank >= lowest


def _by_method(kind: str) -> Callable[..., bool]:
    """Decide without details: FAB's roles have all resources of a kind or none."""

    def decide(_: object, *, method: str, user: "IamUser", **_details: object) -> bool:
        return _allows(kind, method, user.role)

    return decide


def _all_or_none(kind: str, names: str) -> Callable[..., set[str]]:
    """Filter names with one decision."""

    def keep(_: object, *, user: "IamUser", method: str = "GET", **arguments: Any) -> set[str]:
        return set(arguments[names]) if _allows(kind, method, user.role) else set()

    return keep


@dataclass(frozen=True)
class IamUser(BaseUser):  # type: ignore[misc] # mypy runs without Airflow
    """A session of a principal."""

    principal: Principal
    role: AirflowRole
    session_start: int
    """In seconds since 1970. A session ends 12 h later, however often its token is exchanged for another one."""

    @property
    def session_end(self) -> int:
        """The latest expiry of a token."""
        return self.session_start + SESSION_S

    def get_id(self) -> str:
        """The ARN, which is unique among accounts. `assigned_users` of a human task contains it."""
        return self.principal.arn

    def get_name(self) -> str:
        """The name in Airflow's pages and logs."""
        return self.principal.user_name


class IamAuthManager(BaseAuthManager):  # type: ignore[misc] # mypy runs without Airflow
    """Decides by the table of the roles; the login itself happens at MWAA's doors."""

    async def get_user_from_token(self, token: str) -> BaseUser:
        """Read a token in a thread: Airflow and `deserialize_user` read the database: the event loop goes on."""
        return await asyncio.to_thread(asyncio.run, super().get_user_from_token(token))

    def deserialize_user(self, token: dict[str, Any]) -> IamUser:
        """Read the claims of a token whose signature is valid.

        Raises:
            ValueError: it is not a token of this environment.
            InvalidTokenError: the session is over or revoked.
        """
        if token["environment"] != self._environment:
            raise ValueError("the token is not one of this environment")
        try:
            principal = Principal.read(token["sub"], Proof(token["proof"]))
            user = IamUser(principal, AirflowRole(token["role"]), int(token["session_start"]))
        except (ProofError, TypeError) as error:
            raise ValueError("the token has no principal") from error
        if user.session_end <= time.time():
            raise ExpiredSignatureError("the session has lasted 12 hours")
        if self._revoked.contains(principal.arn, user.session_start):
            raise InvalidTokenError("the session is revoked")
        return user

    def serialize_user(self, user: IamUser) -> dict[str, Any]:
        """The claims of a token."""
        return {
            "sub": user.principal.arn,
            "proof": user.principal.proof.value,
            "role": user.role.value,
            "session_start": user.session_start,
            "environment": self._environment,
        }

    def generate_jwt(self, user: IamUser, *, expiration_time_in_seconds: int = SESSION_S) -> str:
        """Sign a token. Airflow's UI and CLI call this for further tokens of a session, too."""
        lifetime = min(expiration_time_in_seconds, user.session_end - time.time())
        token: str = self._get_token_signer().generate(self.serialize_user(user), valid_for=lifetime)
        return token

    def get_url_login(self, **_: Any) -> str:
        """The page that explains the login. It leads nowhere, so `next` has no effect."""
        return f"{AUTH_MANAGER_FASTAPI_APP_PREFIX}/login"

    def get_fastapi_app(self) -> Any:
        """The application at `/auth`: the page."""
        page = pages.instructions(self._settings.environment.name)

        async def login_page(scope: dict[str, Any], _: Any, send: Any) -> None:
            is_page = scope["type"] == "http" and scope["path"].removeprefix(scope.get("root_path", "")) == "/login"
            await send_answer(send, page if is_page else HttpAnswer(404))

        return login_page

    def get_fastapi_middlewares(self) -> list[tuple[Any, dict[str, Any]]]:
        """The doors. A plugin cannot serve them: Airflow reserves `/pluginsv2`."""
        web_url = self._settings.web_url

        def mint(principal: Principal, role: AirflowRole, session_start: int, *, lifetime_s: int) -> str:
            user = IamUser(principal, role, session_start)
            return self.generate_jwt(user, expiration_time_in_seconds=lifetime_s)

        airflow = AirflowInProcess(mint, web_url, self._session)
        handler = handlers(os.environ, airflow)
        origins = conf.getlist("api", "access_control_allow_origins")
        options = {"handler": handler, "airflow": airflow, "web_url": web_url}
        return [(DoorsMiddleware, {**options, "allowed_origins": origins})]

    async def _session(self, token: str) -> AirflowSession:
        try:
            user = await self.get_user_from_token(token)
        except InvalidTokenError as error:
            raise ProofError("the session is not valid, or it has ended; use `openmwaa login`") from error
        return AirflowSession(user.principal, user.role)

    is_authorized_configuration = _by_method("configuration")
    is_authorized_connection = _by_method("connection")
    is_authorized_asset = _by_method("asset")
    is_authorized_asset_alias = _by_method("asset_alias")
    is_authorized_pool = _by_method("pool")
    is_authorized_variable = _by_method("variable")
    filter_authorized_connections = _all_or_none("connection", "conn_ids")
    filter_authorized_pools = _all_or_none("pool", "pool_names")
    filter_authorized_variables = _all_or_none("variable", "variable_keys")

    def is_authorized_dag(self, *, method: str, user: IamUser, access_entity: Any = None, details: Any = None) -> bool:
        """A DAG or a part of it; without details a list."""
        dag_id = details.id if details else None
        role: AirflowRole | None = user.role
        if dag_id:
            role = self._dag_roles.role(user.principal, user.role, dag_id)
        elif method == "GET":
            role = self._dag_roles.role_for_lists(user.principal, user.role)
        return _allows(f"dag {access_entity.name}" if access_entity else "dag", method, role)

    def is_authorized_team(self, *, method: str, user: IamUser, details: Any = None) -> bool:
        """Only Admin is a member of teams: FAB has none, and IAM names none."""
        return user.role is AirflowRole.ADMIN

    def is_authorized_view(self, *, access_view: Any, user: IamUser, **_: Any) -> bool:
        """A page that is read only."""
        return _allows("view", access_view.name, user.role)

    def is_authorized_custom_view(self, *, method: str, resource_name: str, user: IamUser) -> bool:
        """A resource that FAB does not have is a plugin's, and FAB grants those to Admin."""
        kind = f"custom {resource_name}"
        return _allows(kind, str(method), user.role) if kind in _LOWEST_RANK else user.role is AirflowRole.ADMIN

    def filter_authorized_menu_items(self, menu_items: list[Any], *, user: IamUser) -> list[Any]:
        """The items of the menu."""
        return [item for item in menu_items if _allows("menu", item.name, user.role)]

    def filter_authorized_dag_ids(self, *, dag_ids: set[str], user: IamUser, method: str = "GET", **_: Any) -> set[str]:
        """The DAGs, with one look at the mapping."""
        roles = self._dag_roles.roles(user.principal, user.role, dag_ids)
        return {dag_id for dag_id, role in roles.items() if _allows("dag", method, role)}

    def _get_teams(self) -> set[str]:
        return set()

    @cached_property
    def _settings(self) -> AuthSettings:
        return AuthSettings.read(os.environ)

    @cached_property
    def _environment(self) -> str:
        return str(self._settings.environment)

    @cached_property
    def _revoked(self) -> RevokedSessions:
        return RevokedSessions(PostgresLoginStore.of_web_server(os.environ).revoked)

    @cached_property
    def _dag_roles(self) -> DagRoles:
        return DagRoles(self._settings.dag_access, _dag_keys)


def _dag_keys(dag_ids: Collection[str] | None) -> dict[str, frozenset[str]]:
    from airflow.models.dag import DagModel, DagTag  # noqa: PLC0415 - only the web server needs the models
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    query = select(DagModel.dag_id, DagModel.bundle_name, DagTag.name).outerjoin(
        DagTag, DagTag.dag_id == DagModel.dag_id
    )
    if dag_ids is not None:
        query = query.where(DagModel.dag_id.in_(dag_ids))
    found: dict[str, set[str]] = {}
    with create_session() as session:
        for dag_id, bundle, tag in session.execute(query):
            found.setdefault(dag_id, {f"bundle:{bundle}"}).add(f"tag:{tag}")
    return {dag_id: frozenset(keys) for dag_id, keys in found.items()}
