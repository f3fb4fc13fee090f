# SPDX-License-Identifier: Apache-2.0
"""The endpoints at `$ECS_AGENT_URI` and `$ECS_CONTAINER_METADATA_URI_V4` of a container.

The agent answers a refused protection with HTTP 200 and `failure`, an invalid request or an outage with 4xx/5xx and
`error`.
"""

import json
from uuid import uuid4

from aiohttp import web

from local_ecs.api.driver import Driver
from local_ecs.api.operations_tasks import change_protection, rfc3339
from local_ecs.api.shapes import Json
from local_ecs.api.throttle import AGENT, Throttle
from local_ecs.model import EcsError, EcsTask
from local_ecs.runtime.api import ContainerState

BODY_LIMIT = 4096


class AgentEndpoint:
    """GET and PUT of `/api/<token>/task-protection/v1/state`, and the task metadata."""

    def __init__(self, driver: Driver, throttle: Throttle) -> None:
        self._driver = driver
        self._throttle = throttle
        self.outage = False
        """Answer every request with 500, as an agent that cannot reach ECS."""

    def routes(self) -> list[web.RouteDef]:
        """Return the endpoint's routes."""
        state = "/api/{token}/task-protection/v1/state"
        return [
            web.get(state, self.state),
            web.put(state, self.state),
            web.get("/v4/{token}", self.container_metadata),
            web.get("/v4/{token}/task", self.task_metadata),
        ]

    async def state(self, request: web.Request) -> web.Response:
        """Read or change the protection of the calling task."""
        task = self._task(request)
        body = await request.content.read(BODY_LIMIT) if request.method == "PUT" else None
        try:
            self._check_reachable(task)
            answer = self._driver.act(lambda: self._answer(task, body))
        except EcsError as error:
            return _error(task, error)
        return web.json_response(answer)

    def _check_reachable(self, task: EcsTask) -> None:
        if self.outage:
            raise EcsError("ServerException", "The agent cannot reach Amazon ECS.")
        if self._throttle.enabled:
            self._throttle.take(f"agent {task.id}", AGENT)

    def _answer(self, task: EcsTask, body: bytes | None) -> Json:
        protection = self._driver.model.protection
        if body is None:
            done, failures = protection.get([task.arn], cluster=task.cluster_arn)
        else:
            enabled, minutes = _protection_request(body)
            done, failures = change_protection(
                self._driver, [task.arn], cluster=task.cluster_arn, enabled=enabled, minutes=minutes, by="agent"
            )
        if failures:
            failure = failures[0]
            return {"failure": {"Arn": failure.arn, "Reason": failure.reason, "Detail": failure.detail}}
        task = done[0]
        until = {} if task.protected_until is None else {"ExpirationDate": rfc3339(task.protected_until)}
        enabled = task.protected_until is not None
        return {"protection": {"ProtectionEnabled": enabled, **until, "TaskArn": task.arn}}

    async def task_metadata(self, request: web.Request) -> web.Response:
        """Describe the calling task (task metadata endpoint version 4)."""
        task = self._task(request)
        definition = self._driver.model.task_definitions.get(task.task_definition_arn)
        started = {} if task.started_at is None else {"PullStoppedAt": rfc3339(task.started_at)}
        return web.json_response(
            {
                "Cluster": task.cluster_arn,
                "TaskARN": task.arn,
                "Family": definition.family,
                "Revision": str(definition.revision),
                "ServiceName": task.group.removeprefix("service:") if task.service_key else "",
                "DesiredStatus": task.desired_status,
                "KnownStatus": str(task.status),
                "LaunchType": "FARGATE",
                "AvailabilityZone": task.availability_zone,
                **started,
                "Containers": self._containers(task),
            }
        )

    async def container_metadata(self, request: web.Request) -> web.Response:
        """Describe the first container of the task: here all containers of a task have the same URI."""
        return web.json_response(self._containers(self._task(request))[0])

    def _containers(self, task: EcsTask) -> list[Json]:
        definition = self._driver.model.task_definitions.get(task.task_definition_arn)
        states = {c.name: c for c in self._driver.containers(task.arn)}
        address = self._driver.address(task.arn)
        return [
            _container(task, c, states.get(c["name"]), address or "")
            for c in definition.details["containerDefinitions"]
        ]

    def _task(self, request: web.Request) -> EcsTask:
        task = self._driver.task_of_token(request.match_info["token"])
        if task is None:
            raise web.HTTPNotFound(text="No running task has this token.")
        return task


def _protection_request(body: bytes) -> tuple[bool, int | None]:
    """Read the body of a PUT. Raises EcsError, as the agent checks the body before it calls ECS."""
    try:
        request = json.loads(body)
    except ValueError:
        request = None
    enabled = request.get("ProtectionEnabled") if isinstance(request, dict) else None
    minutes = request.get("ExpiresInMinutes") if isinstance(request, dict) else None
    if not isinstance(enabled, bool):
        raise EcsError("InvalidParameterException", "Invalid request: does not contain 'ProtectionEnabled' field")
    if minutes is not None and (isinstance(minutes, bool) or not isinstance(minutes, int)):
        raise EcsError("InvalidParameterException", "Invalid request: 'ExpiresInMinutes' is not a number")
    return enabled, minutes


def _error(task: EcsTask, refused: EcsError) -> web.Response:
    status = 500 if refused.code == "ServerException" else 400
    error = {"Arn": task.arn, "Code": refused.code, "Message": refused.message}
    return web.json_response({"requestID": str(uuid4()), "error": error}, status=status)


def _container(task: EcsTask, definition: Json, state: ContainerState | None, address: str) -> Json:
    return {
        "DockerId": f"{task.id}-{state.pid if state else 0}",
        "Name": definition["name"],
        "DockerName": definition["name"],
        "Image": definition.get("image", ""),
        "Labels": {
            "com.amazonaws.ecs.cluster": task.cluster_arn,
            "com.amazonaws.ecs.task-arn": task.arn,
            **definition.get("dockerLabels", {}),
        },
        "DesiredStatus": task.desired_status,
        "KnownStatus": state.status if state else "PENDING",
        "Type": "NORMAL",
        "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": [address]}],
    }
