# SPDX-License-Identifier: Apache-2.0
"""The meaning of the ECS agent's answers, over real HTTP, and the settings from the environment."""

import base64
import socket
import threading
import urllib.error
from collections.abc import Iterator

import pytest

import worker_agent
from tests.support.fake_ecs_agent import AnswerMode, FakeEcsAgent
from worker_agent.ecs import ProtectionEndpoint, TaskMetadata, read_task_metadata
from worker_agent.errors import SettingsError
from worker_agent.settings import AgentSettings
from worker_agent.state_machine import Call, ProtectionRequest, ProtectionResult

TASK_ARN = "arn:aws:ecs:us-east-1:123456789012:task/openmwaa-test/0123456789abcdef0123456789abcdef"
PROTECT, RELEASE = Call(1, ProtectionRequest.PROTECT), Call(2, ProtectionRequest.RELEASE)


@pytest.fixture
def ecs() -> Iterator[FakeEcsAgent]:
    with FakeEcsAgent(task_arn=TASK_ARN) as fake:
        yield fake


@pytest.fixture
def endpoint(ecs: FakeEcsAgent) -> ProtectionEndpoint:
    return ProtectionEndpoint(ecs.environment["ECS_AGENT_URI"], minutes=60)


def test_a_granted_protection_ends_no_later_than_requested(endpoint: ProtectionEndpoint) -> None:
    limited = ProtectionEndpoint(endpoint._url, minutes=60, clock=lambda: 1000.0)
    limited._url = endpoint._url
    answer = limited.perform(PROTECT, task_arn=TASK_ARN)
    assert answer.result is ProtectionResult.PROTECTED
    assert answer.until is not None
    assert 1000 + 3590 < answer.until <= 1000 + 3600


def test_a_clock_that_is_ahead_shortens_the_protection(ecs: FakeEcsAgent) -> None:
    import time

    ahead = ProtectionEndpoint(
        ecs.environment["ECS_AGENT_URI"], minutes=60, clock=lambda: 0.0, wall=lambda: time.time() + 600
    )
    answer = ahead.perform(PROTECT, task_arn=TASK_ARN)
    assert answer.until is not None
    assert 2990 < answer.until <= 3001


@pytest.mark.parametrize(
    ("mode", "result", "reason"),
    [
        ("refuse", ProtectionResult.REFUSED, "DEPLOYMENT_BLOCKED"),
        ("error", ProtectionResult.REFUSED, "ServerException"),
        ("nonsense", ProtectionResult.FAILED, "no valid expiry"),
        ("cut", ProtectionResult.FAILED, "no answer"),
    ],
)
def test_every_other_answer_is_not_protected(
    ecs: FakeEcsAgent, endpoint: ProtectionEndpoint, mode: AnswerMode, result: ProtectionResult, reason: str
) -> None:
    ecs.mode = mode
    answer = endpoint.perform(PROTECT, task_arn=TASK_ARN)
    assert (answer.result, answer.until) == (result, None)
    assert reason in (answer.reason or "")


def test_released_is_unprotected(ecs: FakeEcsAgent, endpoint: ProtectionEndpoint) -> None:
    endpoint.perform(PROTECT, task_arn=TASK_ARN)
    assert endpoint.perform(RELEASE, task_arn=TASK_ARN).result is ProtectionResult.UNPROTECTED
    assert not ecs.protected


def test_an_answer_for_another_task_is_a_failure(endpoint: ProtectionEndpoint) -> None:
    assert endpoint.perform(PROTECT, task_arn="arn:another").result is ProtectionResult.FAILED


def test_an_unreachable_agent_is_a_failure() -> None:
    endpoint = ProtectionEndpoint("http://127.0.0.1:9", minutes=60)
    assert endpoint.perform(PROTECT, task_arn=TASK_ARN).result is ProtectionResult.FAILED


@pytest.fixture
def not_http() -> Iterator[str]:
    """An endpoint whose answers are not HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"what?\r\n\r\n")

        thread = threading.Thread(target=answer_once)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_an_answer_that_is_not_http_is_a_failure(not_http: str) -> None:
    answer = ProtectionEndpoint(not_http, minutes=60).perform(PROTECT, task_arn=TASK_ARN)
    assert (answer.result, answer.until) == (ProtectionResult.FAILED, None)


def test_metadata_that_is_not_http_raises_an_error_that_is_retried(not_http: str) -> None:
    with pytest.raises(ValueError, match="not HTTP"):
        read_task_metadata(not_http)


def test_the_metadata_has_the_arn_and_the_address(ecs: FakeEcsAgent) -> None:
    uri = ecs.environment["ECS_CONTAINER_METADATA_URI_V4"]
    assert read_task_metadata(uri) == TaskMetadata(TASK_ARN, "127.0.0.1")
    with pytest.raises(urllib.error.URLError):
        read_task_metadata("http://127.0.0.1:9")


def test_outside_ecs_there_are_no_settings() -> None:
    assert AgentSettings.from_environment({"WORKER_AGENT_PORT": "1"}) is None


def test_settings_have_defaults_and_decode_the_key() -> None:
    key = base64.b64encode(b"k" * 32).decode()
    settings = AgentSettings.from_environment({"ECS_AGENT_URI": "http://x/api/t/", "WORKER_AGENT_PUBLIC_KEY": key})
    assert settings == AgentSettings("http://x/api/t", None, 8790, b"k" * 32, 60)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER_AGENT_PORT", "http"),
        ("WORKER_AGENT_PORT", "70000"),
        ("WORKER_AGENT_PROTECTION_MINUTES", "0"),
        ("WORKER_AGENT_PROTECTION_MINUTES", "2881"),
        ("WORKER_AGENT_PUBLIC_KEY", "AAAA"),
        ("WORKER_AGENT_PUBLIC_KEY", "not base64"),
    ],
)
def test_an_invalid_value_is_an_error_with_the_name_of_the_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        AgentSettings.from_environment({"ECS_AGENT_URI": "http://x", name: value})


def test_the_package_exports_install_only() -> None:
    assert worker_agent.__all__ == ["install"]
