# SPDX-License-Identifier: Apache-2.0
"""The connection of commands to the daemon: HTTP over a unix socket that only its user can open."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from openmwaa.local.errors import DaemonError, LocalError

JsonObject = Mapping[str, Any]
Handler = Callable[[], Awaitable[JsonObject]]


class ControlServer:
    """Serves a few paths with JSON."""

    def __init__(self, socket: Path, routes: Mapping[tuple[str, str], Handler]) -> None:
        self._socket = socket
        self._app = web.Application()
        for (method, path), handler in routes.items():
            self._app.router.add_route(method, path, _json(handler))
        self._runner = web.AppRunner(self._app, access_log=None)

    async def start(self) -> None:
        """Listen; replaces the socket of a dead daemon."""
        self._socket.unlink(missing_ok=True)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._socket)).start()
        self._socket.chmod(0o600)

    async def stop(self) -> None:
        """Stop listening and remove the socket."""
        await self._runner.cleanup()
        self._socket.unlink(missing_ok=True)


def _json(handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        try:
            return web.json_response(await handler())
        except LocalError as error:
            return web.json_response({"error": str(error)}, status=500)

    return answer


async def call(socket: Path, method: str, path: str, *, within_s: float = 10.0) -> JsonObject:
    """One call of the daemon.

    Raises:
        DaemonError: the daemon does not listen, does not answer in time, or answers with an error.
    """
    timeout = aiohttp.ClientTimeout(total=within_s)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=timeout) as session,
            session.request(method, f"http://daemon{path}") as response,
        ):
            answer: JsonObject = json.loads(await response.read())
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        raise DaemonError(
            f"The daemon of the environment does not answer: {str(error) or type(error).__name__}."
        ) from error
    if "error" in answer:
        raise DaemonError(str(answer["error"]))
    return answer
