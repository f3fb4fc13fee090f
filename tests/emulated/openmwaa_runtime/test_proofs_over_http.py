# SPDX-License-Identifier: Apache-2.0
"""Both proofs over HTTP, and the limits of the requests to STS and to an issuer."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import boto3
import pytest

from openmwaa.config.environment import Environment
from openmwaa.operate.connection import Connection
from openmwaa.operate.identity_proof import identity_proof
from openmwaa_runtime.auth.environment_arn import EnvironmentArn
from openmwaa_runtime.auth.errors import AuthUnavailableError
from openmwaa_runtime.auth.jwt_proof import IssuerKeys, JwtProofVerifier
from openmwaa_runtime.auth.pinned_http import MAX_BYTES, MAX_CONNECTIONS, PinnedHttp
from openmwaa_runtime.auth.sts_proof import StsProofVerifier
from tests.support.certificates import certificate_for_localhost
from tests.support.environments import LEAST
from tests.support.fake_login_store import FakeLoginStore
from tests.support.fake_sts import WEB_HOST, FakeIdentity, FakeIssuer, FakeSts, serve

pytestmark = pytest.mark.emulated

ARN = EnvironmentArn.read("arn:aws:airflow:eu-west-1:123456789012:environment/production")
ANN = FakeIdentity("arn:aws:sts::123456789012:assumed-role/analysts/ann", "ASIAEXAMPLE", token="a-session/token+=")


@pytest.mark.parametrize("trusted", [False, True], ids=["presigned", "token"])
def test_a_proof_of_the_client_is_accepted(trusted: bool) -> None:
    issuer = FakeIssuer()
    with serve(FakeSts([ANN], issuer=issuer)) as endpoint:
        issuer.url = endpoint
        connection = Connection(Environment.model_validate(LEAST), Path("environment.yaml"), {"aws": endpoint})
        session = boto3.session.Session(ANN.access_key, ANN.secret_key, ANN.token)
        proof = identity_proof(connection, session, ARN, [endpoint] if trusted else [], WEB_HOST)
        http, store = PinnedHttp(endpoint), FakeLoginStore()
        if trusted:
            issuers = {endpoint: (issuer.account, IssuerKeys(http))}
            principal = JwtProofVerifier(ARN, issuers, store, time.time).verify(proof)
        else:
            principal = StsProofVerifier(ARN, endpoint, store, time.time, http, {ARN.account}, {WEB_HOST}).verify(proof)
    assert (principal.name, principal.session) == ("analysts", None if trusted else "ann")


@contextmanager
def server(
    answer: Callable[[socket.socket], object], tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[bytes]]]:
    """A server that calls `answer` with each connection after the first bytes; yields the origin and these bytes."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    if tls:
                        with tls.wrap_socket(connection, server_side=True) as encrypted:
                            answer(encrypted)
                    else:
                        received.append(connection.recv(65536))
                        answer(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}", received
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def sending(*parts: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(b"".join(parts))


def endlessly(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.01)


def silently(connection: socket.socket) -> None:
    connection.recv(1)


def test_a_request_is_sent_as_it_is_written() -> None:
    with server(sending(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as (origin, received):
        assert PinnedHttp(origin)("/?b=%2F~&a=1", {"x-openmwaa-environment": str(ARN)}) == (200, b"ok")
    lines = received[0].decode().split("\r\n")
    assert lines[0] == "GET /?b=%2F~&a=1 HTTP/1.1"
    assert f"x-openmwaa-environment: {ARN}" in lines


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with server(sending(b"HTTP/1.1 200 OK\r\n\r\nidentity")) as (elsewhere, reached):
        location = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere}/\r\nContent-Length: 0\r\n\r\n".encode()
        with server(sending(location)) as (origin, _):
            assert PinnedHttp(origin)("/", {}) == (status, b"")
    assert reached == []


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(sending(b"HTTP/1.1 200 OK\r\n\r\nidentity")) as (proxy, reached):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
        with server(sending(b"HTTP/1.1 200 OK\r\n\r\ntrue")) as (origin, _):
            assert PinnedHttp(origin)("/", {}) == (200, b"true")
    assert reached == []


@pytest.mark.parametrize(
    "answer",
    [
        sending(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (MAX_BYTES + 1)),
        sending(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        sending(b"220 mail.example ESMTP\r\n"),
        sending(b""),
        silently,
        endlessly,
    ],
    ids=["too much", "half an answer", "another protocol", "nothing", "silence", "too slow"],
)
def test_an_answer_that_is_not_complete_is_an_outage(answer: Callable[[socket.socket], object]) -> None:
    with server(answer) as (origin, received), pytest.raises(AuthUnavailableError, match=r"127\.0\.0\.1 .*; try again"):
        PinnedHttp(origin, deadline_s=1)("/", {})
    assert len(received) == 1


def test_the_largest_answer_is_read() -> None:
    with server(sending(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * MAX_BYTES)) as (origin, _):
        assert PinnedHttp(origin)("/", {}) == (200, b"x" * MAX_BYTES)


def test_a_compressed_answer_is_not_expanded() -> None:
    compressed = gzip.compress(b"x" * 1_000_000)
    with server(sending(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", compressed)) as (origin, _):
        assert PinnedHttp(origin)("/", {}) == (200, compressed)


def test_a_slow_server_has_a_bounded_number_of_connections() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=2 * MAX_CONNECTIONS) as listener:
        listener.settimeout(10)
        http = PinnedHttp(f"http://127.0.0.1:{listener.getsockname()[1]}", deadline_s=10)

        def wait_for_an_answer() -> None:
            with pytest.raises(AuthUnavailableError):
                http("/", {})

        threads = [threading.Thread(target=wait_for_an_answer) for _ in range(MAX_CONNECTIONS)]
        for thread in threads:
            thread.start()
        accepted = [listener.accept()[0] for _ in threads]
        wait_for_an_answer()
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
        for connection in accepted:
            connection.close()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_a_server_needs_a_certificate_of_a_known_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    certificate = certificate_for_localhost(tmp_path / "tls")
    if is_known:
        monkeypatch.setattr("botocore.httpsession.where", lambda: str(certificate))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with server(answer, context) as (origin, _):
        http = PinnedHttp(origin)
        if is_known:
            assert http("/", {}) == (200, b"ok")
        else:
            with pytest.raises(AuthUnavailableError):
                http("/", {})


def test_a_server_that_is_down_is_an_outage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(AuthUnavailableError, match="does not answer"):
        PinnedHttp(f"http://127.0.0.1:{port}")("/", {})
