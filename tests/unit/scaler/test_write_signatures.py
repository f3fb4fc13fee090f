# SPDX-License-Identifier: Apache-2.0
"""A write is accepted if the web server has signed it, within a minute, once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from openmwaa_runtime.auth.http_message import HttpAnswer
from openmwaa_runtime.auth.scaler_client import ScalerClient
from scaler.config.environment import read_settings
from scaler.errors import ConfigurationError
from scaler.reporting import override_api
from scaler.reporting.override_api import MAX_AGE_S, MAX_AHEAD_S, WriteSignatures

KEY = "k" * 64
NOW = datetime(2027, 1, 1, tzinfo=UTC)
STARTED = NOW - timedelta(hours=1)


@dataclass(frozen=True)
class Signed:
    """A request as the web server sends it."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_header(self, name: str, value: str) -> "Signed":
        return replace(self, headers={**self.headers, name: value})


class SigningClient(ScalerClient):
    """Keeps the request instead of sending it."""

    def _send(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> HttpAnswer:
        self.sent = Signed(method, target, body or b"", headers)
        return HttpAnswer(200)


def signed(*, key: str = KEY, at: datetime = NOW, fleet: str = "default") -> Signed:
    client = SigningClient("http://scaler.invalid", key, at.timestamp)
    client.write_override("POST", fleet, {"max": 4}, "arn")
    return client.sent


def verify(signatures: WriteSignatures, request: Signed) -> None:
    signatures.verify(request.method, request.path, request.body, request.headers)


def refusal(request: Signed) -> str | None:
    with pytest.raises(web.HTTPForbidden) as refused:
        verify(WriteSignatures(KEY, lambda: NOW, STARTED), request)
    return refused.value.text


def test_a_request_of_the_web_server_is_accepted() -> None:
    signatures = WriteSignatures(KEY, lambda: NOW, STARTED)
    for seconds in (-60, 0, 5):
        verify(signatures, signed(at=NOW + timedelta(seconds=seconds)))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _: signed(key="j" * 64), id="another key"),
        pytest.param(lambda _: signed(key=""), id="no key"),
        pytest.param(lambda request: replace(request, path="/v1/overrides/other"), id="another path"),
        pytest.param(lambda request: replace(request, path=f"{request.path}?x"), id="a query"),
        pytest.param(lambda request: replace(request, method="PATCH"), id="another method"),
        pytest.param(lambda request: replace(request, body=b'{"version": 1, "max": 5}'), id="another body"),
        pytest.param(lambda request: replace(request, headers={}), id="no signature"),
        pytest.param(lambda request: request.with_header("X-Openmwaa-Timestamp", "1798761601"), id="another time"),
        pytest.param(lambda request: request.with_header("X-Openmwaa-Nonce", "n" * 32), id="another nonce"),
        pytest.param(lambda request: request.with_header("X-Openmwaa-Signature", "é"), id="no ASCII"),
        pytest.param(lambda request: request.with_header("X-Openmwaa-Signature", "\udce9"), id="no Unicode"),
    ],
)
def test_a_changed_or_forged_request_is_refused(change: Any) -> None:
    assert refusal(change(signed())) == "the signature is not valid"


@pytest.mark.parametrize("seconds", [-3600, -61, 6, 60, 3600])
def test_an_expired_or_early_request_is_refused(seconds: int) -> None:
    assert refusal(signed(at=NOW + timedelta(seconds=seconds))) == "the signature is not of the last 60 s"


@pytest.mark.parametrize("later_s", [0, 59, 65])
def test_a_replayed_request_is_refused(later_s: int) -> None:
    now = NOW - timedelta(seconds=5)
    signatures, request = WriteSignatures(KEY, lambda: now, STARTED), signed()
    verify(signatures, request)
    now += timedelta(seconds=later_s)
    verify(signatures, signed(at=now))
    with pytest.raises(web.HTTPForbidden, match="Forbidden") as refused:
        verify(signatures, request)
    assert refused.value.text == "the request was sent before"


@pytest.mark.parametrize("ahead_s", [-60, 0, 5])
def test_a_request_that_was_accepted_before_a_restart_is_refused_after_it(ahead_s: int) -> None:
    request, now = signed(at=NOW + timedelta(seconds=ahead_s)), NOW
    verify(WriteSignatures(KEY, lambda: now, STARTED), request)
    restarted = WriteSignatures(KEY, lambda: now, NOW + timedelta(milliseconds=1))
    for _ in range(MAX_AGE_S + MAX_AHEAD_S):
        with pytest.raises(web.HTTPException) as refused:
            verify(restarted, request)
        assert refused.value.status in {403, 503}
        now += timedelta(seconds=1)


def test_a_request_some_seconds_after_a_restart_is_accepted() -> None:
    now = NOW + timedelta(seconds=MAX_AHEAD_S)
    verify(WriteSignatures(KEY, lambda: now, NOW), signed(at=now))


def test_a_forged_request_does_not_use_up_a_nonce() -> None:
    signatures, request = WriteSignatures(KEY, lambda: NOW, STARTED), signed()
    with pytest.raises(web.HTTPForbidden):
        verify(signatures, replace(request, body=b"{}"))
    verify(signatures, request)


def test_the_memory_of_nonces_is_bounded_and_never_drops_a_valid_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(override_api, "NONCES_KEPT", 2)
    now = NOW
    signatures = WriteSignatures(KEY, lambda: now, STARTED)
    for _ in range(2):
        verify(signatures, signed())
    with pytest.raises(web.HTTPTooManyRequests):
        verify(signatures, signed())
    now += timedelta(seconds=61)
    verify(signatures, signed(at=now))


@pytest.mark.parametrize("key", ["short", "k" * 31])
def test_a_short_key_is_a_wrong_setting(key: str) -> None:
    with pytest.raises(ConfigurationError, match="SCALER_OVERRIDES_KEY has fewer than 32 characters"):
        read_settings({"SCALER_OVERRIDES_KEY": key})
