# SPDX-License-Identifier: Apache-2.0
"""A message is deleted when its task has begun, at the latest before it would be delivered again."""

import base64
import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from openmwaa_runtime.ack_on_start import FORBIDDEN, LATEST_S, Beginnings, expiry, refused_for_age, watch_airflow
from openmwaa_runtime.settings.connections import VISIBILITY_TIMEOUT_S

NOW = 1_000_000.0


class Request:
    """A Celery request that a pool process took at `time_start`."""

    def __init__(self, time_start: float | None = NOW) -> None:
        self.time_start = time_start
        self.acknowledged = False

    def acknowledge(self) -> None:
        self.acknowledged = True


def token(expires: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).rstrip(b"=").decode()
    return f"head.{payload}.signature"


def client(expires: object) -> Any:
    return SimpleNamespace(auth=SimpleNamespace(token=token(expires)))


class Refusal(Exception):  # noqa: N818 - httpx's errors are not ours to name
    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.response = SimpleNamespace(status_code=status)


def test_only_the_message_of_the_task_that_has_begun_is_deleted() -> None:
    beginnings = Beginnings(wall=lambda: NOW + 1)
    requests = {"a": Request(), "b": Request(), "held": Request(time_start=None)}
    beginnings.acknowledge(requests)
    assert not any(request.acknowledged for request in requests.values())
    beginnings.say("b")
    beginnings.say("of another connection")
    beginnings.acknowledge(requests)
    assert {name for name, request in requests.items() if request.acknowledged} == {"b"}


def test_a_message_that_cannot_begin_is_deleted_before_it_would_be_delivered_again() -> None:
    assert LATEST_S < VISIBILITY_TIMEOUT_S - 30, "it would be delivered to a second worker while the first still tries"
    requests = {"a": Request(), "held": Request(time_start=None)}
    Beginnings(wall=lambda: NOW + LATEST_S).acknowledge(requests)
    assert not requests["a"].acknowledged
    Beginnings(wall=lambda: NOW + LATEST_S + 1).acknowledge(requests)
    assert (requests["a"].acknowledged, requests["held"].acknowledged) == (True, False)


def test_what_was_said_in_several_pieces_is_heard_whole() -> None:
    beginnings = Beginnings()
    for number in range(100):
        beginnings.say(f"task-{number}")
    assert beginnings.heard() == [f"task-{number}" for number in range(100)]
    assert beginnings.heard() == []


def test_a_full_pipe_neither_blocks_nor_fails_a_task() -> None:
    beginnings = Beginnings()
    for _ in range(3000):
        beginnings.say("0123456789abcdef0123456789abcdef-0123456789")
    assert 0 < len(beginnings.heard()) < 3000


@pytest.mark.parametrize("text", ["", "a.b", "a.!!.c", token("soon"), "a.bm8.c"], ids=repr)
def test_a_token_that_does_not_say_when_it_expires_has_not_expired(text: str) -> None:
    assert expiry(text) is None


def test_a_refused_token_is_old_only_if_it_says_so() -> None:
    refusal = Refusal(FORBIDDEN)
    assert refused_for_age(refusal, client(NOW - 1), NOW)
    assert not refused_for_age(refusal, client(NOW + 1), NOW), "a wrong secret would be hidden"
    assert not refused_for_age(Refusal(500), client(NOW - 1), NOW)
    assert not refused_for_age(OSError("unreachable"), client(NOW - 1), NOW)


class AlreadyRunning(Exception):  # noqa: N818 - stands for Airflow's
    pass


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As much of Airflow's supervisor as is wrapped; `api` is what the execution API answers."""

    class ActivitySubprocess:
        api: Exception | None = None
        client = client(NOW - 1)

        def _on_child_started(self, *, ti: object) -> None:
            if self.api:
                raise self.api

    modules: dict[str, dict[str, Any]] = {
        "airflow": {},
        "airflow.sdk": {},
        "airflow.sdk.exceptions": {"TaskAlreadyRunningError": AlreadyRunning},
        "airflow.sdk.execution_time": {},
        "airflow.sdk.execution_time.supervisor": {"ActivitySubprocess": ActivitySubprocess},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return ActivitySubprocess


def test_a_task_has_begun_when_the_api_took_it(supervisor: Any) -> None:
    begun: list[str] = []
    assert watch_airflow(lambda: begun.append("begun"))
    supervisor()._on_child_started(ti=object())
    assert begun == ["begun"]


def test_a_message_with_an_expired_token_is_dropped_and_any_other_refusal_is_seen(supervisor: Any) -> None:
    begun: list[str] = []
    watch_airflow(lambda: begun.append("begun"))
    supervisor.api = Refusal(FORBIDDEN)
    with pytest.raises(AlreadyRunning):
        supervisor()._on_child_started(ti=object())
    supervisor.api = Refusal(500)
    with pytest.raises(Refusal):
        supervisor()._on_child_started(ti=object())
    assert begun == []


def test_an_airflow_without_the_place_to_watch_is_left_alone(supervisor: Any) -> None:
    del supervisor._on_child_started
    assert not watch_airflow(lambda: None)
