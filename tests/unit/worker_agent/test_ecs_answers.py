# SPDX-License-Identifier: Apache-2.0
"""What the ECS agent's answers mean, over real HTTP, and what the environment says."""

import base64
import socket
import threading
import urllib.error
from collections.abc import Iterator

import pytest

import worker_agent
from tests.support.fake_ecs_agent import TASK_ARN, FakeEcsAgent, Mode
from worker_agent.ecs import Identity, ProtectionEndpoint, read_identity
from worker_agent.errors import SettingsError
from worker_agent.settings import Settings
from worker_agent.state_machine import Ask, Call, Verdict

PROTECT, RELEASE = Call(1, Ask.PROTECT), Call(2, Ask.RELEASE)


@pytest.fixture
def ecs() -> Iterator[FakeEcsAgent]:
    with FakeEcsAgent() as fake:
        yield fake


@pytest.fixture
def endpoint(ecs: FakeEcsAgent) -> ProtectionEndpoint:
    return ProtectionEndpoint(ecs.environment["ECS_AGENT_URI"], minutes=60)


def test_granted_has_an_end_no_later_than_what_was_asked(endpoint: ProtectionEndpoint) -> None:
    asked = ProtectionEndpoint(endpoint._url, minutes=60, clock=lambda: 1000.0)
    asked._url = endpoint._url
    answer = asked.perform(PROTECT, task_arn=TASK_ARN)
    assert answer.verdict is Verdict.PROTECTED
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
    ("mode", "verdict", "says"),
    [
        ("refuse", Verdict.REFUSED, "DEPLOYMENT_BLOCKED"),
        ("error", Verdict.REFUSED, "ServerException"),
        ("nonsense", Verdict.FAILED, "no end"),
        ("cut", Verdict.FAILED, "no answer"),
    ],
)
def test_every_other_answer_is_not_protected(
    ecs: FakeEcsAgent, endpoint: ProtectionEndpoint, mode: Mode, verdict: Verdict, says: str
) -> None:
    ecs.mode = mode
    answer = endpoint.perform(PROTECT, task_arn=TASK_ARN)
    assert (answer.verdict, answer.until) == (verdict, None)
    assert says in (answer.reason or "")


def test_released_is_unprotected(ecs: FakeEcsAgent, endpoint: ProtectionEndpoint) -> None:
    endpoint.perform(PROTECT, task_arn=TASK_ARN)
    assert endpoint.perform(RELEASE, task_arn=TASK_ARN).verdict is Verdict.UNPROTECTED
    assert not ecs.protected


def test_an_answer_for_another_task_counts_for_nothing(endpoint: ProtectionEndpoint) -> None:
    assert endpoint.perform(PROTECT, task_arn="arn:another").verdict is Verdict.FAILED


def test_nobody_there_is_an_unknown_answer() -> None:
    endpoint = ProtectionEndpoint("http://127.0.0.1:9", minutes=60)
    assert endpoint.perform(PROTECT, task_arn=TASK_ARN).verdict is Verdict.FAILED


@pytest.fixture
def babbler() -> Iterator[str]:
    """An endpoint whose answers are no HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"what?\r\n\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_an_answer_that_is_no_http_is_an_unknown_answer(babbler: str) -> None:
    answer = ProtectionEndpoint(babbler, minutes=60).perform(PROTECT, task_arn=TASK_ARN)
    assert (answer.verdict, answer.until) == (Verdict.FAILED, None)


def test_metadata_that_is_no_http_is_an_error_that_is_tried_again(babbler: str) -> None:
    with pytest.raises(ValueError, match="no HTTP"):
        read_identity(babbler)


def test_the_task_learns_its_name_and_address(ecs: FakeEcsAgent) -> None:
    uri = ecs.environment["ECS_CONTAINER_METADATA_URI_V4"]
    assert read_identity(uri) == Identity(TASK_ARN, "127.0.0.1")
    with pytest.raises(urllib.error.URLError):
        read_identity("http://127.0.0.1:9")


def test_outside_ecs_there_are_no_settings() -> None:
    assert Settings.from_environment({"WORKER_AGENT_PORT": "1"}) is None


def test_settings_have_defaults_and_decode_the_key() -> None:
    key = base64.b64encode(b"k" * 32).decode()
    settings = Settings.from_environment({"ECS_AGENT_URI": "http://x/api/t/", "WORKER_AGENT_PUBLIC_KEY": key})
    assert settings == Settings("http://x/api/t", None, 8790, b"k" * 32, 60)


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
def test_a_value_that_cannot_be_meant_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({"ECS_AGENT_URI": "http://x", name: value})


def test_the_package_shows_install_and_nothing_else() -> None:
    assert worker_agent.__all__ == ["install"]
