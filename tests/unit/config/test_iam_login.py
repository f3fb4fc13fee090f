# SPDX-License-Identifier: Apache-2.0
"""The tables of IAM login are checked before an apply, with the rules of the web server that reads them."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from openmwaa.config.environment import Environment
from openmwaa.config.iam_login import DEFAULT_LOGIN, MAX_LOGIN_TABLES, IamLogin
from openmwaa.config.text_rules import PrincipalText
from openmwaa_runtime.auth.role_table import PrincipalPattern
from openmwaa_runtime.auth.settings import AuthSettings
from openmwaa_runtime.errors import UsageError
from tests.unit.openmwaa_runtime.auth.test_role_table import MATCHES, NO_PATTERNS

BOB = "arn:aws:iam::123456789012:user/bob"
ISSUER = "https://a1d2b0fd-1177-4468-9351-2f1234567723.tokens.sts.global.api.aws"
NEEDED = {
    "OPENMWAA_ENVIRONMENT_ARN": "arn:aws:airflow:eu-west-1:123456789012:environment/prod",
    "OPENMWAA_WEB_URL": "https://airflow.example.com",
    "OPENMWAA_API_SECRET_KEY": "secret",
}


def row(principal: str, role: str = "Viewer") -> dict[str, str]:
    return {"principal": principal, "role": role}


def environment(iam_login: dict[str, Any], **more: Any) -> Environment:
    access = {"allow_http": True, "login": "IAM", "iam_login": iam_login}
    return Environment.model_validate({"name": "example", "web_access": access, **more})


def test_the_login_is_the_default_one() -> None:
    access = Environment.model_validate({"name": "example", "web_access": {"allow_http": True}}).web_access
    assert (access.login, access.iam_login) == (DEFAULT_LOGIN, IamLogin())


ENDPOINTS_ONLY = {"network": {"egress": "ENDPOINTS_ONLY"}, "region": "eu-central-1"}
REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"role_source": "TABLE"}, {}, "iam_login.*TABLE needs a row"),
    ({"role_table": [row(BOB), row(BOB, "Admin")]}, {}, "`role_table` has .*bob twice"),
    ({"role_table": [row("arn:aws:iam::123456789012:role/x*")]}, {}, "role_table.0.principal"),
    ({"role_table": [row("arn:aws-cn:iam::123456789012:role/x")]}, {}, "is in the partition aws-cn"),
    ({"role_table": [row(BOB, "admin")]}, {}, "role_table.0.role"),
    ({"role_table": [row(f"{BOB}{n}") for n in range(51)]}, {}, "role_table.*50 items"),
    ({"role_table": [row(f"{BOB}{n:0100}") for n in range(50)]}, {}, f"and at most {MAX_LOGIN_TABLES} fit"),
    ({"token_issuers": [{"issuer": ISSUER, "account_id": 123456789012}]}, {}, "account_id.*string"),
    ({"token_issuers": [{"issuer": ISSUER, "account_id": "1"}]}, {}, "account_id"),
    ({"token_issuers": [{"issuer": "https://evil.example.com", "account_id": "1" * 12}]}, {}, "issuer"),
    ({"token_issuers": [{"issuer": f"{ISSUER}@evil.example.com", "account_id": "1" * 12}]}, {}, "issuer"),
    ({"token_issuers": [{"issuer": f"{ISSUER}/../x", "account_id": "1" * 12}]}, {}, "issuer"),
    ({"token_issuers": [{"issuer": ISSUER, "account_id": "1" * 12}] * 2}, {}, "`token_issuers` has .* twice"),
    ({"dag_access": [{"principals": [BOB], "role": "User"}]}, {}, "set `tag` or `bundle`"),
    ({"dag_access": [{"tag": "a", "bundle": "b", "principals": [BOB], "role": "User"}]}, {}, "set `tag` or `bundle`"),
    ({"dag_access": [{"tag": "a", "principals": [], "role": "User"}]}, {}, "principals"),
    ({}, ENDPOINTS_ONLY, "cannot reach IAM, which has a VPC endpoint in us-east-1 only: set `role_source: TABLE`"),
    (
        {
            "role_source": "TABLE",
            "role_table": [row(BOB)],
            "token_issuers": [{"issuer": ISSUER, "account_id": "1" * 12}],
        },
        ENDPOINTS_ONLY,
        "cannot read the keys of an issuer; leave `token_issuers` out",
    ),
]


@pytest.mark.parametrize(("iam_login", "more", "words"), REFUSED)
def test_invalid_settings_are_refused(iam_login: dict[str, Any], more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        environment(iam_login, **more)
    (problem,) = refused.value.errors()
    text = f"{'.'.join(map(str, problem['loc']))} {problem['msg']}"
    assert re.search(words, text), text


def test_settings_of_iam_login_need_it() -> None:
    access = {"allow_http": True, "login": "PASSWORD", "iam_login": {"cli_role_scoping": False}}
    with pytest.raises(ValidationError, match="`iam_login` needs `login: IAM`"):
        Environment.model_validate({"name": "example", "web_access": access})


def test_without_internet_access_a_table_or_the_region_of_iam_is_enough() -> None:
    table = {"role_source": "TABLE", "role_table": [row(BOB)]}
    assert not environment(table, **ENDPOINTS_ONLY).web_access.simulates_policies
    assert environment({}, network={"egress": "ENDPOINTS_ONLY"}, region="us-east-1").web_access.simulates_policies


@pytest.mark.parametrize("pattern", sorted({pattern for pattern, _ in MATCHES}))
def test_the_file_takes_the_patterns_of_the_web_server(pattern: str) -> None:
    assert environment({"role_table": [row(pattern)]}).web_access.iam_login.role_table[0].principal == pattern


@pytest.mark.parametrize("text", NO_PATTERNS)
def test_the_file_refuses_what_the_web_server_refuses(text: str) -> None:
    with pytest.raises(ValidationError):
        environment({"role_table": [row(text)]})


@given(
    st.from_regex(r"arn:aws:(iam|sts)::123456789012:(user|role|assumed-role|federated-user|root)/?[ab*/:. é]{0,6}")
    | st.text(max_size=60)
)
def test_file_and_web_server_have_one_rule(text: str) -> None:
    try:
        accepted = bool(TypeAdapter(PrincipalText).validate_python(text))
    except ValidationError:
        accepted = False
    try:
        PrincipalPattern.read(text)
    except UsageError:
        assert not accepted, f"the web server does not start with {text!r}"
    else:
        assert accepted, f"the file refuses {text!r}"


def test_the_web_server_reads_the_tables_of_the_file() -> None:
    login = environment(
        {
            "role_table": [row(BOB, "Op")],
            "token_issuers": [{"issuer": ISSUER, "account_id": "123456789012"}],
            "dag_access": [
                {"tag": 'team:"x" ${y}', "principals": [BOB], "role": "User"},
                {"bundle": "main", "principals": [BOB], "role": "Viewer"},
            ],
        }
    ).web_access.iam_login
    found = AuthSettings.read({**NEEDED, **login.tables})
    assert [(entry.pattern.text, entry.role) for entry in found.role_table.rows] == [(BOB, "Op")]
    assert found.token_issuers == {ISSUER: "123456789012"}
    assert [(access.tag, access.bundle) for access in found.dag_access] == [('team:"x" ${y}', None), (None, "main")]
    assert IamLogin().tables == {}


def test_the_tables_count_in_the_task_of_all_components() -> None:
    table = {"role_table": [row(f"{BOB}{n:030}") for n in range(50)]}
    options = {f"mine.a{index}": "x" * 1000 for index in range(4)}
    environment({}, airflow_configuration_options=options, control_plane="COMPACT")
    environment(table, airflow_configuration_options=options, control_plane="SEPARATE")
    with pytest.raises(ValidationError, match="the control-plane's task definition"):
        environment(table, airflow_configuration_options=options, control_plane="COMPACT")
