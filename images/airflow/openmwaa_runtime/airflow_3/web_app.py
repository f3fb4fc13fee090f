# SPDX-License-Identifier: Apache-2.0
"""MWAA's doors and MWAA's API in Airflow 3's web server, as an ASGI middleware before Airflow's own routes.

The handlers are synchronous and know no framework. They get the request as it arrived: nothing decoded, nothing merged.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Coroutine, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

from openmwaa_runtime.auth.airflow_port import AirflowSession, Handler
from openmwaa_runtime.auth.airflow_role import AirflowRole
from openmwaa_runtime.auth.doors import body_limit
from openmwaa_runtime.auth.errors import AuthUnavailableError
from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest
from openmwaa_runtime.auth.logins import SESSION_S
from openmwaa_runtime.auth.principal import Principal
from openmwaa_runtime.auth.web_session import is_foreign_write, session_cookie

PREFIXES = ("/aws_mwaa/", "/pluginsv2/aws_mwaa/")
DEADLINE_S = 120.0
VERIFICATION_S = 10.0
THREADS = 16
_API = "/api/v2/"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Mint(Protocol):
    """Signs a token of Airflow."""

    def __call__(self, principal: Principal, role: AirflowRole, session_start: int, *, lifetime_s: int) -> str:
        """Return the token."""
        ...


class AirflowInProcess:
    """An AirflowPort: Airflow's application in this process."""

    def __init__(self, mint: Mint, web_url: str, verify: Callable[[str], Coroutine[Any, Any, AirflowSession]]) -> None:
        self._mint = mint
        self._verify = verify
        self._web_url = web_url
        self._application: Application | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def mint(self, principal: Principal, role: AirflowRole, session_start: int, lifetime_s: int = SESSION_S) -> str:
        """Sign a token."""
        return self._mint(principal, role, session_start, lifetime_s=lifetime_s)

    def cookies(self, token: str) -> Sequence[str]:
        """Airflow's cookie."""
        return (session_cookie(token, self._web_url),)

    def attach(self, application: Application) -> None:
        """Call this application in the current event loop."""
        self._application, self._loop = application, asyncio.get_running_loop()

    def call(self, request: HttpRequest, token: str, timeout_s: float) -> HttpAnswer:
        """Send a request to the public API. Call it in a handler's thread."""
        if self._application is None or self._loop is None:
            raise RuntimeError("no request has reached the application yet")
        coroutine = _send(self._application, request, token)
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, timeout_s), self._loop)
        try:
            return future.result()
        except TimeoutError:
            return HttpAnswer.of_json(504, {"detail": f"Airflow did not answer within {timeout_s:.0f} s"})

    def session(self, token: str) -> AirflowSession:
        """Verify a token as Airflow does. Call it in a handler's thread."""
        if self._loop is None:
            raise RuntimeError("no request has reached the application yet")
        verification = asyncio.wait_for(self._verify(token), VERIFICATION_S)
        try:
            return asyncio.run_coroutine_threadsafe(verification, self._loop).result()
        except TimeoutError as error:
            raise AuthUnavailableError("the session could not be verified; try again") from error


async def _send(application: Application, request: HttpRequest, token: str) -> HttpAnswer:
    import httpx  # noqa: PLC0415 - Airflow's own, not in the environment of the tests

    headers = {name: value for name, value in request.headers if name in ("accept", "content-type")}
    target = f"{request.raw_path}?{request.raw_query}" if request.raw_query else request.raw_path
    url = httpx.URL("http://localhost").copy_with(raw_path=target.encode("latin-1"))
    if not url.path.startswith(_API):  # `..` is resolved here
        return HttpAnswer.of_json(404, {"detail": f"only paths below {_API} are served"})
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, timeout=None) as client:  # noqa: S113 - `call` has the time-out
        if token:
            headers["authorization"] = f"Bearer {token}"
        answer = await client.request(request.method, url, content=request.body, headers=headers)
    return HttpAnswer(answer.status_code, answer.content, answer.headers.get("content-type", ""))


class DoorsMiddleware:
    """Refuses requests of other sites, answers those to the doors, and passes the rest to Airflow."""

    def __init__(
        self,
        app: Application,
        *,
        handler: Handler,
        airflow: AirflowInProcess,
        web_url: str,
        allowed_origins: Collection[str] = (),
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._app = app
        self._handler = handler
        self._airflow = airflow
        self._web_url = web_url
        self._allowed_origins = allowed_origins
        self._deadline_s = deadline_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="openmwaa-doors")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = read_head(scope)
        if is_foreign_write(request, self._web_url, self._allowed_origins):
            await send_answer(send, _refusal(403, "a page of another site sent this request"))
        elif request.raw_path.startswith(PREFIXES):
            self._airflow.attach(scope["app"])
            await send_answer(send, await self._answer(request, receive))
        else:
            await self._app(scope, receive, send)

    async def _answer(self, request: HttpRequest, receive: Receive) -> HttpAnswer:
        limit = body_limit(request)
        try:
            async with asyncio.timeout(self._deadline_s):
                body = await read_body(receive, limit)
                if body is None:
                    return _refusal(413, f"the body is not complete, or it has more than {limit} bytes")
                request = replace(request, body=body)
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._handler, request)
        except TimeoutError:
            return _refusal(504, f"no answer within {self._deadline_s:.0f} s")


def read_head(scope: Message) -> HttpRequest:
    """The request of an ASGI scope, without its body."""
    return HttpRequest(
        method=scope["method"],
        raw_path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
        raw_query=scope["query_string"].decode("latin-1"),
        headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        body=b"",
        peer=scope["client"][0] if scope.get("client") else "",
    )


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """The body; None if it is too long or not complete."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limit or message["type"] == "http.disconnect":
            return None
        if not message.get("more_body"):
            return bytes(body)


async def send_answer(send: Send, answer: HttpAnswer) -> None:
    """Send an answer with the headers that keep it in its type and out of frames."""
    headers = {
        "content-type": answer.content_type,
        "content-length": str(len(answer.body)),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        **{name.lower(): value for name, value in answer.headers.items()},
    }
    lines = [*headers.items(), *(("set-cookie", cookie) for cookie in answer.cookies)]
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.body})


def _refusal(status: int, text: str) -> HttpAnswer:
    return HttpAnswer(
        status, json.dumps({"message": text}).encode(), headers={"Cache-Control": "no-store", "Connection": "close"}
    )
