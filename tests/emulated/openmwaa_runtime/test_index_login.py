# SPDX-License-Identifier: Apache-2.0
"""The login of package indexes, with a server on this machine."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from openmwaa_runtime.artefacts.index_login import IndexLoginError, check_logins
from openmwaa_runtime.artefacts.requirements_file import read

pytestmark = pytest.mark.emulated
LOGIN = "Basic " + base64.b64encode(b"joe@x:p@ss").decode()


class Index(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        allowed = self.path.startswith("/open/") or self.headers["Authorization"] == LOGIN
        self.send_response(404 if allowed else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the test's output short."""


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def checked(lines: str, **environ: str) -> None:
    check_logins(read(lines, airflow_version="3.3.2", folders={}, environ={}), environ)


@pytest.mark.parametrize(
    "lines",
    [
        "--index-url http://joe%40x:p%40ss@HOST/private/simple",
        "--extra-index-url=http://HOST/open/simple/",
        "--extra-index-url http://127.0.0.1:9/simple",
        "--index-url file:///nowhere",
    ],
    ids=["right login", "no login needed", "no answer", "no address of HTTP"],
)
def test_other_answers_than_401_are_left_to_uv(lines: str, host: str) -> None:
    checked(lines.replace("HOST", host))


@pytest.mark.parametrize("login", ["joe:stale@", ""], ids=["wrong login", "no login"])
@pytest.mark.parametrize(
    ("line", "variable"),
    [
        ("--index-url {}", ""),
        ("--extra-index-url {}", ""),
        ("six", "PIP_INDEX_URL"),
        ("six", "PIP_EXTRA_INDEX_URL"),
        ("six", "UV_INDEX"),
    ],
)
def test_an_index_that_answers_401_is_an_error_without_its_password(
    line: str, variable: str, login: str, host: str
) -> None:
    address = f"http://{login}{host}/private/simple"
    environ = {variable: f"mine={address}" if variable == "UV_INDEX" else address} if variable else {}
    with pytest.raises(IndexLoginError, match="answers 401") as caught:
        checked(line.format(address), **environ)
    assert "stale" not in str(caught.value)


def test_a_variable_that_the_file_replaces_is_not_called(host: str) -> None:
    checked(f"--index-url http://{host}/open/", PIP_INDEX_URL=f"http://{host}/private/")
