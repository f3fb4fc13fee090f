# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of the local ECS: AWS's API at `/`, the endpoints of containers below `/v4` and `/api`."""

import json
import logging
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from aiohttp import web

from local_ecs.api.driver import Driver
from local_ecs.api.errors import AnswerNotValidError
from local_ecs.api.protocol import CONTENT_TYPE, TARGET_PREFIX, Caller, Handlers, answer, error_body
from local_ecs.api.throttle import Throttle
from local_ecs.model import EcsError

logger = logging.getLogger(__name__)
BODY_LIMIT = 1024 * 1024  # a task definition is at most 64 KiB
READ_PREFIXES = ("Describe", "Get", "List")


class ApiEndpoint:
    """`POST /` with an X-Amz-Target. Signatures are not verified: the server is local."""

    def __init__(self, driver: Driver, handlers: Handlers, throttle: Throttle) -> None:
        self._driver = driver
        self._handlers = handlers
        self._throttle = throttle

    async def post(self, request: web.Request) -> web.Response:
        """Answer one API call."""
        target = request.headers.get("X-Amz-Target", "")
        caller = Caller(request.headers.get("User-Agent", ""))
        body = await request.read()
        operation = target.removeprefix(TARGET_PREFIX)
        try:
            self._spend(operation, caller)
            reply = self._driver.act(lambda: answer(self._handlers, target, body, caller))
        except EcsError as error:
            return _response(error_body(error), status=400)
        except AnswerNotValidError as error:
            logger.exception("%s", target)
            return _response({"__type": "ServerException", "message": str(error)}, status=500)
        if not operation.startswith(READ_PREFIXES):
            self._driver.save()  # before the answer
        return _response(reply)

    def _spend(self, operation: str, caller: Caller) -> None:
        try:
            self._throttle.spend(operation)
        except EcsError:
            self._driver.journal.add("Throttled", operation=operation, caller=caller.name)
            raise


def _response(reply: Mapping[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(reply).encode(),
        status=status,
        headers={"Content-Type": CONTENT_TYPE, "x-amzn-RequestId": str(uuid4())},
    )


def application(api: ApiEndpoint, agent_routes: list[web.RouteDef]) -> web.Application:
    """Return the application with both endpoints."""
    app = web.Application(client_max_size=BODY_LIMIT)
    app.add_routes([web.post("/", api.post), *agent_routes])
    return app
