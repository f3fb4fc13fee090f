# SPDX-License-Identifier: Apache-2.0
"""The agent's step between fakes."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery.worker import state

from tests.support.fake_consumer import FakeAgent, FakeGate, FakeSigterm
from worker_agent import bootstep
from worker_agent.bootstep import GATES, ProtectionStep
from worker_agent.gate import Gate


@pytest.fixture
def clean_celery_state() -> Iterator[None]:
    state.reset_state()
    yield
    state.reset_state()


@pytest.fixture
def step() -> ProtectionStep:
    step = ProtectionStep(None)
    step.agent, step.gate = FakeAgent(), Gate()  # type: ignore[assignment]
    return step


@pytest.fixture
def attached(step: ProtectionStep, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A step whose gate, handler of SIGTERM and clock are fakes; the time is 100 s."""
    monkeypatch.setitem(GATES, "sqs", FakeGate)
    monkeypatch.setattr(bootstep, "SigtermHandler", FakeSigterm)
    monkeypatch.setattr("worker_agent.bootstep.time.monotonic", lambda: 100.0)
    step.on_sigterm = lambda: None
    return step
