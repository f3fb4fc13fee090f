# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of the local ECS: AWS's API at `/`, the endpoints of containers below `/v4` and `/api`."""

import json
import logging
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from aiohttp import web

from local_ecs.api.driver import Driver
from local_ecs.api.protocol import CONTENT_TYPE, TARGET_PREFIX, AnswerNotValidError, Handlers, answer, caller_name
from local_ecs.api.throttle import Throttle
from local_ecs.model import EcsError

logger = logging.getLogger(__name__)
BODY_LIMIT = 1024 * 1024  # a task definition is at most 64 KiB
READ_PREFIXES = ("Describe", "Get", "List")


def application(
    driver: Driver, handlers: Handlers, throttle: Throttle, agent_routes: list[web.RouteDef]
) -> web.Application:
    """Return the application with the API and the endpoints of the agent. Signatures are not verified: it is local."""

    async def post(request: web.Request) -> web.Response:
        target = request.headers.get("X-Amz-Target", "")
        caller = caller_name(request.headers.get("User-Agent", ""))
        body = await request.read()
        operation = target.removeprefix(TARGET_PREFIX)
        try:
            _spend(operation, caller)
            reply = driver.act(lambda: answer(handlers, target, body, caller))
        except EcsError as error:
            return _response({"__type": error.code, "message": error.message}, status=400)
        except AnswerNotValidError as error:
            logger.exception("%s", target)
            return _response({"__type": "ServerException", "message": str(error)}, status=500)
        if not operation.startswith(READ_PREFIXES):
            driver.save()  # before the answer
        return _response(reply)

    def _spend(operation: str, caller: str) -> None:
        try:
            throttle.spend(operation)
        except EcsError:
            driver.journal.add("Throttled", operation=operation, caller=caller)
            raise

    app = web.Application(client_max_size=BODY_LIMIT)
    app.add_routes([web.post("/", post), *agent_routes])
    return app


def _response(reply: Mapping[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(reply).encode(),
        status=status,
        headers={"Content-Type": CONTENT_TYPE, "x-amzn-RequestId": str(uuid4())},
    )
