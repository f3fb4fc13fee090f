# SPDX-License-Identifier: Apache-2.0
"""Sessions in the browser: the cookie, revocation, and requests that another site makes the browser send."""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from urllib.parse import urlsplit

from openmwaa_runtime.auth.errors import AuthUnavailableError
from openmwaa_runtime.auth.http_message import HttpRequest
from openmwaa_runtime.auth.logins import SESSION_S

POLL_S = 5.0
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def session_cookie(token: str, web_url: str) -> str:
    """The value of `Set-Cookie` for Airflow's cookie. Scripts cannot read it: the UI of Airflow does not need to."""
    secure = "; Secure" if web_url.startswith("https://") else ""
    return f"_token={token}; Path=/; Max-Age={SESSION_S}; HttpOnly; SameSite=Lax{secure}"


class RevokedSessions:
    """The revoked sessions, read at most every 5 s. Without a database the last answer stays."""

    def __init__(self, read: Callable[[], Mapping[str, float]], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._answer: Mapping[str, float] | None = None
        self._next_read = -float("inf")

    def contains(self, principal: str, session_start: int) -> bool:
        """Return whether the session is revoked.

        Raises:
            AuthUnavailableError: the database has not answered yet.
        """
        return session_start < self._current().get(principal, 0)

    def _current(self) -> Mapping[str, float]:
        with self._lock:
            if self._answer is None or self._clock() >= self._next_read:
                try:
                    self._answer = self._read()
                except AuthUnavailableError:
                    if self._answer is None:
                        raise
                self._next_read = self._clock() + POLL_S
            return self._answer


def is_foreign_write(request: HttpRequest, web_url: str, allowed_origins: Collection[str] = ()) -> bool:
    """Return whether a page of another site makes the browser send this request (CSRF, also at login).

    Airflow compares no origin: only `SameSite=Lax` protects its cookie, and a site beside this one in the same domain
    passes it. A request with `Authorization` is no such request: a browser does not add that header. A client that is
    no browser sends neither `Sec-Fetch-Site` nor `Origin`.
    """
    if request.method in _READING or request.header_values("authorization"):
        return False
    sites, origins = request.header_values("sec-fetch-site"), request.header_values("origin")
    if sites == ["same-origin"]:
        return False
    if origins:
        scheme = urlsplit(web_url).scheme
        own = {f"{scheme}://{urlsplit(web_url).netloc}", f"{scheme}://{request.header('host')}", *allowed_origins}
        return not own.issuperset(origins)
    return bool(sites) and sites != ["none"]
