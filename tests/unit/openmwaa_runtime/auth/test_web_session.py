# SPDX-License-Identifier: Apache-2.0
"""The cookie, revocation, and writes that other sites cause."""

from collections.abc import Mapping

import pytest

from openmwaa_runtime.auth.errors import AuthUnavailableError
from openmwaa_runtime.auth.http_message import HttpRequest
from openmwaa_runtime.auth.web_session import RevokedSessions, is_foreign_write, session_cookie

URL = "https://airflow.example.com"
ANA = "arn:aws:iam::123456789012:user/ana"


class Store:
    """A store whose database can be away."""

    def __init__(self) -> None:
        self.rows: Mapping[str, float] = {ANA: 100.0}
        self.is_away = False
        self.reads = 0
        self.now = 0.0

    def revoked(self) -> Mapping[str, float]:
        self.reads += 1
        if self.is_away:
            raise AuthUnavailableError("away")
        return self.rows

    def sessions(self) -> RevokedSessions:
        return RevokedSessions(self.revoked, clock=lambda: self.now)


@pytest.mark.parametrize(("url", "is_secure"), [(URL, True), ("http://localhost:8080", False)])
def test_the_cookie_is_secure_where_the_web_server_is(url: str, is_secure: bool) -> None:
    name, *attributes = session_cookie("abc", url).split("; ")
    assert name == "_token=abc"
    assert ("Secure" in attributes) is is_secure
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"} <= set(attributes)


@pytest.mark.parametrize(
    ("principal", "start", "is_revoked"),
    [(ANA, 99, True), (ANA, 100, False), (ANA, 101, False), (ANA.upper(), 99, False), (f"{ANA}2", 99, False)],
)
def test_sessions_that_began_before_the_time_are_revoked(principal: str, start: int, is_revoked: bool) -> None:
    assert Store().sessions().contains(principal, start) is is_revoked


def test_the_store_is_read_once_in_5_seconds() -> None:
    store = Store()
    sessions = store.sessions()
    sessions.contains(ANA, 1)
    store.now, store.rows = 4.9, {}
    assert sessions.contains(ANA, 1)
    assert store.reads == 1
    store.now = 5.0
    assert not sessions.contains(ANA, 1)
    assert store.reads == 2


def test_without_a_database_the_last_answer_stays() -> None:
    store = Store()
    sessions = store.sessions()
    sessions.contains(ANA, 1)
    store.now, store.is_away = 1000.0, True
    assert sessions.contains(ANA, 1)
    assert sessions.contains(ANA, 1)
    assert store.reads == 2, "a database that is away is not asked for each request"


def test_without_any_answer_no_session_is_valid() -> None:
    store = Store()
    store.is_away = True
    sessions = store.sessions()
    with pytest.raises(AuthUnavailableError):
        sessions.contains("another", 1)
    store.is_away = False
    assert not sessions.contains("another", 1)


SAME = ("sec-fetch-site", "same-origin")
EVIL = ("origin", "https://evil.example")


@pytest.mark.parametrize(
    ("headers", "is_foreign"),
    [
        pytest.param([], False, id="no browser"),
        pytest.param([SAME, ("origin", URL)], False, id="this site"),
        pytest.param([("origin", URL)], False, id="this site without Fetch metadata"),
        pytest.param([("host", "10.0.0.7:8080"), ("origin", "https://10.0.0.7:8080")], False, id="another name of it"),
        pytest.param([("origin", "https://allowed.example")], False, id="an origin that Airflow's CORS allows"),
        pytest.param([EVIL, ("authorization", "Bearer x")], False, id="a header that browsers do not add"),
        pytest.param([("sec-fetch-site", "none")], False, id="the user's own navigation"),
        pytest.param([EVIL], True, id="another site"),
        pytest.param([("sec-fetch-site", "cross-site")], True, id="another site without Origin"),
        pytest.param([("sec-fetch-site", "same-site"), ("origin", "https://x.example.com")], True, id="a sister site"),
        pytest.param([("origin", "null")], True, id="a sandboxed frame"),
        pytest.param([("origin", URL.replace("https", "http"))], True, id="without encryption"),
        pytest.param([("origin", f"{URL}.evil.example")], True, id="a longer name"),
        pytest.param([("origin", f"{URL}:8443")], True, id="another port"),
        pytest.param([("origin", URL), EVIL], True, id="two origins"),
        pytest.param([SAME, ("sec-fetch-site", "cross-site"), EVIL], True, id="two sites"),
        pytest.param([("host", "a"), ("host", "b"), ("origin", "https://a")], True, id="two hosts"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post", "PROPFIND"])
def test_writes_from_other_sites(method: str, headers: list[tuple[str, str]], is_foreign: bool) -> None:
    request = HttpRequest(method, "/api/v2/pools", "", headers, b"", "10.0.0.1")
    assert is_foreign_write(request, URL, ["https://allowed.example"]) is is_foreign


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_is_never_a_foreign_write(method: str) -> None:
    assert not is_foreign_write(HttpRequest(method, "/", "", [EVIL], b"", ""), URL)
