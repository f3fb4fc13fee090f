# SPDX-License-Identifier: Apache-2.0
"""The agent's threads, one step at a time: events, calls to ECS, commands, the report, the start of the server."""

import json
import logging
import os
import queue
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state as worker_state

from worker_agent import agent as agent_module
from worker_agent.agent import SNAPSHOT_LIMIT_S, Agent
from worker_agent.ecs import TaskMetadata
from worker_agent.errors import CommandRefusedError, TaskLockedError
from worker_agent.gate import Gate
from worker_agent.settings import AgentSettings
from worker_agent.state_machine import (
    Call,
    CallAnswered,
    Drain,
    Phase,
    ProtectionRequest,
    ProtectionResult,
    Resume,
    Snapshot,
    Terminate,
)
from worker_agent.wire import AgentReport

ARN = "arn:aws:ecs:us-east-1:123456789012:task/openmwaa-test/abc"
METADATA_URI = "http://169.254.170.2/v4/abc"
SNAPSHOT = Snapshot(0, False, 1, 2, 3, 4, 5)
PROTECT = Call(1, ProtectionRequest.PROTECT)


class EndOfTestError(Exception):
    """Ends an endless loop of the agent."""


class AgentScenario:
    """An agent without threads, with a clock; `answers` are ECS's answers to its calls."""

    def __init__(self, *, metadata_uri: str | None = METADATA_URI) -> None:
        self.now, self.wall = 100.0, 0.0
        self.gate = Gate()
        self.answers: list[CallAnswered] = []
        self.performed: list[tuple[Call, str]] = []
        settings = AgentSettings("http://169.254.170.2/api", metadata_uri, 8790, b"k" * 32, 60)
        self.agent = Agent(
            settings, gate=self.gate, protection=self, clock=lambda: self.now, wall=lambda: self.wall + self.now
        )
        self.agent._running = True

    def perform(self, call: Call, *, task_arn: str) -> CallAnswered:
        if not self.answers:
            raise EndOfTestError
        self.performed.append((call, task_arn))
        return self.answers.pop(0)

    def process(self, events: int = 1) -> None:
        for _ in range(events):
            self.agent._process_next_event()

    def call_ecs(self, *answers: CallAnswered) -> None:
        """Let the protection thread make one call for each answer; it needs one call more, which ends it."""
        self.answers.extend(answers)
        self.agent._calls.put(PROTECT)
        with pytest.raises(EndOfTestError):
            self.agent._protect()

    def open_gate(self) -> None:
        """Process a first snapshot and the granted protection."""
        self.agent.post_snapshot(SNAPSHOT)
        self.process()
        self.call_ecs(CallAnswered(1, ProtectionResult.PROTECTED, until=self.now + 3600))
        self.process()


@pytest.fixture
def scenario() -> AgentScenario:
    return AgentScenario()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The threads that the agent starts; none of them runs."""
    started: list[dict[str, Any]] = []

    def thread(**options: Any) -> Any:
        return SimpleNamespace(start=lambda: started.append(options))

    monkeypatch.setattr("worker_agent.agent.threading.Thread", thread)
    return started


def test_the_agent_starts_with_its_http_thread_and_keeps_the_first_snapshot_only(
    scenario: AgentScenario, started: list[dict[str, Any]]
) -> None:
    scenario.agent._running = False
    scenario.agent.start(SNAPSHOT)
    for _ in range(100):
        scenario.agent.post_snapshot(SNAPSHOT)
    assert started == [
        {
            "target": scenario.agent._run,
            "args": (scenario.agent._serve,),
            "name": "worker-agent-http",
            "daemon": True,
        }
    ]
    scenario.process()
    assert scenario.agent.report().state.snapshot == SNAPSHOT
    assert scenario.agent._posts.empty(), "no loop reads the snapshots of a worker that waits for another one"


def test_the_first_event_requests_protection_and_the_grant_opens_the_gate(scenario: AgentScenario) -> None:
    scenario.agent.post_snapshot(SNAPSHOT)
    scenario.process()
    assert scenario.agent._calls.get_nowait() == PROTECT
    assert not scenario.gate.state.is_open(scenario.now)
    scenario.agent._calls.put(PROTECT)
    scenario.call_ecs(CallAnswered(1, ProtectionResult.PROTECTED, until=3700.0))
    assert scenario.performed == [(PROTECT, "")], "the ARN is unknown before the metadata is read"
    scenario.process()
    assert (scenario.gate.state.generation, scenario.gate.state.open_until) == (1, 3695.0)


def test_an_answer_with_a_reason_is_logged_as_a_warning(
    scenario: AgentScenario, caplog: pytest.LogCaptureFixture
) -> None:
    scenario.agent.post_snapshot(SNAPSHOT)
    scenario.process()
    scenario.call_ecs(CallAnswered(1, ProtectionResult.REFUSED, reason="DEPLOYMENT_BLOCKED"))
    assert [record.getMessage() for record in caplog.records] == ["worker agent: protect: DEPLOYMENT_BLOCKED"]
    scenario.process()
    assert scenario.agent.report().state.refusal == "DEPLOYMENT_BLOCKED"


def test_a_drain_closes_the_gate_and_the_report_is_made_after_it(
    scenario: AgentScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.open_gate()
    posts = scenario.agent._posts

    def put_and_process(post: Any) -> None:
        posts.put(post)
        scenario.process()

    monkeypatch.setattr(scenario.agent, "_posts", SimpleNamespace(put=put_and_process, get=posts.get))
    report = scenario.agent.execute(Drain(60.0))
    assert (report.state.phase, report.state.lease_until) == (Phase.DRAINING, 160.0)
    assert (scenario.gate.state.generation, scenario.gate.state.open_until) == (2, None)
    assert scenario.agent.execute(Resume()).state.phase is Phase.CONSUMING


def test_a_command_without_a_response_is_refused_with_503(
    scenario: AgentScenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def wait(_event: object, timeout: float) -> bool:
        waited.append(timeout)
        return False

    monkeypatch.setattr("worker_agent.agent.threading.Event.wait", wait)
    with pytest.raises(CommandRefusedError, match="no response within 2 s") as refused:
        scenario.agent.execute(Resume())
    assert (refused.value.status, waited) == (503, [2.0])


def test_termination_closes_the_gate_before_the_loop_processes_it(scenario: AgentScenario) -> None:
    scenario.open_gate()
    scenario.agent.terminate()
    assert not scenario.gate.state.is_open(scenario.now)
    assert scenario.gate.sealed
    scenario.process()
    assert scenario.agent.report().state.phase is Phase.STOPPING


def test_a_consumer_that_ends_its_snapshots_is_unknown(scenario: AgentScenario) -> None:
    scenario.open_gate()
    scenario.now += SNAPSHOT_LIMIT_S
    assert not scenario.agent.report().stale
    scenario.now += 1.0
    assert scenario.agent.report().stale, "its main loop hangs: it takes no message"
    scenario.agent.post_snapshot(SNAPSHOT)
    assert not scenario.agent.report().stale
    scenario.agent.post_snapshot(SNAPSHOT, follows=False)
    scenario.now += 100_000.0
    assert not scenario.agent.report().stale, "a task of --pool=solo runs in the main loop"


@pytest.mark.parametrize("drainable", [True, False])
def test_a_consumer_that_hangs_before_its_second_snapshot_is_unknown(
    scenario: AgentScenario, started: list[dict[str, Any]], drainable: bool
) -> None:
    scenario.agent.start(replace(SNAPSHOT, drainable=drainable))
    scenario.process()
    scenario.call_ecs(CallAnswered(1, ProtectionResult.PROTECTED, until=scenario.now + 3600))
    scenario.process()
    scenario.now += SNAPSHOT_LIMIT_S + 1.0
    assert scenario.agent.report().state.phase is Phase.CONSUMING
    assert scenario.agent.report().stale is drainable, "a transport without a gate has one snapshot only"


@pytest.mark.parametrize("phase", Phase)
def test_only_what_depends_on_the_consumer_is_unknown(phase: Phase) -> None:
    """A released worker takes nothing, and a worker that stops has no main loop any more."""
    state: Any = SimpleNamespace(phase=phase)
    stale = AgentReport(ARN, state, now=2.0, wall=0.0, snapshot_due=1.0).stale
    assert stale is (phase in (Phase.CONSUMING, Phase.DRAINING, Phase.RELEASING))


def test_the_report_has_both_clocks(scenario: AgentScenario) -> None:
    scenario.wall = 1000.0
    report = scenario.agent.report()
    assert (report.task_arn, report.now, report.wall) == ("", 100.0, 1100.0)
    assert report.state.next_call_at == 100.0


def test_each_change_of_phase_is_one_log_line(scenario: AgentScenario, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="worker_agent.agent")
    scenario.open_gate()
    scenario.agent.post_snapshot(SNAPSHOT)
    scenario.process()
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert [(line["event"], line["previous"], line["phase"]) for line in lines] == [
        ("worker_agent.phase", "starting", "consuming")
    ]


@pytest.mark.parametrize(
    ("seconds_to_deadline", "timeout"),
    [
        pytest.param(0.5, 0.5, id="until the deadline"),
        pytest.param(30.0, 1.0, id="at most one second"),
        pytest.param(0.0, 0.05, id="never less than 50 ms"),
        pytest.param(-5.0, 0.05, id="the deadline has passed"),
    ],
)
def test_the_loop_waits_for_the_next_deadline(
    scenario: AgentScenario, monkeypatch: pytest.MonkeyPatch, seconds_to_deadline: float, timeout: float
) -> None:
    waited: list[float] = []

    def get(*, timeout: float) -> Any:
        waited.append(timeout)
        raise queue.Empty

    monkeypatch.setattr(scenario.agent, "_posts", SimpleNamespace(get=get))
    monkeypatch.setattr(agent_module, "next_deadline", lambda _state: scenario.now + seconds_to_deadline)
    scenario.process()
    assert waited == [pytest.approx(timeout)]
    assert scenario.agent._calls.get_nowait() == PROTECT, "time has passed: the first call is due"


@pytest.mark.parametrize("thread", ["_loop", "_protect", "_serve"])
def test_an_error_in_a_thread_ends_the_worker_after_its_polls_and_tasks(
    scenario: AgentScenario, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, thread: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise EndOfTestError

    scenario.open_gate()
    assert scenario.agent.report().to_wire()["phase"] == "consuming"
    monkeypatch.setattr(scenario.agent, "_process_next_event", fail)
    monkeypatch.setattr(scenario, "perform", fail)
    monkeypatch.setattr(agent_module, "read_task_metadata", fail)
    monkeypatch.setattr(worker_state, "should_stop", None)
    waited: list[tuple[float, Any]] = []
    monkeypatch.setattr(
        "worker_agent.agent.time.sleep", lambda seconds: waited.append((seconds, worker_state.should_stop))
    )
    scenario.agent._calls.put(PROTECT)
    with pytest.raises(EndOfTestError):
        scenario.agent._run(getattr(scenario.agent, thread))
    state = scenario.agent.report().to_wire()
    assert (state["phase"], state["gate"], state["drain_lease_until"]) == ("stopping", "closed", None)
    exit_code: Any = worker_state.should_stop
    assert (waited, exit_code) == ([(25.0, None)], os.EX_SOFTWARE)
    assert [(record.levelname, bool(record.exc_info)) for record in caplog.records] == [("CRITICAL", True)]
    assert scenario.agent._running is (thread != "_loop"), "no loop reads further snapshots"


class FakeServer:
    """The HTTP server; the first `failures` cannot listen."""

    failures = 0
    made: list["FakeServer"]

    def __init__(self, address: str, port: int, *, agent: Agent, verifier: Any) -> None:
        self.address, self.port, self.agent, self.verifier = address, port, agent, verifier
        self.server_address = (address, port, "more")
        if FakeServer.failures:
            FakeServer.failures -= 1
            raise OSError("address in use")
        self.served = 0
        FakeServer.made.append(self)

    def serve_forever(self) -> None:
        self.served += 1


class FakeLock:
    """The lock of the task; another worker holds it for the first `failures` attempts."""

    failures = 0
    taken: list[str]

    def __init__(self, task_arn: str) -> None:
        if FakeLock.failures:
            FakeLock.failures -= 1
            raise TaskLockedError("another worker")
        FakeLock.taken.append(task_arn)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch, started: list[dict[str, Any]]) -> list[float]:
    slept: list[float] = []
    FakeServer.made, FakeLock.taken = [], []
    monkeypatch.setattr(agent_module, "AgentServer", FakeServer)
    monkeypatch.setattr(agent_module, "TaskLock", FakeLock)
    monkeypatch.setattr("worker_agent.agent.time.sleep", slept.append)
    return slept


def test_the_metadata_is_read_until_it_answers_and_then_the_server_listens_on_its_address(
    scenario: AgentScenario, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Exception | TaskMetadata] = [OSError("down"), ValueError("cut"), TaskMetadata(ARN, "10.0.0.7")]

    def read(uri: str) -> TaskMetadata:
        assert uri == METADATA_URI
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(agent_module, "read_task_metadata", read)
    FakeServer.failures = 2
    scenario.wall = 50.0
    scenario.agent._serve()
    (server,) = FakeServer.made
    assert (server.address, server.port, server.agent, server.served) == ("10.0.0.7", 8790, scenario.agent, 1)
    assert server.verifier._wall() == 150.0
    assert server.verifier._key is not None
    assert slept == [2.0] * 4, "two failed reads, two failed servers"
    assert scenario.agent.report().task_arn == ARN


@pytest.mark.parametrize("obstacle", [FakeLock, FakeServer], ids=["another worker has the task", "the port is in use"])
def test_no_thread_that_protects_or_consumes_starts_before_the_lock_and_the_port(
    slept: list[float],
    started: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    obstacle: Any,
) -> None:
    scenario = AgentScenario(metadata_uri=None)
    scenario.agent._running = False
    obstacle.failures = 3
    before: list[tuple[int, bool]] = []
    monkeypatch.setattr(
        "worker_agent.agent.time.sleep", lambda _: before.append((len(started), scenario.agent._running))
    )
    scenario.agent._serve()
    assert before == [(0, False)] * 3
    assert [thread["name"] for thread in started] == ["worker-agent-loop", "worker-agent-protection"]
    assert scenario.agent._running
    assert FakeLock.taken == [""]
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1, "one line while the problem is the same"
    assert "takes no message" in errors[0]


def test_without_a_metadata_endpoint_the_server_listens_on_every_address(slept: list[float]) -> None:
    scenario = AgentScenario(metadata_uri=None)
    scenario.agent._serve()
    assert (FakeServer.made[0].address, slept, scenario.agent.report().task_arn) == ("0.0.0.0", [], "")


def test_the_call_to_ecs_has_the_arn_of_the_task(
    scenario: AgentScenario, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "read_task_metadata", lambda _uri: TaskMetadata(ARN, "10.0.0.7"))
    scenario.agent._serve()
    assert slept == []
    scenario.agent._calls.put(PROTECT)
    scenario.call_ecs(CallAnswered(1, ProtectionResult.PROTECTED, until=3700.0))
    assert scenario.performed == [(PROTECT, ARN)]


def test_a_termination_is_posted_once(scenario: AgentScenario) -> None:
    scenario.agent.terminate()
    post = scenario.agent._posts.get_nowait()
    assert post.event == Terminate()
    assert not post.done.is_set()
    assert scenario.agent._posts.empty()
