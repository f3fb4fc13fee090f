# SPDX-License-Identifier: Apache-2.0
"""The installation through Celery's signals: what is connected, what a worker gets, and what ends it."""

import base64
import logging
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, signals

from worker_agent import installation
from worker_agent.agent import Agent
from worker_agent.bootstep import ProtectionStep
from worker_agent.ecs import ProtectionEndpoint
from worker_agent.gate import Gate
from worker_agent.settings import AgentSettings

SIGNALS: tuple[Any, ...] = (signals.worker_init, signals.worker_ready, signals.worker_shutting_down)
KEY = base64.b64encode(b"k" * 32).decode()
LOGGER = "worker_agent.installation"


@pytest.fixture(autouse=True)
def only_own_receivers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Celery's signals without receivers, before and after the test."""
    for name in ("ECS_AGENT_URI", "WORKER_AGENT_PUBLIC_KEY", "WORKER_AGENT_PORT"):
        monkeypatch.delenv(name, raising=False)
    before = [list(signal.receivers or []) for signal in SIGNALS]
    for signal in SIGNALS:
        signal.receivers = []
        signal.sender_receivers_cache.clear()
    yield
    for signal, receivers in zip(SIGNALS, before, strict=True):
        signal.receivers = receivers
        signal.sender_receivers_cache.clear()


@pytest.fixture
def in_ecs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECS_AGENT_URI", "http://169.254.170.2/api")
    monkeypatch.setenv("WORKER_AGENT_PUBLIC_KEY", KEY)
    monkeypatch.setenv("WORKER_AGENT_PROTECTION_MINUTES", "90")


def worker() -> Any:
    return SimpleNamespace(app=Celery("worker", set_as_current=False))


def start(started: Any) -> None:
    """Send the signal of a worker that starts; an exception of a receiver is an error here, not a log line."""
    for _, receiver in signals.worker_init.receivers:
        receiver(sender=started, signal=signals.worker_init)


def installed_step(started: Any) -> type[ProtectionStep]:
    steps: set[type[ProtectionStep]] = started.app.steps["consumer"]
    (step,) = steps
    assert issubclass(step, ProtectionStep)
    return step


@pytest.mark.usefixtures("in_ecs")
def test_a_worker_in_ecs_gets_a_step_with_the_agent_the_gate_and_the_callback() -> None:
    called: list[bool] = []

    def on_sigterm() -> None:
        called.append(True)

    installation.install(on_sigterm=on_sigterm)
    started = worker()
    start(started)
    step = installed_step(started)
    assert (step.__name__, step.__module__) == ("InstalledProtectionStep", "worker_agent.bootstep")
    agent, gate = step.agent, step.gate
    assert isinstance(agent, Agent)
    assert isinstance(gate, Gate)
    assert agent._gate is gate
    assert agent._settings == AgentSettings("http://169.254.170.2/api", None, 8790, b"k" * 32, 90)
    endpoint = agent._protection
    assert isinstance(endpoint, ProtectionEndpoint)
    assert (endpoint._url, endpoint._minutes) == ("http://169.254.170.2/api/task-protection/v1/state", 90)
    step.on_sigterm()
    assert called == [True]


@pytest.mark.usefixtures("in_ecs")
def test_without_a_callback_sigterm_calls_nothing() -> None:
    installation.install()
    started = worker()
    start(started)
    installed_step(started).on_sigterm()


@pytest.mark.usefixtures("in_ecs")
def test_repeated_installation_adds_one_step() -> None:
    for _ in range(3):
        installation.install()
    assert len(signals.worker_init.receivers) == 1
    started = worker()
    start(started)
    installed_step(started)


@pytest.mark.usefixtures("in_ecs")
def test_the_receivers_live_as_long_as_the_process() -> None:
    """A weak reference would drop the receiver, and the worker would start unprotected."""
    installation.install()
    start(worker())
    for signal in (signals.worker_init, signals.worker_shutting_down):
        ((_, receiver),) = signal.receivers
        assert not isinstance(receiver, weakref.ref), signal


@pytest.mark.usefixtures("in_ecs")
def test_a_worker_that_shuts_down_seals_its_own_gate() -> None:
    installation.install()
    first, second = worker(), worker()
    for started in (first, second):
        start(started)
    assert len(signals.worker_shutting_down.receivers) == 2, "each worker of the process has its own receiver"
    signals.worker_shutting_down.send(sender=None, sig="SIGTERM", how="warm", exitcode=0)
    assert [installed_step(started).gate.sealed for started in (first, second)] == [True, True]


@pytest.mark.parametrize("has_key", [True, False], ids=["with a key", "without a key"])
def test_a_worker_without_a_public_key_is_protected_and_its_log_has_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, has_key: bool
) -> None:
    monkeypatch.setenv("ECS_AGENT_URI", "http://169.254.170.2/api")
    if has_key:
        monkeypatch.setenv("WORKER_AGENT_PUBLIC_KEY", KEY)
    installation.install()
    started = worker()
    start(started)
    installed_step(started)
    assert ["cannot drain" in record.getMessage() for record in caplog.records] == ([] if has_key else [True])


def test_outside_ecs_the_log_line_is_written_when_the_worker_is_ready(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=LOGGER)
    for _ in range(2):
        installation.install()
        started = worker()
        start(started)
    assert started.app.steps["consumer"] == set()
    assert signals.worker_shutting_down.receivers == []
    assert caplog.records == []
    signals.worker_ready.send(sender=None)
    assert ["outside ECS" in record.getMessage() for record in caplog.records] == [True], "one line, not one per worker"


@pytest.mark.parametrize(
    ("port", "broken", "exit_code"),
    [
        pytest.param("none", False, 78, id="an invalid setting"),
        pytest.param("8790", True, 70, id="any other error"),
    ],
)
def test_a_worker_that_cannot_be_protected_ends_with_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, port: str, exit_code: int, *, broken: bool
) -> None:
    monkeypatch.setenv("ECS_AGENT_URI", "http://169.254.170.2/api")
    monkeypatch.setenv("WORKER_AGENT_PORT", port)
    installation.install()
    with pytest.raises(SystemExit) as ended:
        start(None if broken else worker())
    assert ended.value.code == exit_code
    assert caplog.records[-1].levelname == "CRITICAL"
    assert bool(caplog.records[-1].exc_info) is broken
