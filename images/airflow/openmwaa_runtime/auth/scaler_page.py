# SPDX-License-Identifier: Apache-2.0
"""The scaler's page behind the login: a role that may list DAGs may read why there are so many workers."""

from collections.abc import Callable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Final

import urllib3

from openmwaa_runtime.auth.http_message import HttpAnswer, HttpRequest

PATH: Final = "/aws_mwaa/scaler/"
DEADLINE_S: Final = 10
MAX_WAIT_S: Final = 1
"""For a connection: requests that wait for a slow scaler must not hold the threads of the login."""
_KEPT: Final = ("Cache-Control", "Content-Security-Policy", "Referrer-Policy")


class ScalerPage:
    """Passes requests for the page on to the scaler, which has no login.

    `list_dags` returns the status of Airflow's list of DAGs for a token: 200 for those who may read the page.
    """

    def __init__(self, scaler_url: str, login_url: str, list_dags: Callable[[str], int]) -> None:
        self._pool = urllib3.PoolManager(maxsize=4, block=True, retries=False)
        self._url = scaler_url.rstrip("/")
        self._login_url = login_url
        self._list_dags = list_dags

    def handle(self, request: HttpRequest) -> HttpAnswer:
        """Answer a request whose path begins with `PATH`."""
        if request.method != "GET":
            return HttpAnswer.of_json(405, {"message": "the scaler's page is read only; use `openmwaa scale`"})
        token = _token(request)
        status = HTTPStatus.UNAUTHORIZED if token is None else self._list_dags(token)
        if status == HTTPStatus.UNAUTHORIZED:  # also an expired session; Airflow answers 403 to a revoked one
            return HttpAnswer(303, headers={"Location": self._login_url, "Cache-Control": "no-store"})
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return HttpAnswer.of_json(503, {"message": "Airflow does not answer; try again"})
        if status != HTTPStatus.OK:
            return HttpAnswer.of_json(
                403, {"message": "your role may not read this; or your session was ended; see `openmwaa whoami`"}
            )
        query = f"?{request.raw_query}" if request.raw_query else ""
        target = f"{self._url}/{request.raw_path.removeprefix(PATH)}{query}"
        try:
            # Nothing of the caller is sent on: neither its cookie nor its headers.
            answer = self._pool.request("GET", target, timeout=DEADLINE_S, pool_timeout=MAX_WAIT_S, redirect=False)
        except urllib3.exceptions.HTTPError:
            return HttpAnswer.of_json(503, {"message": "the scaler does not answer; try again"})
        headers = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        return HttpAnswer(answer.status, answer.data, answer.headers.get("Content-Type", ""), headers)


def _token(request: HttpRequest) -> str | None:
    scheme, _, bearer = (request.header("authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer.strip()
    try:
        cookie = SimpleCookie(request.header("cookie") or "").get("_token")
    except CookieError:
        return None
    return cookie.value if cookie else None
