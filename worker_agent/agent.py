# SPDX-License-Identifier: Apache-2.0
"""The agent of one worker: threads that drive `state_machine.py` and never touch the consumer.

- the *HTTP* threads read the published state and post commands. The first of them takes the lock of the ECS task and
  binds the port. Only then it starts the other threads, so the gate of a worker that the scaler cannot reach stays
  closed;
- the *loop* thread owns the state: it takes events from one queue, steps the state machine and sets the gate;
- the *protection* thread makes one call to the ECS agent at a time.

The consumer's own thread only posts snapshots and reads the gate's state. The threads are connected by a `SimpleQueue`,
because its `put` is safe in signal handlers.
"""

import math
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol, TypeVar

from celery.utils.log import get_logger
from celery.worker import state as worker_state

from worker_agent.commands import CommandVerifier
from worker_agent.ecs import UNKNOWN_TASK, read_task_metadata
from worker_agent.errors import CommandRefusedError, TaskLockedError
from worker_agent.gate import Gate, GateState
from worker_agent.server import AgentServer
from worker_agent.settings import AgentSettings
from worker_agent.sigterm import LONGEST_WAIT_S
from worker_agent.state_machine import (
    Action,
    Call,
    CallAnswered,
    CloseGate,
    Drain,
    Event,
    Mode,
    OpenGate,
    Resume,
    Snapshot,
    SnapshotTaken,
    Terminate,
    TimePassed,
    WorkerState,
    next_deadline,
    step,
)
from worker_agent.task_lock import TaskLock
from worker_agent.wire import AgentReport

T = TypeVar("T")
logger = get_logger(__name__)

EXECUTE_TIMEOUT_S: Final = 2.0
LONGEST_SLEEP_S: Final = 1.0
RETRY_S: Final = 2.0
SNAPSHOT_LIMIT_S: Final = 120.0
"""A consumer posts four snapshots a second. A call of boto3 or a lost connection may block it for a minute."""


class ProtectionClient(Protocol):
    """The part of ECS that the agent uses."""

    def perform(self, call: Call, *, task_arn: str) -> CallAnswered:
        """Make one call. It blocks for some seconds at most and never raises."""
        ...


@dataclass
class _Post:
    event: Event
    done: threading.Event = field(default_factory=threading.Event)


class Agent:
    """Keeps one worker protected while tasks run, and drains it on command."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        gate: Gate,
        protection: ProtectionClient,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._protection = protection
        self._clock = clock
        self._wall = wall
        self._posts: queue.SimpleQueue[_Post] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._task = UNKNOWN_TASK
        self._lock: TaskLock | None = None
        self._running = False
        self._state = WorkerState(next_call_at=clock())
        self._snapshot_due = math.inf

    def start(self, first: Snapshot) -> None:
        """Start the agent, which serves HTTP and requests protection. Returns at once."""
        if first.drainable:  # else no snapshot follows
            self._snapshot_due = self._clock() + SNAPSHOT_LIMIT_S
        self._posts.put(_Post(SnapshotTaken(first)))
        self._start_thread("http", self._serve)

    def post_snapshot(self, snapshot: Snapshot, *, follows: bool = True) -> None:
        """Pass a snapshot of the consumer to the loop, if the loop runs; `follows`: the next one comes soon."""
        self._snapshot_due = self._clock() + SNAPSHOT_LIMIT_S if follows else math.inf
        if self._running:
            self._posts.put(_Post(SnapshotTaken(snapshot)))

    def terminate(self) -> None:
        """Close the gate for good. This is safe inside a signal handler."""
        self._gate.seal()
        self._posts.put(_Post(Terminate()))

    def report(self) -> AgentReport:
        """Return the current state."""
        state = self._state
        if self._gate.sealed:  # perhaps by a loop that has died
            state = replace(state, mode=Mode.STOP, gate_until=None, lease_until=None)
        return AgentReport(self._task.task_arn, state, self._clock(), self._wall(), self._snapshot_due)

    def execute(self, command: Drain | Resume) -> AgentReport:
        """Apply a command and return the new state. Raises CommandRefusedError (503) after a time-out."""
        post = _Post(command)
        self._posts.put(post)
        if not post.done.wait(EXECUTE_TIMEOUT_S):
            raise CommandRefusedError(
                503, f"no response within {EXECUTE_TIMEOUT_S:.0f} s; the command may still take effect"
            )
        return self.report()

    def _start_thread(self, name: str, target: Callable[[], None]) -> None:
        threading.Thread(target=self._run, args=(target,), name=f"worker-agent-{name}", daemon=True).start()

    def _run(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException:
            # Without this thread the agent cannot keep its worker protected or drain it. The worker takes no more
            # messages, waits for its polls as after SIGTERM, finishes its tasks and ends, and ECS replaces it.
            logger.critical("worker agent: internal error: this worker ends after its tasks", exc_info=True)
            self.terminate()
            time.sleep(LONGEST_WAIT_S)
            worker_state.should_stop = os.EX_SOFTWARE  # type: ignore[assignment]
            raise

    def _loop(self) -> None:
        try:
            while True:
                self._process_next_event()
        finally:
            self._running = False

    def _process_next_event(self) -> None:
        pause = min(max(next_deadline(self._state) - self._clock(), 0.0), LONGEST_SLEEP_S)
        try:
            # A wait of 0 would spin while a due call has to wait for the settling time after a release without an
            # answer.
            post = self._posts.get(timeout=max(pause, 0.05))
        except queue.Empty:
            post = _Post(TimePassed())
        previous = self._state.phase
        state, actions = step(self._state, post.event, self._clock())
        for action in actions:
            self._act(action)
        self._state = state
        post.done.set()
        if state.phase is not previous:
            logger.info("%s", self.report().log_line(previous))

    def _act(self, action: Action) -> None:
        match action:
            case OpenGate(generation, until):
                self._gate.set(GateState(generation, until))
            case CloseGate(generation):
                self._gate.set(GateState(generation, None))
            case Call():
                self._calls.put(action)

    def _protect(self) -> None:
        while True:
            call = self._calls.get()
            answer = self._protection.perform(call, task_arn=self._task.task_arn)
            if answer.reason:
                logger.warning("worker agent: %s: %s", call.request.value, answer.reason)
            self._posts.put(_Post(answer))

    def _serve(self) -> None:
        if uri := self._settings.metadata_uri:
            read = partial(read_task_metadata, uri)
            self._task = _until_done("cannot read the task metadata", read, OSError, ValueError)
        # ECS protects the task, not one of its containers or processes, whatever the ports of their agents are.
        lock = partial(TaskLock, self._task.task_arn)
        self._lock = _until_done("cannot lock the ECS task", lock, OSError, TaskLockedError)
        verifier = CommandVerifier(self._settings.public_key, wall=self._wall)
        make = partial(AgentServer, self._task.address, self._settings.port, agent=self, verifier=verifier)
        server = _until_done(f"cannot listen on port {self._settings.port}", make, OSError)
        logger.info("worker agent: listening on %s:%d", *server.server_address[:2])
        self._running = True
        self._start_thread("loop", self._loop)
        self._start_thread("protection", self._protect)
        server.serve_forever()


def _until_done(problem: str, attempt: Callable[[], T], *errors: type[Exception]) -> T:
    """Return the result of `attempt`, repeated until it succeeds. A problem is logged when it begins or changes."""
    logged = ""
    while True:
        try:
            return attempt()
        except errors as error:
            text = f"{problem}, so this worker takes no message; trying again: {error}"
            if text != logged:
                logger.error("worker agent: %s", text)  # noqa: TRY400
            logged = text
            time.sleep(RETRY_S)
