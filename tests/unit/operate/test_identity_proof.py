# SPDX-License-Identifier: Apache-2.0
"""The client's proof: the verifiers accept it, and its text has no credentials but those that a proof must have."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse, HTTPHeaders

from openmwaa.config.environment import Environment
from openmwaa.operate.connection import Connection
from openmwaa.operate.errors import CredentialsError, UnreachableError
from openmwaa.operate.identity_proof import identity_proof
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.jwt_proof import IssuerKeys, JwtProofVerifier
from openmwaa_runtime.auth.sts_proof import StsProofVerifier
from openmwaa_runtime.auth.verifier import STS_PROOF_PREFIX
from tests.support.environments import LEAST
from tests.support.fake_login_store import FakeLoginStore
from tests.support.fake_sts import WEB_HOST, FakeIdentity, FakeIssuer, FakeSts

ARN = EnvironmentArn.read("arn:aws:airflow:eu-west-1:123456789012:environment/production")
ENDPOINT = "https://sts.eu-west-1.amazonaws.com"
ISSUER = FakeIssuer()
ANN = FakeIdentity("arn:aws:sts::123456789012:assumed-role/analysts/ann", "ASIAEXAMPLE", token="a-session/token+=")
ANN_AS_ROLE = "arn:aws:iam::123456789012:role/analysts"


class Raw(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.getvalue()


def connection(**endpoints: str) -> Connection:
    return Connection(Environment.model_validate(LEAST), Path("environment.yaml"), endpoints)


def session(sts: FakeSts, identity: FakeIdentity = ANN) -> Any:
    """A session whose requests reach the fake STS."""
    own: Any = boto3.session.Session(identity.access_key, identity.secret_key, identity.token)

    def send(request: Any, **_: object) -> AWSResponse:
        body = request.body or b""
        headers = {
            name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
        }
        status, answer = sts.answer(
            request.method, request.url, headers, body if isinstance(body, bytes) else body.encode()
        )
        return AWSResponse(request.url, status, HTTPHeaders(), Raw(answer))

    own.events.register("before-send.sts", send)
    return own


def caller_of_presigned(proof: str, sts: FakeSts, endpoint: str = ENDPOINT) -> str:
    return (
        StsProofVerifier(ARN, endpoint, FakeLoginStore(), time.time, sts.get(endpoint), {ARN.account}, {WEB_HOST})
        .verify(proof)
        .arn
    )


def caller_of_token(proof: str) -> str:
    keys = IssuerKeys(lambda _, __: (200, json.dumps(ISSUER.jwks).encode()))
    return JwtProofVerifier(ARN, {ISSUER.url: (ISSUER.account, keys)}, FakeLoginStore(), time.time).verify(proof).arn


@pytest.mark.parametrize(
    "identity", [ANN, FakeIdentity("arn:aws:iam::123456789012:user/bob")], ids=["session of a role", "user"]
)
def test_without_trusted_issuers_the_proof_is_presigned(identity: FakeIdentity) -> None:
    sts = FakeSts([identity], issuer=ISSUER)
    proof = identity_proof(connection(), session(sts, identity), ARN, [], WEB_HOST)
    assert sts.requests == []
    assert caller_of_presigned(proof, sts) == identity.arn
    assert identity.secret_key not in proof


def test_two_proofs_of_one_second_are_two_proofs() -> None:
    sts = FakeSts([ANN])
    proofs = {identity_proof(connection(), session(sts), ARN, [], WEB_HOST) for _ in range(8)}
    verifier = StsProofVerifier(
        ARN, ENDPOINT, FakeLoginStore(), time.time, sts.get(ENDPOINT), {ARN.account}, {WEB_HOST}
    )
    assert [verifier.verify(proof).arn for proof in proofs] == [ANN.arn] * 8


def test_with_a_trusted_issuer_the_proof_is_a_token() -> None:
    proof = identity_proof(connection(), session(FakeSts([ANN], issuer=ISSUER)), ARN, [ISSUER.url], WEB_HOST)
    assert caller_of_token(proof) == ANN_AS_ROLE


REFUSING = FakeIdentity(ANN.arn, ANN.access_key, token=ANN.token, may_get_token=False)


@pytest.mark.parametrize(
    ("sts", "issuer"),
    [
        (FakeSts([REFUSING], issuer=ISSUER), ISSUER.url),
        (FakeSts([ANN]), ISSUER.url),
        (FakeSts([ANN], issuer=ISSUER), "https://another.tokens.sts.global.api.aws"),
    ],
    ids=["the caller may not", "the account has not enabled it", "the account's issuer is not trusted"],
)
def test_without_a_trusted_token_the_proof_is_presigned(sts: FakeSts, issuer: str) -> None:
    proof = identity_proof(connection(), session(sts), ARN, [issuer], WEB_HOST)
    assert proof.startswith(STS_PROOF_PREFIX)
    assert caller_of_presigned(proof, sts) == ANN.arn


def test_credentials_that_sts_does_not_accept_are_an_error() -> None:
    with pytest.raises(CredentialsError, match="InvalidClientTokenId") as raised:
        identity_proof(connection(), session(FakeSts([], issuer=ISSUER)), ARN, [ISSUER.url], WEB_HOST)
    assert ANN.secret_key not in str(raised.value)


def test_an_sts_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    sts = FakeSts([ANN], issuer=ISSUER)
    monkeypatch.setattr(
        sts, "answer", lambda *_: (503, b"<ErrorResponse><Error><Code>Down</Code></Error></ErrorResponse>")
    )
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(UnreachableError):
        identity_proof(connection(), session(sts), ARN, [ISSUER.url], WEB_HOST)


def test_no_credentials_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    without = botocore.session.Session()
    monkeypatch.setattr(without, "get_credentials", lambda: None)
    with pytest.raises(CredentialsError, match="AWS_PROFILE"):
        identity_proof(connection(), boto3.session.Session(botocore_session=without), ARN, [], WEB_HOST)


@pytest.mark.parametrize(
    ("endpoints", "variable"),
    [({"aws": "http://127.0.0.1:4566"}, None), ({}, "http://127.0.0.1:4566")],
    ids=["on this machine", "AWS_ENDPOINT_URL"],
)
def test_the_proof_is_for_the_endpoint_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, endpoints: dict[str, str], variable: str | None
) -> None:
    if variable:
        monkeypatch.setenv("AWS_ENDPOINT_URL", variable)
    sts = FakeSts([ANN])
    proof = identity_proof(connection(**endpoints), session(sts), ARN, [], WEB_HOST)
    assert caller_of_presigned(proof, sts, "http://127.0.0.1:4566") == ANN.arn


def test_credentials_are_printed_nowhere(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        identity_proof(connection(), session(FakeSts([ANN], issuer=ISSUER)), ARN, [ISSUER.url], WEB_HOST)
    output = "".join(capsys.readouterr()) + caplog.text
    assert not [secret for secret in (ANN.secret_key, ANN.token or "") if secret in output]
