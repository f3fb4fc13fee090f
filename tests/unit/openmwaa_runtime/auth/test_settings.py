# SPDX-License-Identifier: Apache-2.0
"""Variables of the container are read strictly, and an error names the variable."""

import json
from typing import Any

import pytest

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.principal import Principal, Proof
from openmwaa_runtime.auth.settings import AuthSettings, uses_iam_login
from openmwaa_runtime.errors import UsageError

NEEDED = {
    "OPENMWAA_ENVIRONMENT_ARN": "arn:aws:airflow:eu-west-1:123456789012:environment/prod",
    "OPENMWAA_WEB_URL": "https://airflow.example.com",
    "OPENMWAA_API_SECRET_KEY": "secret words",
}
USER = "arn:aws:iam::123456789012:user/bob"


def test_the_defaults_trust_no_issuer_and_no_proxy() -> None:
    found = AuthSettings.read(NEEDED)
    assert (str(found.environment), found.role_source) == (NEEDED["OPENMWAA_ENVIRONMENT_ARN"], "SIMULATION")
    assert (found.token_issuers, found.dag_access, found.role_table.rows, found.proxy_hops) == ({}, (), (), 0)
    assert found.cli_role_scoping
    assert "secret words" not in repr(found)


def test_all_variables() -> None:
    rows = {
        "OPENMWAA_ROLE_TABLE": [{"principal": USER, "role": "Op"}],
        "OPENMWAA_TOKEN_ISSUERS": [{"issuer": "https://i.tokens.sts.global.api.aws", "account": "123456789012"}],
        "OPENMWAA_DAG_ACCESS": [
            {"tag": "team:x", "principals": [USER], "role": "User"},
            {"bundle": "b", "principals": [], "role": "Viewer"},
        ],
    }
    plain = {
        "OPENMWAA_ROLE_SOURCE": "TABLE",
        "OPENMWAA_CLI_ROLE_SCOPING": "false",
        "OPENMWAA_PROXY_HOPS": "2",
    }
    found = AuthSettings.read({**NEEDED, **plain, **{name: json.dumps(value) for name, value in rows.items()}})
    assert (found.role_source, found.cli_role_scoping, found.proxy_hops) == ("TABLE", False, 2)
    row = found.role_table.find(Principal.read(USER, Proof.STS))
    assert row is not None
    assert row.role is AirflowRole.OP
    assert found.role_table.cli_role_scoping is False
    assert found.token_issuers == {"https://i.tokens.sts.global.api.aws": "123456789012"}
    assert [(access.tag, access.bundle, access.role) for access in found.dag_access] == [
        ("team:x", None, AirflowRole.USER),
        (None, "b", AirflowRole.VIEWER),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "") for name in NEEDED),
        ("OPENMWAA_ENVIRONMENT_ARN", "arn:aws:airflow:eu-west-1:123456789012:environment/../prod"),
        ("OPENMWAA_ROLE_SOURCE", "simulation"),
        ("OPENMWAA_CLI_ROLE_SCOPING", "False"),
        ("OPENMWAA_PROXY_HOPS", "3"),
        ("OPENMWAA_PROXY_HOPS", "-1"),
        ("OPENMWAA_ROLE_TABLE", "{"),
        ("OPENMWAA_ROLE_TABLE", {}),
        ("OPENMWAA_ROLE_TABLE", [{"principal": USER}]),
        ("OPENMWAA_ROLE_TABLE", [{"principal": USER, "role": "Op", "more": 1}]),
        ("OPENMWAA_ROLE_TABLE", [{"principal": USER, "role": "admin"}]),
        ("OPENMWAA_ROLE_TABLE", [{"principal": USER, "role": ["Admin"]}]),
        ("OPENMWAA_ROLE_TABLE", [{"principal": "*", "role": "Viewer"}]),
        ("OPENMWAA_ROLE_TABLE", [{"principal": [USER], "role": "Viewer"}]),
        ("OPENMWAA_TOKEN_ISSUERS", [{"issuer": "http://x", "account": "123456789012"}]),
        ("OPENMWAA_TOKEN_ISSUERS", [{"issuer": "https://x", "account": 123456789012}]),
        ("OPENMWAA_DAG_ACCESS", [{"tag": "x", "bundle": "y", "principals": [USER], "role": "User"}]),
        ("OPENMWAA_DAG_ACCESS", [{"tag": "x", "principals": USER, "role": "User"}]),
        ("OPENMWAA_DAG_ACCESS", [{"tag": "x", "principals": ["*"], "role": "User"}]),
    ],
)
def test_an_invalid_variable_is_named(name: str, value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    with pytest.raises(UsageError) as refused:
        AuthSettings.read({**NEEDED, name: text})
    words = text[:20] if name == "OPENMWAA_ENVIRONMENT_ARN" and value else name
    assert words in str(refused.value)
    assert "secret words" not in str(refused.value)


def test_the_login_is_a_password_unless_it_is_iam() -> None:
    assert not uses_iam_login({})
    assert not uses_iam_login({"OPENMWAA_LOGIN": "PASSWORD"})
    assert uses_iam_login({"OPENMWAA_LOGIN": "IAM"})
    with pytest.raises(UsageError, match="OPENMWAA_LOGIN must be PASSWORD or IAM, not 'iam'"):
        uses_iam_login({"OPENMWAA_LOGIN": "iam"})


LOCAL_ISSUER = "http://127.40.0.1:4566"


def test_the_local_issuer_is_the_emulated_sts_of_this_machine() -> None:
    variables = {**NEEDED, "AWS_ENDPOINT_URL": LOCAL_ISSUER, "OPENMWAA_LOCAL_TOKEN_ISSUER": LOCAL_ISSUER}
    assert AuthSettings.read(variables).token_issuers == {LOCAL_ISSUER: "123456789012"}


@pytest.mark.parametrize(
    ("sts", "issuer"),
    [
        pytest.param("", LOCAL_ISSUER, id="AWS's STS"),
        pytest.param(LOCAL_ISSUER, "http://127.40.0.1:4567", id="another port"),
        pytest.param("http://10.0.0.1:4566", "http://10.0.0.1:4566", id="another machine"),
        pytest.param("http://127.0.0.1.evil:80", "http://127.0.0.1.evil:80", id="a name that looks like an address"),
        pytest.param("http://127.0.0.1:80@evil", "http://127.0.0.1:80@evil", id="a user"),
        pytest.param("http://localhost:4566", "http://localhost:4566", id="a name"),
        pytest.param("https://sts.eu-west-1.amazonaws.com", "https://sts.eu-west-1.amazonaws.com", id="https"),
    ],
)
def test_any_other_local_issuer_is_refused(sts: str, issuer: str) -> None:
    with pytest.raises(UsageError, match=r"OPENMWAA_LOCAL_TOKEN_ISSUER must be the STS of this environment"):
        AuthSettings.read({**NEEDED, "AWS_ENDPOINT_URL_STS": sts, "OPENMWAA_LOCAL_TOKEN_ISSUER": issuer})
