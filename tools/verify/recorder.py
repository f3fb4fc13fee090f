# SPDX-License-Identifier: Apache-2.0
"""Records the requests of Terraform on their way to the emulators: the log of the provider may cut off long bodies."""

import asyncio
import base64
import contextlib
import json
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, web
from yarl import URL

from openmwaa.local.install import venvs
from tools.verify.errors import ToolError
from tools.verify.rules import service_name

_PARSER: Final = Path(__file__).with_name("wire_parser.py")
_ID: Final = "amz-sdk-invocation-id"
_OF_CONNECTIONS: Final = {"host", "connection", "content-length", "transfer-encoding", "expect"}
_WITHIN_S: Final = 300
_SESSION: Final = web.AppKey("session", ClientSession)
_LARGEST_BODY: Final = 64 * 2**20


@dataclass(frozen=True)
class Request:
    """A request, without its operation: the log of the provider has that for each invocation."""

    invocation: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def line(self, call: str) -> str:
        """Return the line for the parser."""
        service, _, operation = call.partition(":")
        own = {"method": self.method, "url": self.url, "headers": dict(self.headers)}
        body = base64.b64encode(self.body).decode()
        return json.dumps({**own, "body": body, "service": service_name(service), "operation": operation})


@dataclass
class Recorder:
    """Passes requests on to emulators, and keeps one of each invocation."""

    requests: dict[str, Request] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _runners: list[web.AppRunner] = field(default_factory=list)
    _urls: dict[str, str] = field(default_factory=dict)

    def url(self, emulator: str) -> str:
        """Return the URL that passes requests on to an emulator."""
        if emulator not in self._urls:
            started = asyncio.run_coroutine_threadsafe(self._start(emulator), self._loop)
            self._urls[emulator] = started.result(timeout=60)
        return self._urls[emulator]

    async def _start(self, emulator: str) -> str:
        async def client(app: web.Application) -> AsyncIterator[None]:
            timeout = ClientTimeout(total=_WITHIN_S)
            async with ClientSession(auto_decompress=False, timeout=timeout, cookie_jar=DummyCookieJar()) as session:
                app[_SESSION] = session
                yield

        async def pass_on(request: web.Request) -> web.Response:
            body = await request.read()
            if invocation := request.headers.get(_ID):
                headers = dict(request.headers)
                self.requests[invocation] = Request(invocation, request.method, request.raw_path, headers, body)
            passed = {name: value for name, value in request.headers.items() if name.lower() not in _OF_CONNECTIONS}
            url = URL(emulator + request.raw_path, encoded=True)
            async with app[_SESSION].request(
                request.method, url, headers=passed, data=body, allow_redirects=False
            ) as answer:
                content = await answer.read()
                own = {key: text for key, text in answer.headers.items() if key.lower() not in _OF_CONNECTIONS}
                if request.method == "HEAD" and "Content-Length" in answer.headers:
                    own["Content-Length"] = answer.headers["Content-Length"]
                return web.Response(status=answer.status, headers=own, body=content or None)

        app = web.Application(client_max_size=_LARGEST_BODY)
        app.cleanup_ctx.append(client)
        app.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    def run(self) -> None:
        """Run the event loop."""
        self._loop.run_forever()

    def stop(self) -> None:
        """Close all connections and end the event loop."""
        for runner in self._runners:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), self._loop).result(timeout=60)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def close(self) -> None:
        """Close the event loop, after its thread has ended."""
        self._loop.close()


@contextlib.contextmanager
def running() -> Iterator[Recorder]:
    """Run a recorder in a thread."""
    recorder = Recorder()
    thread = threading.Thread(target=recorder.run, name="recorder", daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.stop()
        thread.join(timeout=10)
        recorder.close()


def parsed(requests: Sequence[tuple[str, Request]]) -> list[tuple[str, Any]]:
    """Return the calls with their parameters.

    Raises:
        ToolError: a request cannot be parsed.
    """
    python = venvs.ensure(venvs.venv_of("moto"), progress=print).parent / "python"
    lines = "\n".join(request.line(call) for call, request in requests)
    done = subprocess.run(
        [str(python), "-P", str(_PARSER)], input=lines, capture_output=True, text=True, timeout=_WITHIN_S, check=False
    )
    if done.returncode:
        raise ToolError(f"The recorded requests cannot be parsed:\n{done.stderr[-2000:]}")
    return [(call, json.loads(line)) for (call, _), line in zip(requests, done.stdout.splitlines(), strict=True)]
