# SPDX-License-Identifier: Apache-2.0
"""A message is deleted when its task has started, at the latest before its redelivery."""

import base64
import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from openmwaa_runtime.ack_on_start import LATEST_S, StartPipe
from openmwaa_runtime.airflow_3.worker import FORBIDDEN, expiry, refused_for_age, watch_airflow
from openmwaa_runtime.settings.connections import VISIBILITY_TIMEOUT_S

NOW = 1_000_000.0


class FakeRequest:
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


class HttpRefusal(Exception):  # noqa: N818 - like httpx's error
    def __init__(self, status: int) -> None:
        super().__init__(str(status))
        self.response = SimpleNamespace(status_code=status)


def test_the_message_of_a_started_task_is_deleted_and_no_other() -> None:
    pipe = StartPipe(wall=lambda: NOW + 1)
    requests = {"a": FakeRequest(), "b": FakeRequest(), "held": FakeRequest(time_start=None)}
    pipe.acknowledge(requests)
    assert not any(request.acknowledged for request in requests.values())
    pipe.report("b")
    pipe.report("of another connection")
    pipe.acknowledge(requests)
    assert {name for name, request in requests.items() if request.acknowledged} == {"b"}


def test_the_message_of_a_task_that_cannot_start_is_deleted_before_its_redelivery() -> None:
    assert LATEST_S < VISIBILITY_TIMEOUT_S - 30, "a second worker would receive it while the first one still tries"
    requests = {"a": FakeRequest(), "held": FakeRequest(time_start=None)}
    StartPipe(wall=lambda: NOW + LATEST_S).acknowledge(requests)
    assert not requests["a"].acknowledged
    StartPipe(wall=lambda: NOW + LATEST_S + 1).acknowledge(requests)
    assert (requests["a"].acknowledged, requests["held"].acknowledged) == (True, False)


def test_reports_that_arrive_in_several_reads_are_complete() -> None:
    pipe = StartPipe()
    for number in range(100):
        pipe.report(f"task-{number}")
    assert pipe.read() == [f"task-{number}" for number in range(100)]
    assert pipe.read() == []


def test_a_full_pipe_neither_blocks_nor_fails_a_task() -> None:
    pipe = StartPipe()
    for _ in range(3000):
        pipe.report("0123456789abcdef0123456789abcdef-0123456789")
    assert 0 < len(pipe.read()) < 3000


@pytest.mark.parametrize("text", ["", "a.b", "a.!!.c", token("soon"), "a.bm8.c"], ids=repr)
def test_a_token_without_an_expiry_has_not_expired(text: str) -> None:
    assert expiry(text) is None


def test_a_refused_token_has_expired_only_if_its_expiry_has_passed() -> None:
    refusal = HttpRefusal(FORBIDDEN)
    assert refused_for_age(refusal, client(NOW - 1), NOW)
    assert not refused_for_age(refusal, client(NOW + 1), NOW), "an error of the secret would be hidden"
    assert not refused_for_age(HttpRefusal(500), client(NOW - 1), NOW)
    assert not refused_for_age(OSError("unreachable"), client(NOW - 1), NOW)


class AlreadyRunning(Exception):  # noqa: N818 - like Airflow's
    pass


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The wrapped part of Airflow's supervisor; `api` is the error of the execution API."""

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


def test_a_task_has_started_when_the_api_accepted_it(supervisor: Any) -> None:
    started: list[str] = []
    assert watch_airflow(lambda: started.append("started"))
    supervisor()._on_child_started(ti=object())
    assert started == ["started"]


def test_a_message_with_an_expired_token_is_dropped_and_other_refusals_are_raised(supervisor: Any) -> None:
    started: list[str] = []
    watch_airflow(lambda: started.append("started"))
    supervisor.api = HttpRefusal(FORBIDDEN)
    with pytest.raises(AlreadyRunning):
        supervisor()._on_child_started(ti=object())
    supervisor.api = HttpRefusal(500)
    with pytest.raises(HttpRefusal):
        supervisor()._on_child_started(ti=object())
    assert started == []


def test_an_airflow_without_the_wrapped_method_is_not_changed(supervisor: Any) -> None:
    del supervisor._on_child_started
    assert not watch_airflow(lambda: None)
