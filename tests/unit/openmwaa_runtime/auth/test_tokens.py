# SPDX-License-Identifier: Apache-2.0
"""Tokens are valid once, for one purpose, in one environment, for a short time."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace

import jwt
import pytest

from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.errors import ProofError
from openmwaa_runtime.auth.tokens import LIFETIMES_S, Purpose
from tests.support.login_parts import ANNA, ENVIRONMENT, SECRET, TablePolicy, World


@pytest.fixture
def world() -> World:
    return World(TablePolicy({ANNA.arn: [AirflowRole.VIEWER]}))


@pytest.mark.parametrize("purpose", Purpose)
def test_a_token_has_its_caller_and_role(purpose: Purpose, world: World) -> None:
    token, issued = world.tokens().issue(purpose, ANNA, AirflowRole.VIEWER)
    assert world.tokens().redeem(purpose, token) == issued
    assert (issued.principal, issued.role) == (ANNA, AirflowRole.VIEWER)
    assert issued.expires_at - issued.issued_at == LIFETIMES_S[purpose]


def test_the_second_of_two_servers_refuses_a_used_token(world: World) -> None:
    first, second = world.tokens(), world.tokens()
    token, _ = first.issue(Purpose.WEB, ANNA, AirflowRole.VIEWER)
    first.redeem(Purpose.WEB, token)
    with pytest.raises(ProofError, match="used before"):
        second.redeem(Purpose.WEB, token)


def test_credentials_can_be_used_repeatedly(world: World) -> None:
    token, _ = world.tokens().issue(Purpose.CREDENTIALS, ANNA, None)
    assert world.tokens().redeem(Purpose.CREDENTIALS, token) == world.tokens().redeem(Purpose.CREDENTIALS, token)


def test_a_token_expires_after_60_seconds(world: World) -> None:
    token, _ = world.tokens().issue(Purpose.WEB, ANNA, AirflowRole.VIEWER)
    world.now += 60
    with pytest.raises(ProofError, match="has expired"):
        world.tokens().redeem(Purpose.WEB, token)
    world.now -= 0.001
    world.tokens().redeem(Purpose.WEB, token)


@pytest.mark.parametrize("issued", Purpose)
@pytest.mark.parametrize("redeemed", Purpose)
def test_a_token_has_one_purpose(issued: Purpose, redeemed: Purpose, world: World) -> None:
    token, _ = world.tokens().issue(issued, ANNA, AirflowRole.VIEWER)
    if issued is redeemed:
        world.tokens().redeem(redeemed, token)
        return
    with pytest.raises(ProofError):
        world.tokens().redeem(redeemed, token)


def _unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    return f"{header}.{token.split('.')[1]}."


def _promoted(token: str) -> str:
    header, content, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)))
    changed = base64.urlsafe_b64encode(json.dumps({**claims, "role": "Admin"}).encode()).decode().rstrip("=")
    return f"{header}.{changed}.{signature}"


def _other_key(token: str) -> str:
    return jwt.encode(jwt.decode(token, options={"verify_signature": False}), "x" * 64, "HS256")


@pytest.mark.parametrize("forge", [_unsigned, _promoted, _other_key, lambda _token: "", lambda token: token + "x"])
def test_a_forged_token_is_refused(forge: Callable[[str], str], world: World) -> None:
    token, _ = world.tokens().issue(Purpose.WEB, ANNA, AirflowRole.VIEWER)
    with pytest.raises(ProofError, match="not valid"):
        world.tokens().redeem(Purpose.WEB, forge(token))


@pytest.mark.parametrize("part", ["partition", "region", "account", "name"])
def test_a_token_of_another_environment_is_refused(part: str, world: World) -> None:
    values = {"partition": "aws-cn", "region": "eu-west-2", "account": "210987654321", "name": "analytic"}
    other = replace(ENVIRONMENT, **{part: values[part]})
    token, _ = world.tokens(other).issue(Purpose.WEB, ANNA, AirflowRole.ADMIN)
    with pytest.raises(ProofError, match="not valid"):
        world.tokens().redeem(Purpose.WEB, token)


def test_a_new_secret_ends_all_tokens(world: World) -> None:
    token, _ = world.tokens().issue(Purpose.CREDENTIALS, ANNA, None)
    with pytest.raises(ProofError, match="not valid"):
        world.tokens(secret=f"{SECRET}2").redeem(Purpose.CREDENTIALS, token)
