# SPDX-License-Identifier: Apache-2.0
"""The address of the web server: the proof names it, and does not cross the network in plain text."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate.airflow_http import AirflowRefusedError
from openmwaa.operate.airflow_login import Caller, Purpose, exchange
from openmwaa.operate.connection import Connection
from openmwaa.operate.errors import OperateError
from openmwaa_runtime.auth.verifier import STS_PROOF_PREFIX
from tests.support.environments import LEAST

DOMAIN = {"domain": "airflow.example.com", "hosted_zone_id": "Z0123456789EXAMPLE"}


def connection(*, https: bool = True, **endpoints: str) -> Connection:
    web_access = DOMAIN if https else {"allow_http": True}
    return Connection(
        Environment.model_validate({**LEAST, "web_access": web_access}), Path("environment.yaml"), endpoints
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        pytest.param(None, "airflow.example.com", id="the domain of the file"),
        pytest.param("https://AIRFLOW.example.com/", "airflow.example.com", id="upper case"),
        pytest.param("https://internal.airflow.example.com:8443", "internal.airflow.example.com", id="another name"),
        pytest.param("https://evil.example", "evil.example", id="a stranger, whose proof is of no use elsewhere"),
        pytest.param("https://localhost:8443", "airflow.example.com", id="a tunnel"),
        pytest.param("http://127.0.0.1:8080", "airflow.example.com", id="a tunnel to an address"),
        pytest.param("http://[::1]:8080", "airflow.example.com", id="a tunnel to an IPv6 address"),
    ],
)
def test_the_proof_names_the_web_server_that_receives_it(url: str | None, host: str) -> None:
    assert Caller(url=url).web_host(connection()) == host


def test_on_this_machine_the_proof_names_the_address_of_the_environment() -> None:
    here = connection(https=False, aws="http://127.40.1.2:4566", web="http://127.40.1.7:8080")
    assert [Caller(url=url).web_host(here) for url in (None, "http://localhost:9000")] == ["127.40.1.7"] * 2


@pytest.mark.parametrize("url", ["http://airflow.example.com", "HTTP://airflow.example.com", "http://localhost.evil"])
def test_no_proof_crosses_the_network_in_plain_text_if_the_file_has_https(url: str) -> None:
    with pytest.raises(OperateError, match="in plain text: use https"):
        Caller(url=url).web_url(connection())
    assert Caller(url=url).web_url(connection(https=False)) == url


@pytest.mark.parametrize("url", ["airflow.example.com", "ftp://airflow.example.com", "https://", ""])
def test_an_address_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(OperateError, match="not an address"):
        Caller(url=url).web_url(connection())


PRESIGNED = f"{STS_PROOF_PREFIX}presigned"
TRUSTED = {
    "issuer": "https://11111111-2222-3333-4444-555555555555.tokens.sts.global.api.aws",
    "account_id": "123456789012",
}


@pytest.mark.parametrize(
    ("purpose", "refused", "expected"),
    [
        pytest.param("web", "", ["token"], id="a login by token"),
        pytest.param("web", "token", ["token", PRESIGNED], id="a token that is refused"),
        pytest.param("credentials", "", [PRESIGNED], id="keys are for the session, which a token does not name"),
        pytest.param("revoke", "", ["token", PRESIGNED], id="the sessions of both proofs end"),
        pytest.param("revoke", "token", ["token", PRESIGNED], id="the sessions of the presigned proof end"),
    ],
)
def test_the_proofs_that_a_purpose_needs(
    monkeypatch: pytest.MonkeyPatch, purpose: Purpose, refused: str, expected: list[str]
) -> None:
    sent = []

    def prove(_: Any, __: Any, ___: Any, issuers: Collection[str], ____: str) -> str:
        return "token" if issuers else PRESIGNED

    def send(_: Any, method: str, url: str, content: bytes) -> dict[str, Any]:
        proof = json.loads(content)["proof"]
        sent.append(proof)
        if proof == refused:
            raise AirflowRefusedError("denied")
        return {"answered": proof}

    monkeypatch.setattr("openmwaa.operate.airflow_login.identity_proof", prove)
    monkeypatch.setattr("openmwaa.operate.airflow_login.describe_proof", lambda proof, **_: proof)
    monkeypatch.setattr("openmwaa.operate.airflow_login.send", send)
    web_access = {**DOMAIN, "iam_login": {"token_issuers": [TRUSTED]}}
    aws = Connection(Environment.model_validate({**LEAST, "web_access": web_access}), Path("environment.yaml"), {})
    answer = exchange(aws, purpose, Caller(account="123456789012"))
    assert sent == expected
    assert answer["answered"] == expected[-1]
