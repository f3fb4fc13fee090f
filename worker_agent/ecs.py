# SPDX-License-Identifier: Apache-2.0
"""The two endpoints that ECS gives a task: scale-in protection and task metadata.

A `failure` (which comes with HTTP 200) is a refusal. Every other unexpected answer is `FAILED`: another task's ARN, a
protection without an expiry, a time-out. The expiry is the earlier of ECS's and the requested one, so a wrong clock can
only shorten the protection.
"""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from worker_agent.state_machine import Call, CallAnswered, ProtectionRequest, ProtectionResult

CALL_TIMEOUT_S: Final = 5.0
"""The ECS agent aborts its own call to ECS after 4 s."""
ANSWER_LIMIT: Final = 64 * 1024
# No proxy: both endpoints are link-local addresses.
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class TaskMetadata:
    """The ARN of this task ("" if unknown) and its IPv4 address."""

    task_arn: str
    address: str


UNKNOWN_TASK: Final = TaskMetadata(task_arn="", address="0.0.0.0")  # noqa: S104  (no metadata: not on awsvpc)


def read_task_metadata(metadata_uri: str) -> TaskMetadata:
    """Read the ARN and address of this task (metadata endpoint version 4). Raises OSError or ValueError."""
    try:
        with _OPENER.open(f"{metadata_uri}/task", timeout=CALL_TIMEOUT_S) as response:
            task = json.loads(response.read(ANSWER_LIMIT * 4))
    except http.client.HTTPException as error:
        raise ValueError(f"the metadata endpoint's answer is not HTTP: {error!r}") from error
    try:
        addresses = [
            address
            for container in task["Containers"]
            for network in container.get("Networks", ())
            for address in network.get("IPv4Addresses", ())
        ]
        return TaskMetadata(task_arn=str(task["TaskARN"]), address=str(addresses[0]))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the metadata endpoint's answer is incomplete: {error!r}") from error


class ProtectionEndpoint:
    """`$ECS_AGENT_URI/task-protection/v1/state`: sets and clears the scale-in protection of this task."""

    def __init__(
        self,
        agent_uri: str,
        *,
        minutes: int,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._url = f"{agent_uri}/task-protection/v1/state"
        self._minutes = minutes
        self._clock = clock
        self._wall = wall

    def perform(self, call: Call, *, task_arn: str) -> CallAnswered:
        """Make one call and return the meaning of its answer. Never raises."""
        body: dict[str, Any] = {"ProtectionEnabled": call.request is ProtectionRequest.PROTECT}
        if call.request is ProtectionRequest.PROTECT:
            body["ExpiresInMinutes"] = self._minutes
        sent_at = self._clock()
        try:
            answer = self._put(body)
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            # HTTPException (an answer that is not HTTP) is neither OSError nor ValueError. It would end this thread and
            # with it all renewals.
            return CallAnswered(call.number, ProtectionResult.FAILED, reason=f"no answer from the ECS agent: {error}")
        if self._clock() - sent_at > 2 * CALL_TIMEOUT_S:
            return CallAnswered(call.number, ProtectionResult.FAILED, reason="the ECS agent answered too late")
        return self._interpret(call, answer, task_arn, sent_at)

    def _put(self, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            self._url, method="PUT", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        try:
            with _OPENER.open(request, timeout=CALL_TIMEOUT_S) as response:
                return json.loads(response.read(ANSWER_LIMIT))
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(ANSWER_LIMIT)
            try:
                return json.loads(text)
            except ValueError:
                raise ValueError(f"HTTP {error.code}") from error

    def _interpret(self, call: Call, answer: Any, task_arn: str, sent_at: float) -> CallAnswered:
        fields = answer if isinstance(answer, Mapping) else {}
        for key, code in (("failure", "Reason"), ("error", "Code")):
            if isinstance(detail := fields.get(key), Mapping):
                text = detail.get("Detail") or detail.get("Message") or ""
                return CallAnswered(
                    call.number, ProtectionResult.REFUSED, reason=f"{detail.get(code, key)}: {text}".rstrip(": ")
                )
        protection = fields.get("protection")
        if not isinstance(protection, Mapping):
            return CallAnswered(
                call.number, ProtectionResult.FAILED, reason="the ECS agent's answer has no protection field"
            )
        if task_arn and protection.get("TaskArn", task_arn) != task_arn:
            return CallAnswered(call.number, ProtectionResult.FAILED, reason="the ECS agent answered for another task")
        if protection.get("ProtectionEnabled") is False:
            return CallAnswered(
                call.number, ProtectionResult.UNPROTECTED, reason="ECS reports that this task is not protected"
            )
        until = self._expiry(protection.get("ExpirationDate"), sent_at)
        if protection.get("ProtectionEnabled") is not True or until is None:
            return CallAnswered(
                call.number, ProtectionResult.FAILED, reason="the ECS agent's answer has no valid expiry"
            )
        return CallAnswered(call.number, ProtectionResult.PROTECTED, until=until)

    def _expiry(self, text: Any, sent_at: float) -> float | None:
        try:
            end = datetime.fromisoformat(text)
        except (TypeError, ValueError):
            return None
        if end.tzinfo is None:
            end = end.replace(tzinfo=UTC)
        return min(sent_at + self._minutes * 60, self._clock() + end.timestamp() - self._wall())
