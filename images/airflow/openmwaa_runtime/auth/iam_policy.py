# SPDX-License-Identifier: Apache-2.0
"""Roles by IAM policies: IAM itself evaluates them (`iam:SimulatePrincipalPolicy`).

Only users and roles of the environment's own account have policies that IAM simulates. Principals of other accounts,
root users and federated users have a role only by a row of the static table, which comes first for all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from openmwaa_runtime.auth.access import Grant, RequestContext, RoleAction
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AuthUnavailableError, ProofError
from openmwaa_runtime.auth.policy_cache import PolicyCache
from openmwaa_runtime.auth.principal import Principal, PrincipalKind
from openmwaa_runtime.auth.role_table import WITHOUT_RESOURCE, RoleTable, action_denied, role_denied

GRANTED_FOR_S: Final = 60
DENIED_FOR_S: Final = 5
"""Also for an error of IAM: otherwise each waiting request would call a throttling IAM again."""
_CLIENT: Final = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
_TYPES: Final = {PrincipalKind.USER: "User", PrincipalKind.ROLE: "AssumedRole"}


@dataclass(frozen=True)
class PolicyDecision:
    """IAM's decision about one resource."""

    granted: bool
    policies: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """Condition keys in the policies whose values are not known here; the decision is then no grant."""


Decisions = Mapping[str, PolicyDecision]
"""By resource; empty if the user or role does not exist."""


def open_iam(environment: EnvironmentArn) -> Any:
    """Return a client of IAM with short timeouts; AWS_ENDPOINT_URL_IAM is respected."""
    return botocore.session.get_session().create_client("iam", region_name=environment.region, config=_CLIENT)


class IamPolicy:
    """The AccessPolicy of an environment whose roles are in IAM policies, after the rows of `table`."""

    def __init__(self, client: Any, table: RoleTable, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._environment = table.environment
        self._clock = clock
        self._decisions: PolicyCache[Decisions | AuthUnavailableError] = PolicyCache(clock)
        self._roles: PolicyCache[str] = PolicyCache(clock)

    def role(
        self, principal: Principal, action: RoleAction, wanted: AirflowRole | None, context: RequestContext
    ) -> Grant:
        """Return the highest granted role; the wanted one if it, or a role that includes it, is granted."""
        if self._table.find(principal):
            return self._table.role(principal, action, wanted, context)
        arns = {self._environment.role(role): role for role in reversed(AirflowRole)}

        def granted(decisions: Decisions) -> list[str]:
            found = [arn for arn, role in arns.items() if role.includes(wanted or role) and _granted(decisions, arn)]
            return found[-1:] if wanted else found[:1]

        decisions = self._decide(principal, action, tuple(arns), context, lambda found: bool(granted(found)))
        for arn in granted(decisions):
            return Grant(wanted or arns[arn], decisions[arn].policies)
        raise role_denied(self._environment, principal, action, wanted, _why(decisions))

    def allow(self, principal: Principal, action: str, context: RequestContext) -> Sequence[str]:
        """Return the policies that allow an action on the environment."""
        if self._table.find(principal):
            return self._table.allow(principal, action, context)
        arn = "*" if action in WITHOUT_RESOURCE else str(self._environment)
        decisions = self._decide(principal, action, (arn,), context, lambda found: _granted(found, arn))
        if not _granted(decisions, arn):
            raise action_denied(self._environment, principal, action, _why(decisions))
        return decisions[arn].policies

    def _decide(
        self,
        principal: Principal,
        action: str,
        arns: tuple[str, ...],
        context: RequestContext,
        granted: Callable[[Decisions], bool],
    ) -> Decisions:
        own = (principal.partition, principal.account) == (self._environment.partition, self._environment.account)
        if not own or principal.kind not in _TYPES:
            return {}
        identity = replace(principal, session=None)  # the policies of a session are those of its role

        def load() -> Decisions | AuthUnavailableError:
            try:
                return self._simulate(self._source(identity), identity, action, arns, context)
            except _NoSuchPrincipalError:
                return {}
            except AuthUnavailableError as error:
                return error

        def lifetime_s(found: Decisions | AuthUnavailableError) -> float:
            is_grant = not isinstance(found, AuthUnavailableError) and granted(found)
            return GRANTED_FOR_S if is_grant else DENIED_FOR_S

        found = self._decisions.get((identity, action, arns, context), load, lifetime_s)
        if isinstance(found, AuthUnavailableError):
            raise AuthUnavailableError(str(found))
        return found

    def _source(self, principal: Principal) -> str:
        """Return the ARN of the user or role with its path, which STS's answer does not contain for a role."""
        if principal.path is not None:
            return principal.arn
        return self._roles.get(principal, lambda: self._find_role(principal), lambda _: GRANTED_FOR_S)

    def _find_role(self, principal: Principal) -> str:
        arn = f"role/{principal.name}"
        answer = self._call("iam:GetRole", arn, lambda: self._client.get_role(RoleName=principal.name))
        try:
            found = Principal.read(answer["Role"]["Arn"], principal.proof)
        except (KeyError, TypeError, ProofError) as error:
            raise AuthUnavailableError("IAM's answer has no role") from error
        if replace(found, path=None) != principal:
            raise AuthUnavailableError(f"IAM's answer is about {found.arn}, not about the role {principal.name}")
        return found.arn

    def _simulate(
        self, source: str, principal: Principal, action: str, arns: Sequence[str], context: RequestContext
    ) -> Decisions:
        entries = list(self._context(source, principal, context))

        def ask(resources: Sequence[str]) -> Decisions:
            pages = self._client.get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=source, ActionNames=[action], ResourceArns=list(resources), ContextEntries=entries
            )

            def read() -> list[Mapping[str, Any]]:
                return [result for page in pages for result in page["EvaluationResults"]]

            results = self._call("iam:SimulatePrincipalPolicy", source, read)
            return _decisions(results, action)

        decisions = dict(ask(arns))
        # Emulators answer for the first resource only.
        for arn in arns if len(arns) > 1 else ():
            if arn not in decisions:
                decisions.update(ask([arn]))
        if missing := [arn for arn in arns if arn not in decisions]:
            raise AuthUnavailableError(f"IAM's answer has no decision about {missing[0]}")
        return decisions

    def _context(self, source: str, principal: Principal, context: RequestContext) -> Iterator[dict[str, Any]]:
        """Yield the condition keys whose values are known. A policy with any other key grants nothing here."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        values = {
            "aws:SourceIp": (context.source_ip, "ip"),
            "aws:SecureTransport": (str(context.secure).lower(), "boolean"),
            "aws:PrincipalArn": (source, "string"),
            "aws:PrincipalAccount": (principal.account, "string"),
            "aws:PrincipalType": (_TYPES[principal.kind], "string"),
            "aws:PrincipalIsAWSService": ("false", "boolean"),
            "aws:ViaAWSService": ("false", "boolean"),
            "aws:RequestedRegion": (self._environment.region, "string"),
            "aws:ResourceAccount": (self._environment.account, "string"),
            "aws:CurrentTime": (now.strftime("%Y-%m-%dT%H:%M:%SZ"), "date"),
        }
        if principal.kind is PrincipalKind.USER:
            values["aws:username"] = (principal.name, "string")
        for key, (value, kind) in values.items():
            if value:
                yield {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": kind}

    def _call(self, permission: str, resource: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("NoSuchEntity", "NoSuchEntityException"):
                raise _NoSuchPrincipalError from error
            if code.startswith("AccessDenied"):
                raise AuthUnavailableError(
                    f"the role of the web server may not call {permission} on {resource}: allow it, or set "
                    "`web_access.iam_login.role_source: TABLE`"
                ) from error
            raise AuthUnavailableError(f"IAM does not evaluate the policies ({code}); try again") from error
        except (BotoCoreError, KeyError, TypeError) as error:
            raise AuthUnavailableError("IAM does not answer; try again") from error


class _NoSuchPrincipalError(Exception):
    """IAM has no such user or role: it was deleted after the session began."""


def _decisions(results: Sequence[Mapping[str, Any]], action: str) -> Decisions:
    """Return the decisions about `action`. In AWS's answer they are inside its result, one for each resource."""
    found: dict[str, PolicyDecision] = {}
    for result in results:
        if result.get("EvalActionName") != action:
            continue
        specific = result.get("ResourceSpecificResults") or [
            {**result, "EvalResourceDecision": result.get("EvalDecision")}
        ]
        for row in specific:
            arn = str(row.get("EvalResourceName"))
            if arn not in found or found[arn].granted:  # a contradiction is no grant
                found[arn] = _decision(row)
    return found


def _decision(row: Mapping[str, Any]) -> PolicyDecision:
    missing = tuple(row.get("MissingContextValues") or ())
    boundary = row.get("PermissionsBoundaryDecisionDetail") or {"AllowedByPermissionsBoundary": True}
    organization = row.get("OrganizationsDecisionDetail") or {"AllowedByOrganizations": True}
    limits = (boundary.get("AllowedByPermissionsBoundary"), organization.get("AllowedByOrganizations"))
    policies = [str(statement.get("SourcePolicyId")) for statement in row.get("MatchedStatements") or ()]
    granted = row.get("EvalResourceDecision") == "allowed" and not missing and limits == (True, True)
    return PolicyDecision(granted, tuple(dict.fromkeys(policies)), missing)


def _granted(decisions: Decisions, arn: str) -> bool:
    return arn in decisions and decisions[arn].granted


def _why(decisions: Decisions) -> str:
    """Return the words after a denial, for its less obvious causes."""
    if missing := sorted({key for decision in decisions.values() for key in decision.missing}):
        return f"; conditions of its policies need {', '.join(missing)}, which a simulation does not have"
    return "" if decisions else "; only a row of `role_table` can grant it a role"
