# SPDX-License-Identifier: Apache-2.0
"""IAM's own evaluation decides roles: what it does not clearly allow is no grant, and in an outage no user gets in."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, get_args

import pytest
from botocore.exceptions import ConnectTimeoutError, NoCredentialsError
from hypothesis import given
from hypothesis import strategies as st

from openmwaa_runtime.auth.access import RequestContext
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AccessDeniedError, AuthUnavailableError
from openmwaa_runtime.auth.iam_policy import DENIED_FOR_S, GRANTED_FOR_S, IamPolicy
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.role_table import PrincipalPattern, RoleRow, RoleTable
from tests.support.fake_iam import FakeIam, Json, Shape

ENVIRONMENT = EnvironmentArn.read("arn:aws:airflow:eu-west-1:123456789012:environment/prod")
PUBLIC, VIEWER, USER, OP, ADMIN = AirflowRole
IAM = "arn:aws:iam::123456789012"
STS = "arn:aws:sts::123456789012"
SSO = "AWSReservedSSO_Analysts_0123456789abcdef"
SSO_ARN = f"{IAM}:role/aws-reserved/sso.amazonaws.com/eu-west-1/{SSO}"
SESSION = Principal.read(f"{STS}:assumed-role/analysts/bob", Proof.STS)
ROLE_ARN = f"{IAM}:role/analysts"
CONTEXT = RequestContext("203.0.113.9")
SHAPES = get_args(Shape)


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def fake(*roles: AirflowRole, source: str = ROLE_ARN, **more: Any) -> FakeIam:
    granted = {ENVIRONMENT.role(role) for role in roles}
    return FakeIam(grants={source: granted}, roles={"analysts": ROLE_ARN, SSO: SSO_ARN}, **more)


def policy(iam: FakeIam, clock: Callable[[], float] | None = None, *rows: RoleRow) -> IamPolicy:
    return IamPolicy(iam.client(), RoleTable(ENVIRONMENT, rows), clock or Clock())


def granted(iam: FakeIam, principal: Principal = SESSION, wanted: AirflowRole | None = None) -> AirflowRole | None:
    try:
        return policy(iam).role(principal, "airflow:InvokeRestApi", wanted, CONTEXT).role
    except AccessDeniedError:
        return None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("in_policy", "wanted", "expected"),
    [
        ((VIEWER,), None, VIEWER),
        ((VIEWER, OP), None, OP),
        (tuple(AirflowRole), None, ADMIN),
        ((PUBLIC,), None, PUBLIC),
        ((), None, None),
        ((ADMIN,), VIEWER, VIEWER),
        ((ADMIN, VIEWER), VIEWER, VIEWER),
        ((VIEWER,), OP, None),
        ((USER, VIEWER), ADMIN, None),
        ((), PUBLIC, None),
    ],
)
def test_the_highest_granted_role_or_a_lower_wanted_one(
    shape: Shape, in_policy: tuple[AirflowRole, ...], wanted: AirflowRole | None, expected: AirflowRole | None
) -> None:
    assert granted(fake(*in_policy, shape=shape), wanted=wanted) is expected


@given(st.sets(st.sampled_from(AirflowRole)), st.none() | st.sampled_from(AirflowRole), st.sampled_from(SHAPES))
def test_a_role_is_never_above_the_granted_ones(
    in_policy: set[AirflowRole], wanted: AirflowRole | None, shape: Shape
) -> None:
    found = granted(fake(*in_policy, shape=shape), wanted=wanted)
    reachable = [role for role in AirflowRole if any(other.includes(role) for other in in_policy)]
    expected = max(reachable, key=lambda role: role.rank, default=None) if wanted is None else wanted
    assert found is (expected if expected in reachable else None)


def test_a_grant_has_the_names_of_its_policies() -> None:
    found = policy(fake(VIEWER, OP)).role(SESSION, "airflow:CreateWebLoginToken", None, CONTEXT)
    assert found.granted_by == ("policy of Op",)
    lower = policy(fake(VIEWER, ADMIN)).role(SESSION, "airflow:CreateWebLoginToken", USER, CONTEXT)
    assert (lower.role, lower.granted_by) == (USER, ("policy of Admin",))


NO_GRANTS: dict[str, Callable[[Json], object]] = {
    "a missing condition key": lambda row: row.update(MissingContextValues=["aws:MultiFactorAuthPresent"]),
    "an explicit deny": lambda row: row.update(EvalResourceDecision="explicitDeny"),
    "a decision of another kind": lambda row: row.update(EvalResourceDecision="Allowed"),
    "no decision": lambda row: row.update(EvalResourceDecision=None),
    "a permissions boundary": lambda row: row.update(
        PermissionsBoundaryDecisionDetail={"AllowedByPermissionsBoundary": False}
    ),
    "an organization": lambda row: row.update(OrganizationsDecisionDetail={"AllowedByOrganizations": False}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("what", NO_GRANTS)
def test_what_iam_does_not_clearly_allow_is_no_grant(what: str, shape: Shape) -> None:
    assert granted(fake(*AirflowRole, shape=shape, change=NO_GRANTS[what])) is None


def test_a_denial_names_the_condition_keys_that_are_not_known() -> None:
    iam = fake(VIEWER, change=NO_GRANTS["a missing condition key"])
    with pytest.raises(AccessDeniedError, match="need aws:MultiFactorAuthPresent"):
        policy(iam).role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)


OTHER_RESOURCES: dict[str, Callable[[str], str]] = {
    "another environment": lambda arn: arn.replace("/prod/", "/prod-2/"),
    "another account": lambda arn: arn.replace("123456789012", "210987654321"),
    "a template": lambda arn: "arn:${Partition}:airflow:${Region}:${Account}:role/${Environment}/${Role}",
    "every resource": lambda arn: "*",
    "another case": str.upper,
    "a traversal": lambda arn: arn.replace("/prod/", "/prod/../prod/"),
    "a blank": lambda arn: f"{arn} ",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("what", OTHER_RESOURCES)
def test_a_decision_about_another_resource_is_none(what: str, shape: Shape) -> None:
    def change(row: Json) -> None:
        row["EvalResourceName"] = OTHER_RESOURCES[what](row["EvalResourceName"])

    with pytest.raises(AuthUnavailableError, match="no decision about arn:aws:airflow"):
        policy(fake(*AirflowRole, shape=shape, change=change)).role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_decision_about_another_action_is_none(shape: Shape) -> None:
    iam = fake(*AirflowRole, shape=shape, action="airflow:CreateWebLoginToken")
    with pytest.raises(AuthUnavailableError, match="no decision about arn:aws:airflow"):
        policy(iam).role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)


def test_contradicting_decisions_about_a_resource_are_no_grant() -> None:
    iam = fake(VIEWER, shape="resource")
    several = iam._results
    for order in (1, -1):
        iam._results = lambda params, order=order: [  # type: ignore[method-assign, misc]
            *several(params)[::order],
            *({**row, "EvalDecision": "explicitDeny"} for row in several(params)),
        ][::order]
        assert granted(iam) is None


def test_one_call_is_about_all_roles_and_for_an_emulator_one_each() -> None:
    iam = fake(USER)
    policy(iam).role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)
    (sent,) = iam.sent("SimulatePrincipalPolicy")
    assert sent["ResourceArns"] == [ENVIRONMENT.role(role) for role in (ADMIN, OP, USER, VIEWER, PUBLIC)]
    assert sent["ActionNames"] == ["airflow:InvokeRestApi"]
    emulator = fake(USER, shape="first")
    assert granted(emulator) is USER
    assert [len(params["ResourceArns"]) for params in emulator.sent("SimulatePrincipalPolicy")] == [5, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("arn", "source"),
    [
        (f"{STS}:assumed-role/analysts/bob", ROLE_ARN),
        (f"{STS}:assumed-role/{SSO}/bob@example.com", SSO_ARN),
        (f"{IAM}:role/analysts", ROLE_ARN),
        (f"{IAM}:user/bob", f"{IAM}:user/bob"),
        (f"{IAM}:user/team/a/bob", f"{IAM}:user/team/a/bob"),
    ],
)
def test_the_policies_are_those_of_the_user_or_of_the_role_with_its_path(arn: str, source: str) -> None:
    iam = fake(VIEWER, source=source)
    assert granted(iam, Principal.read(arn, Proof.STS)) is VIEWER
    assert [params["PolicySourceArn"] for params in iam.sent("SimulatePrincipalPolicy")] == [source]


def test_the_context_is_that_of_the_request() -> None:
    iam = fake(VIEWER, source=f"{IAM}:user/bob")
    policy(iam, Clock(0)).role(
        Principal.read(f"{IAM}:user/bob", Proof.STS), "airflow:InvokeRestApi", None, replace(CONTEXT, secure=False)
    )
    (sent,) = iam.sent("SimulatePrincipalPolicy")
    context = {
        row["ContextKeyName"]: (*row["ContextKeyValues"], row["ContextKeyType"]) for row in sent["ContextEntries"]
    }
    assert context["aws:SourceIp"] == ("203.0.113.9", "ip")
    assert context["aws:SecureTransport"] == ("false", "boolean")
    assert context["aws:PrincipalArn"] == (f"{IAM}:user/bob", "string")
    assert context["aws:username"] == ("bob", "string")
    assert context["aws:CurrentTime"] == ("1970-01-01T00:00:00Z", "date")
    assert not {key for key in context if "Tag" in key}, "a caller may set tags of its session"


def test_an_unknown_address_is_no_context_so_that_conditions_on_it_grant_nothing() -> None:
    iam = fake(VIEWER)
    policy(iam).role(SESSION, "airflow:InvokeRestApi", None, RequestContext(""))
    (sent,) = iam.sent("SimulatePrincipalPolicy")
    assert "aws:SourceIp" not in {row["ContextKeyName"] for row in sent["ContextEntries"]}


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::210987654321:user/bob",
        "arn:aws:sts::210987654321:assumed-role/analysts/bob",
        "arn:aws-cn:sts::123456789012:assumed-role/analysts/bob",
        f"{IAM}:root",
        f"{STS}:federated-user/bob",
    ],
)
def test_other_principals_have_a_role_by_the_table_only(arn: str) -> None:
    iam, principal = fake(*AirflowRole), Principal.read(arn, Proof.STS)
    with pytest.raises(AccessDeniedError, match=r"No Airflow role granted in IAM.*only a row of `role_table`"):
        policy(iam).role(principal, "airflow:InvokeRestApi", None, CONTEXT)
    with pytest.raises(AccessDeniedError, match="only a row of `role_table`"):
        policy(iam).allow(principal, "airflow:CreateCliToken", CONTEXT)
    by_row = policy(iam, None, RoleRow(PrincipalPattern.read(arn.replace("/bob", "/b*")), USER))
    assert by_row.role(principal, "airflow:InvokeRestApi", None, CONTEXT).role is USER
    assert not iam.calls, "IAM was asked about a principal whose policies it does not have"


def test_the_first_row_that_matches_comes_before_the_policies() -> None:
    iam = fake(*AirflowRole)
    rows = [RoleRow(PrincipalPattern.read(ROLE_ARN), role) for role in (VIEWER, ADMIN)]
    limited = policy(iam, None, *rows)
    assert limited.role(SESSION, "airflow:InvokeRestApi", None, CONTEXT).role is VIEWER
    with pytest.raises(AccessDeniedError):
        limited.role(SESSION, "airflow:InvokeRestApi", OP, CONTEXT)
    assert not iam.calls


def test_actions_on_the_environment() -> None:
    iam = FakeIam(grants={ROLE_ARN: {str(ENVIRONMENT)}}, roles={"analysts": ROLE_ARN})
    assert policy(iam).allow(SESSION, "airflow:CreateCliToken", CONTEXT) == ("policy of prod",)
    with pytest.raises(
        AccessDeniedError, match=rf"{SESSION.arn} is not authorized to perform: airflow:ListEnvironments on resource: "
    ):
        policy(iam).allow(SESSION, "airflow:ListEnvironments", CONTEXT)
    assert iam.sent("SimulatePrincipalPolicy")[-1]["ResourceArns"] == ["*"]
    with pytest.raises(AccessDeniedError):
        policy(fake(*AirflowRole)).allow(SESSION, "airflow:CreateCliToken", CONTEXT)


def test_a_denial_has_the_words_of_mwaa_with_action_and_resource() -> None:
    with pytest.raises(AccessDeniedError) as denied:
        policy(fake()).role(SESSION, "airflow:CreateWebLoginToken", OP, CONTEXT)
    assert str(denied.value) == (
        "No Airflow role granted in IAM: arn:aws:sts::123456789012:assumed-role/analysts/bob is not authorized to "
        "perform: airflow:CreateWebLoginToken on resource: arn:aws:airflow:eu-west-1:123456789012:role/prod/Op"
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("AccessDenied", "may not call iam:GetRole on role/analysts: allow it, or set .*role_source: TABLE"),
        ("Throttling", r"\(Throttling\); try again"),
        ("InvalidInput", r"\(InvalidInput\)"),
        ("ServiceFailure", r"\(ServiceFailure\)"),
        (ConnectTimeoutError(endpoint_url="https://iam"), "IAM does not answer"),
        (NoCredentialsError(), "IAM does not answer"),
    ],
    ids=str,
)
def test_in_an_outage_no_user_gets_in_and_a_missing_permission_is_named(error: Any, words: str) -> None:
    with pytest.raises(AuthUnavailableError, match=words) as failed:
        policy(fake(*AirflowRole, error=error)).role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)
    assert "secret words" not in str(failed.value)


def test_the_permission_to_simulate_is_named() -> None:
    user = Principal.read(f"{IAM}:user/bob", Proof.STS)
    with pytest.raises(AuthUnavailableError, match=f"iam:SimulatePrincipalPolicy on {user.arn}"):
        policy(fake(error="AccessDenied")).role(user, "airflow:InvokeRestApi", None, CONTEXT)


@pytest.mark.parametrize("arn", [f"{IAM}:role/evil/other", f"{IAM}:role/analysts2", f"{IAM}:user/analysts", "role"])
def test_an_answer_about_another_role_is_none(arn: str) -> None:
    iam = replace(fake(*AirflowRole, source=arn), roles={"analysts": arn})
    with pytest.raises(AuthUnavailableError):
        policy(iam).role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)
    assert not iam.sent("SimulatePrincipalPolicy")


def test_a_deleted_role_has_no_grant() -> None:
    assert granted(replace(fake(*AirflowRole), roles={})) is None
    assert granted(replace(fake(*AirflowRole), grants={})) is None


def test_grants_last_a_minute_and_denials_a_few_seconds() -> None:
    clock, iam = Clock(), fake(VIEWER)
    access = policy(iam, clock)

    def calls() -> int:
        return len(iam.sent("SimulatePrincipalPolicy"))

    access.role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)
    other_session = Principal.read(f"{STS}:assumed-role/analysts/carol", Proof.STS)
    access.role(other_session, "airflow:InvokeRestApi", None, CONTEXT)
    assert calls() == 1, "the policies of two sessions are those of one role"
    iam.grants[ROLE_ARN].add(ENVIRONMENT.role(OP))
    clock.now += DENIED_FOR_S
    access.role(SESSION, "airflow:InvokeRestApi", OP, CONTEXT)
    assert calls() == 2, "a new grant is seen when the denial has expired"
    iam.grants[ROLE_ARN].clear()
    clock.now += GRANTED_FOR_S - 1
    access.role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)
    clock.now += 1
    with pytest.raises(AccessDeniedError):
        access.role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)
    assert calls() == 3
    clock.now -= 3600
    with pytest.raises(AccessDeniedError):
        access.role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)
    assert calls() == 4, "a clock that was set back must not keep an answer"


@pytest.mark.parametrize(
    "change",
    [
        lambda access: access.role(SESSION, "airflow:InvokeRestApi", None, RequestContext("198.51.100.1")),
        lambda access: access.role(SESSION, "airflow:InvokeRestApi", None, replace(CONTEXT, secure=False)),
        lambda access: access.role(SESSION, "airflow:CreateWebLoginToken", None, CONTEXT),
        lambda access: access.role(replace(SESSION, path="/x/"), "airflow:InvokeRestApi", None, CONTEXT),
    ],
    ids=["address", "transport", "action", "path"],
)
def test_an_answer_is_for_its_own_request_only(change: Callable[[IamPolicy], object]) -> None:
    iam = fake(VIEWER)
    access = policy(iam)
    access.role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)
    iam.grants[ROLE_ARN].clear()
    with pytest.raises(AccessDeniedError):
        change(access)


def test_an_error_is_not_repeated_for_each_waiting_request() -> None:
    clock, iam = Clock(), fake(VIEWER, error="Throttling")
    access = policy(iam, clock)
    for _ in range(2):
        with pytest.raises(AuthUnavailableError):
            access.role(SESSION, "airflow:InvokeRestApi", None, CONTEXT)
    assert len(iam.calls) == 1
    iam.error = None
    clock.now += DENIED_FOR_S
    assert access.role(SESSION, "airflow:InvokeRestApi", None, CONTEXT).role is VIEWER


def test_simultaneous_requests_ask_once() -> None:
    iam = fake(VIEWER, release=threading.Event())
    access = policy(iam)
    assert iam.release
    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(access.role, SESSION, "airflow:InvokeRestApi", None, CONTEXT) for _ in range(8)]
        iam.release.set()
        assert {future.result().role for future in found} == {VIEWER}
    assert [name for name, _ in iam.calls] == ["GetRole", "SimulatePrincipalPolicy"]
