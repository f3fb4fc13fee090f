# SPDX-License-Identifier: Apache-2.0
"""The agent of one worker: threads that drive `state_machine.py` and never touch the consumer.

- the *loop* thread owns the state: it takes events from one queue, steps the state machine and sets the gate;
- the *protection* thread makes one call to the ECS agent at a time;
- the *HTTP* threads read the published state and post commands.

The consumer's own thread only posts snapshots and reads the gate's state. The threads are connected by a `SimpleQueue`,
because its `put` is safe in signal handlers.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from celery.utils.log import get_logger

from worker_agent.commands import CommandVerifier
from worker_agent.ecs import UNKNOWN_TASK, read_task_metadata
from worker_agent.errors import CommandRefusedError
from worker_agent.gate import Gate, GateState
from worker_agent.server import AgentServer
from worker_agent.settings import AgentSettings
from worker_agent.state_machine import (
    Action,
    Call,
    CallAnswered,
    CloseGate,
    Drain,
    Event,
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
from worker_agent.wire import AgentReport

logger = get_logger(__name__)

EXECUTE_TIMEOUT_S: Final = 2.0
LONGEST_SLEEP_S: Final = 1.0
RETRY_S: Final = 2.0


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
        self._state = WorkerState(next_call_at=clock())

    def start(self, first: Snapshot) -> None:
        """Start the threads, which request protection and serve HTTP. Returns at once."""
        self.post_snapshot(first)
        for name, target in (("loop", self._loop), ("protection", self._protect), ("http", self._serve)):
            threading.Thread(target=target, name=f"worker-agent-{name}", daemon=True).start()

    def post_snapshot(self, snapshot: Snapshot) -> None:
        """Pass a snapshot of the consumer to the loop."""
        self._posts.put(_Post(SnapshotTaken(snapshot)))

    def terminate(self) -> None:
        """Close the gate for good. This is safe inside a signal handler."""
        self._gate.seal()
        self._posts.put(_Post(Terminate()))

    def report(self) -> AgentReport:
        """Return the current state."""
        return AgentReport(task_arn=self._task.task_arn, state=self._state, now=self._clock(), wall=self._wall())

    def execute(self, command: Drain | Resume) -> AgentReport:
        """Apply a command and return the new state. Raises CommandRefusedError (503) after a time-out."""
        post = _Post(command)
        self._posts.put(post)
        if not post.done.wait(EXECUTE_TIMEOUT_S):
            raise CommandRefusedError(
                503, f"no response within {EXECUTE_TIMEOUT_S:.0f} s; the command may still take effect"
            )
        return self.report()

    def _loop(self) -> None:
        try:
            while True:
                self._process_next_event()
        except BaseException:
            # Without its loop the agent cannot renew protection. Keep the gate closed and let the tasks finish.
            self._gate.seal()
            logger.critical("worker agent: internal error: this worker takes no more messages", exc_info=True)
            raise

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
        while self._settings.metadata_uri and not self._task.task_arn:
            try:
                self._task = read_task_metadata(self._settings.metadata_uri)
            except (OSError, ValueError) as error:
                logger.warning("worker agent: cannot read the task metadata, trying again: %s", error)
                time.sleep(RETRY_S)
        verifier = CommandVerifier(self._settings.public_key, wall=self._wall)
        while True:
            try:
                server = AgentServer(self._task.address, self._settings.port, agent=self, verifier=verifier)
            except OSError as error:
                logger.error("worker agent: cannot listen on port %d, trying again: %s", self._settings.port, error)  # noqa: TRY400
                time.sleep(RETRY_S)
            else:
                break
        logger.info("worker agent: listening on %s:%d", *server.server_address[:2])
        server.serve_forever()
