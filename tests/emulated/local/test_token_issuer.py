# SPDX-License-Identifier: Apache-2.0
"""The local issuer signs tokens as STS does, and the web server's own verifier accepts them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from openmwaa.config.environment import Environment
from openmwaa.local.services import aws, principals
from openmwaa.local.services.principals import AccessKey
from openmwaa.operate.connection import Connection
from openmwaa.operate.identity_proof import describe_proof, identity_proof
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import ProofError
from openmwaa_runtime.auth.principal import PrincipalKind, Proof
from openmwaa_runtime.auth.settings import AuthSettings
from openmwaa_runtime.auth.verifier import STS_PROOF_PREFIX
from openmwaa_runtime.web_handlers import verifiers_of
from tests.support.emulator import find_emulator, running_emulator
from tests.support.environments import LEAST
from tests.support.fake_login_store import FakeLoginStore

pytestmark = pytest.mark.emulated
ENVIRONMENT = EnvironmentArn("aws", aws.REGION, aws.ACCOUNT, "demo")
MAY = {"Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*"}
TRUST = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}]}


def verify(url: str, proof: str) -> Any:
    """Verify as the web server of an environment on this machine does."""
    variables = {
        "OPENMWAA_ENVIRONMENT_ARN": str(ENVIRONMENT),
        "OPENMWAA_WEB_URL": "http://127.0.0.1:8080",
        "OPENMWAA_API_SECRET_KEY": "secret",
        "OPENMWAA_LOCAL_TOKEN_ISSUER": url,
        "AWS_ENDPOINT_URL": url,
    }
    kind = "sts" if proof.startswith(STS_PROOF_PREFIX) else "jwt"
    return verifiers_of(AuthSettings.read(variables), FakeLoginStore(), variables)[kind].verify(proof)


def session(key: AccessKey, token: str | None = None) -> Any:
    return boto3.Session(key.key_id, key.secret, token, region_name=aws.REGION)


def proof_of(url: str, caller: Any) -> str:
    environment = Environment.model_validate({**LEAST, "name": "demo", "region": aws.REGION})
    return identity_proof(
        Connection(environment, Path("environment.yaml"), {"aws": url}), caller, ENVIRONMENT, [url], "127.0.0.1"
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_emulator(find_emulator(), services="iam,sts") as found:
        yield found


async def test_op_and_admin_have_tokens_and_the_others_fall_back_to_the_presigned_request(
    url: str, tmp_path: Path
) -> None:
    file = tmp_path / "principals.json"
    await principals.ensure(file, url, environment="demo", region=aws.REGION)
    for name, key in principals.read(file).items():
        proof = proof_of(url, session(key))
        expected = Proof.JWT if name in {"op", "admin"} else Proof.STS
        found = verify(url, proof)
        assert (found.arn, found.proof) == (f"arn:aws:iam::{aws.ACCOUNT}:user/{name}", expected)
        assert (f"the local issuer {url}" in describe_proof(proof, local=True)) is (expected is Proof.JWT)
    root = proof_of(url, session(AccessKey("test", "test")))
    assert root.startswith(STS_PROOF_PREFIX), "the root user has no token"


def test_the_token_of_a_role_names_the_role_with_its_path_and_not_the_session(url: str) -> None:
    root = session(AccessKey("test", "test"))
    iam = root.client("iam", endpoint_url=url)
    trust = json.dumps(TRUST)
    role = iam.create_role(RoleName="analysts", Path="/team/", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    sts = root.client("sts", endpoint_url=url)
    keys = sts.assume_role(RoleArn=role, RoleSessionName="ann")["Credentials"]
    ann = session(AccessKey(keys["AccessKeyId"], keys["SecretAccessKey"]), keys["SessionToken"])
    assert proof_of(url, ann).startswith(STS_PROOF_PREFIX), "without a permission"
    document = json.dumps({"Version": "2012-10-17", "Statement": [MAY]})
    iam.put_role_policy(RoleName="analysts", PolicyName="token", PolicyDocument=document)
    found = verify(url, proof_of(url, ann))
    assert (found.arn, found.kind, found.session, found.proof) == (role, PrincipalKind.ROLE, None, Proof.JWT)
    client = ann.client("sts", endpoint_url=url)
    token = client.get_web_identity_token(Audience=["other"], DurationSeconds=300, SigningAlgorithm="ES384")
    with pytest.raises(ProofError, match="is not for arn"):
        verify(url, token["WebIdentityToken"])
    assert token["Expiration"].timestamp() == pytest.approx(time.time() + 300, abs=60)
