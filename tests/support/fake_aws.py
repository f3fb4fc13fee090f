# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that answers AWS's JSON protocol from a table of operations, for adapters with real clients."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Answer = Callable[[dict[str, Any]], Any]


class Failure(Exception):  # noqa: N818  an answer, not an error of ours
    """What an operation raises to be answered with an AWS error."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code, self.status = code, status


async def black_hole(_: dict[str, Any]) -> Any:
    """Never answer."""
    await asyncio.sleep(3600)


@asynccontextmanager
async def fake_aws(operations: Mapping[str, Answer]) -> AsyncIterator[str]:
    """Serve the operations (name to function of the request); yield the endpoint URL."""

    async def handle(request: web.Request) -> web.Response:
        name = request.headers["X-Amz-Target"].rsplit(".", 1)[-1]
        try:
            answer = operations[name](json.loads(await request.read()))
            if asyncio.iscoroutine(answer):
                answer = await answer
        except Failure as error:
            return web.json_response({"__type": error.code, "message": "on demand"}, status=error.status)
        return web.json_response(answer, content_type="application/x-amz-json-1.1")

    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0.1)
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()
