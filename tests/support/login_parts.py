# SPDX-License-Identifier: Apache-2.0
"""Parts of the login for tests: a policy of a table, and doors with both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from openmwaa_runtime.auth.access import Grant, RequestContext, RoleAction
from openmwaa_runtime.auth.airflow_port import AirflowSession
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.audit import AuditLog
from openmwaa_runtime.auth.cli_door import CommandResult
from openmwaa_runtime.auth.doors import Doors
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AccessDeniedError, ProofError
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest
from openmwaa_runtime.auth.logins import SESSION_S, Logins
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.tokens import TokenIssuer
from tests.support.fake_login_store import FakeLoginStore

ENVIRONMENT = EnvironmentArn.read("arn:aws:airflow:eu-west-1:123456789012:environment/analytics")
ANNA = Principal.read("arn:aws:sts::123456789012:assumed-role/analyst/anna", Proof.STS)
SECRET = "the secret of the web servers of this test"


@dataclass
class TablePolicy:
    """Grants the roles and actions of a table: principal's ARN -> roles."""

    roles: dict[str, Sequence[AirflowRole]]
    actions: set[str] = field(default_factory=lambda: {"airflow:CreateCliToken"})

    def role(
        self, principal: Principal, action: RoleAction, wanted: AirflowRole | None, context: RequestContext
    ) -> Grant:
        assert context.source_ip
        granted = [role for role in self.roles.get(principal.arn, ()) if wanted in (None, role)]
        if not granted:
            raise AccessDeniedError(f"No Airflow role granted in IAM for {action}")
        return Grant(max(granted, key=lambda role: role.rank), ("table",))

    def allow(self, principal: Principal, action: str, context: RequestContext) -> Sequence[str]:
        if principal.arn not in self.roles or action not in self.actions:
            raise AccessDeniedError(f"{action} is not allowed")
        return ("table",)


class NamedProof:
    """A verifier whose proof is the prefix and the ARN."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix

    def verify(self, proof: str) -> Principal:
        arn = proof.removeprefix(self._prefix)
        if arn == "forged":
            raise ProofError("the proof is not valid")
        return Principal.read(arn, Proof.STS)


@dataclass
class World:
    """One environment: what its web servers share, a clock, and what they wrote."""

    policy: TablePolicy
    store: FakeLoginStore = field(default_factory=FakeLoginStore)
    now: float = 1_800_000_000.0
    lines: list[str] = field(default_factory=list)
    opened: list[tuple[Principal, AirflowRole]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def tokens(self, environment: EnvironmentArn = ENVIRONMENT, secret: str = SECRET) -> TokenIssuer:
        """The tokens of one web server."""
        return TokenIssuer(secret, environment, self.store, lambda: self.now)

    def doors(self, *, cli_role_scoping: bool = True, **more: Any) -> Doors:
        """The doors of one web server, whose commands print their words."""
        logins = Logins(
            {"sts": NamedProof("openmwaa-v1.")}, self.policy, self.tokens(), "web.example.com", cli_role_scoping
        )
        return Doors(
            **{
                "logins": logins,
                "environment_name": "analytics",
                "airflow": OpenedSessions(self),
                "store": self.store,
                "clock": lambda: self.now,
                "credentials": lambda principal: {"Version": 1, "AccessKeyId": principal.name},
                "run_command": lambda words: CommandResult(0, " ".join(words).encode(), b""),
                "context": lambda request: RequestContext(request.peer),
                "audit": AuditLog(self.lines.append),
                **more,
            }
        )


class OpenedSessions:
    """An AirflowPort that records sessions in a world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def mint(self, principal: Principal, role: AirflowRole, session_start: int, lifetime_s: int = SESSION_S) -> str:
        assert lifetime_s == SESSION_S
        self._world.starts.append(session_start)
        self._world.opened.append((principal, role))
        return "bearer"

    def cookies(self, token: str) -> Sequence[str]:
        return (f"_token={token}; Path=/",)

    def session(self, token: str) -> AirflowSession:
        raise NotImplementedError

    def call(self, request: HttpRequest, token: str, timeout_s: float) -> HttpAnswer:
        raise NotImplementedError


def request(
    method: str, path: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None, query: str = ""
) -> HttpRequest:
    """A request from 203.0.113.7."""
    return HttpRequest(method, path, query, tuple((headers or {}).items()), body, "203.0.113.7")
