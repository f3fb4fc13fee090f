# SPDX-License-Identifier: Apache-2.0
"""A pattern matches the principals that it names, and no look-alike."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from openmwaa_runtime.auth.access import RequestContext
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AccessDeniedError
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.role_table import PrincipalPattern, RoleRow, RoleTable
from openmwaa_runtime.errors import UsageError

ENVIRONMENT = EnvironmentArn.read("arn:aws:airflow:eu-west-1:123456789012:environment/prod")
PUBLIC, VIEWER, USER, OP, ADMIN = AirflowRole
CONTEXT = RequestContext("203.0.113.9")
IAM, STS = "arn:aws:iam::123456789012", "arn:aws:sts::123456789012"
ROLE, USER_BOB, ANY_SESSION = f"{IAM}:role/x", f"{IAM}:user/bob", f"{STS}:assumed-role/x*/*"

MATCHES = [
    (ROLE, f"{STS}:assumed-role/x/bob"),
    (ROLE, f"{IAM}:role/x"),
    (f"{IAM}:role/team/x", f"{STS}:assumed-role/x/bob"),
    (f"{IAM}:role/team/x", f"{IAM}:role/team/x"),
    (f"{STS}:assumed-role/x/bob", f"{STS}:assumed-role/x/bob"),
    (f"{STS}:assumed-role/x/*", f"{IAM}:role/any/path/x"),
    (f"{STS}:assumed-role/x/b*", f"{STS}:assumed-role/x/bob"),
    (f"{STS}:assumed-role/AWSReservedSSO_Op_*/*", f"{STS}:assumed-role/AWSReservedSSO_Op_0123456789abcdef/a@b.example"),
    (USER_BOB, USER_BOB),
    (f"{IAM}:user/*", USER_BOB),
    (f"{IAM}:user/team/*", f"{IAM}:user/team/bob"),
    (f"{IAM}:user/*/bob", f"{IAM}:user/team/bob"),
    (f"{STS}:federated-user/b*", f"{STS}:federated-user/bob"),
    (f"{IAM}:root", f"{IAM}:root"),
]
NO_MATCHES = [
    (ROLE, f"{STS}:assumed-role/xx/bob"),
    (ROLE, f"{STS}:assumed-role/X/bob"),
    (f"{IAM}:role/bob", f"{STS}:assumed-role/y/bob"),
    (ROLE, f"{IAM}:role/evil/x"),
    (ROLE, f"{IAM}:user/x"),
    (ROLE, f"{STS}:federated-user/x"),
    (ROLE, "arn:aws:sts::210987654321:assumed-role/x/bob"),
    (ROLE, "arn:aws-cn:sts::123456789012:assumed-role/x/bob"),
    (ROLE, f"{IAM}:user/role/x"),
    (ROLE, f"{IAM}:user/assumed-role/x"),
    (f"{IAM}:role/team/x", f"{IAM}:role/x"),
    (f"{IAM}:role/x.y", f"{STS}:assumed-role/xzy/bob"),
    (f"{STS}:assumed-role/x/bob", f"{IAM}:role/x"),
    (f"{STS}:assumed-role/x/b*", f"{IAM}:role/x"),
    (f"{STS}:assumed-role/x/bob", f"{STS}:assumed-role/x/bobby"),
    (f"{STS}:assumed-role/x*/bob", f"{STS}:assumed-role/y/bob"),
    (USER_BOB, f"{IAM}:user/evil/bob"),
    (USER_BOB, f"{STS}:federated-user/bob"),
    (USER_BOB, f"{STS}:assumed-role/user/bob"),
    (f"{IAM}:user/*", f"{IAM}:user/evil/bob"),
    (f"{IAM}:user/b*", f"{IAM}:user/b/ob"),
    (f"{IAM}:user/*/bob", f"{IAM}:user/a/b/bob"),
    (f"{IAM}:root", f"{IAM}:user/root"),
    (f"{IAM}:root", "arn:aws:iam::210987654321:root"),
]


def principal(arn: str) -> Principal:
    return Principal.read(arn, Proof.STS)


@pytest.mark.parametrize(("pattern", "arn"), MATCHES)
def test_a_pattern_matches(pattern: str, arn: str) -> None:
    assert PrincipalPattern.read(pattern).matches(principal(arn))


@pytest.mark.parametrize(("pattern", "arn"), NO_MATCHES)
def test_a_look_alike_does_not_match(pattern: str, arn: str) -> None:
    assert not PrincipalPattern.read(pattern).matches(principal(arn))


NO_PATTERNS = [
    "*",
    "arn:*",
    "arn:aws:iam::*:role/x",
    "arn:aws:iam::123456789012:*",
    "arn:*:iam::123456789012:role/x",
    "arn:aws:iam::12345678901:role/x",
    "arn:aws:iam::\uff11\uff12\uff13456789012:role/x",
    f"{IAM}:role/x*",
    f"{IAM}:role/*/x",
    f"{IAM}:role/",
    f"{IAM}:role/../",
    f"{IAM}:group/x",
    f"{IAM}:user/",
    f"{IAM}:user/a:b/c",
    f"{IAM}:assumed-role/x/y",
    f"{STS}:role/x",
    f"{STS}:assumed-role/x",
    f"{STS}:assumed-role/x/y/z",
    f"{STS}:user/bob",
    f"{IAM}:root*",
    f" {IAM}:root",
    f"{IAM}:user/bob\n",
    "",
]


@pytest.mark.parametrize("text", NO_PATTERNS)
def test_what_names_no_principal_of_one_account_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not the ARN of a user, role"):
        PrincipalPattern.read(text)


def _arns(names: str, paths: str) -> st.SearchStrategy[str]:
    """ARNs of a few accounts and names, so that many are alike."""
    account = st.sampled_from(["123456789012", "210987654321"])
    name = st.text(names, min_size=2, max_size=3)
    path = st.lists(st.text(paths, min_size=1, max_size=2), max_size=2).map(
        lambda parts: "".join(f"{p}/" for p in parts)
    )
    of_iam = st.builds("arn:aws:iam::{}:{}/{}{}".format, account, st.sampled_from(["user", "role"]), path, name)
    session = st.builds("arn:aws:sts::{}:assumed-role/{}/{}".format, account, name, name)
    other = st.builds("arn:aws:sts::{}:federated-user/{}".format, account, name)
    return of_iam | session | other | account.map("arn:aws:iam::{}:root".format)


def _patterns() -> st.SearchStrategy[PrincipalPattern]:
    exact = _arns("ab", "ab")
    return st.builds(PrincipalPattern.read, exact | _arns("ab*", "ab*").filter(lambda arn: ":role/" not in arn))


@given(_patterns(), _arns("ab", "ab"))
def test_a_match_is_of_the_same_account_and_kind_and_of_no_other_part(rule: PrincipalPattern, arn: str) -> None:
    caller = principal(arn)
    if rule.matches(caller):
        assert (rule.partition, rule.account, rule.kind) == (caller.partition, caller.account, caller.kind)
        if ":user/" in rule.text:
            assert rule.text.count("/") == arn.count("/")
        if "*" not in rule.text and caller.path is not None:
            assert rule.text == arn


@given(_arns("ab", "ab.-!~"))
def test_the_arn_of_a_principal_is_a_pattern_of_itself(arn: str) -> None:
    assert PrincipalPattern.read(arn).matches(principal(arn))


@given(_arns("ab", "ab"), st.integers(min_value=0), st.characters(codec="ascii", categories=["L", "N", "P"]))
def test_one_other_character_is_another_principal(arn: str, place: int, character: str) -> None:
    at = place % len(arn)
    changed = arn[:at] + character + arn[at + 1 :]
    assume(changed != arn and "*" not in changed)
    try:
        rule = PrincipalPattern.read(changed)
    except UsageError:
        return
    caller = principal(arn)
    # STS's answer has no path: only the name counts there.
    assert not rule.matches(caller) or (caller.path is None and rule.session is None)


def table(*rows: tuple[str, AirflowRole], scoping: bool = True) -> RoleTable:
    return RoleTable(ENVIRONMENT, [RoleRow(PrincipalPattern.read(text), role) for text, role in rows], scoping)


def test_the_first_row_decides() -> None:
    roles = table((ROLE, VIEWER), (ANY_SESSION, ADMIN))
    viewer, admin = principal(f"{STS}:assumed-role/x/bob"), principal(f"{STS}:assumed-role/xy/bob")
    found = roles.role(viewer, "airflow:InvokeRestApi", None, CONTEXT)
    assert (found.role, found.granted_by) == (VIEWER, (f"role_table: {ROLE} = Viewer",))
    assert roles.role(viewer, "airflow:InvokeRestApi", PUBLIC, CONTEXT).role is PUBLIC
    assert roles.role(admin, "airflow:InvokeRestApi", OP, CONTEXT).role is OP
    with pytest.raises(
        AccessDeniedError, match=r"No Airflow role granted in IAM: .*airflow:InvokeRestApi.*role/prod/Op"
    ):
        roles.role(viewer, "airflow:InvokeRestApi", OP, CONTEXT)
    with pytest.raises(AccessDeniedError, match=r"one of arn:aws:airflow:eu-west-1:123456789012:role/prod/Admin, "):
        roles.role(principal(f"{IAM}:root"), "airflow:CreateWebLoginToken", None, CONTEXT)


BOB = f"{STS}:assumed-role/x/bob"


@pytest.mark.parametrize(
    ("rows", "role"),
    [
        pytest.param([(BOB, VIEWER), (ROLE, ADMIN)], None, id="another row may be the caller's"),
        pytest.param([(f"{STS}:assumed-role/*/b*", VIEWER)], None, id="a pattern, and else IAM decides"),
        pytest.param([(ROLE, ADMIN), (BOB, VIEWER)], ADMIN, id="a row of the role comes first"),
        pytest.param([(f"{STS}:assumed-role/y/bob", VIEWER), (ROLE, ADMIN)], ADMIN, id="sessions of another role"),
        pytest.param([(BOB.replace("1234", "9999"), VIEWER), (ROLE, ADMIN)], ADMIN, id="another account"),
    ],
)
def test_a_proof_without_the_session_does_not_evade_the_row_of_a_session(
    rows: list[tuple[str, AirflowRole]], role: AirflowRole | None
) -> None:
    roles, unknown = table(*rows), Principal.read(ROLE, Proof.JWT)
    if role is not None:
        assert roles.role(unknown, "airflow:InvokeRestApi", None, CONTEXT).role is role
        return
    for decide in (roles.find, lambda found: roles.allow(found, "airflow:GetEnvironment", CONTEXT)):
        with pytest.raises(AccessDeniedError, match=r"prove your identity by a presigned request"):
            decide(unknown)


@pytest.mark.parametrize(
    ("action", "scoping", "least"),
    [
        ("airflow:GetEnvironment", True, VIEWER),
        ("airflow:ListTagsForResource", True, VIEWER),
        ("airflow:CreateCliToken", True, VIEWER),
        ("airflow:CreateCliToken", False, ADMIN),  # then a token is always Admin's
        ("airflow:UpdateEnvironment", True, ADMIN),
        ("airflow:AnythingElse", True, ADMIN),
    ],
)
def test_an_action_on_the_environment_needs_a_role(action: str, scoping: bool, least: AirflowRole) -> None:
    bob = principal(USER_BOB)
    for role in AirflowRole:
        roles = table((USER_BOB, role), scoping=scoping)
        if role.includes(least):
            assert roles.allow(bob, action, CONTEXT)
        else:
            with pytest.raises(AccessDeniedError, match=f"to perform: {action} on resource: {ENVIRONMENT}"):
                roles.allow(bob, action, CONTEXT)
