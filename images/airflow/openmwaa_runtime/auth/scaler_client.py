# SPDX-License-Identifier: Apache-2.0
"""The scaler's HTTP API. It has no login: reading is open inside the VPC, and a write needs the signature made here."""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import urllib3

from openmwaa_runtime.auth.http_message import HttpAnswer

DEADLINE_S: Final = 10
MAX_WAIT_S: Final = 1
"""For a connection: requests that wait for a slow scaler must not hold the threads of the login."""
_KEPT: Final = ("Cache-Control", "Content-Security-Policy", "Referrer-Policy")


class ScalerClient:
    """Sends requests to the scaler; 503 without an answer. Nothing of a caller is sent on but what is an argument."""

    def __init__(self, url: str, key: str, clock: Callable[[], float] = time.time) -> None:
        self._pool = urllib3.PoolManager(maxsize=4, block=True, retries=False)
        self._url = url.rstrip("/")
        self._key = key.encode()
        self._clock = clock

    def get(self, target: str) -> HttpAnswer:
        """Read a path with its query."""
        return self._send("GET", target, None, {})

    def write_override(
        self, method: Literal["POST", "PATCH"], fleet: str, fields: Mapping[str, Any], by: str
    ) -> HttpAnswer:
        """Replace (POST) or change (PATCH) the override of a fleet, in the name of a verified user."""
        path = f"/v1/overrides/{fleet}"
        body = json.dumps({"version": 1, **fields, "by": by}).encode()
        timestamp, nonce = str(int(self._clock())), secrets.token_urlsafe(24)
        text = "\n".join((method, path, hashlib.sha256(body).hexdigest(), timestamp, nonce))
        headers = {
            "Content-Type": "application/json",
            "X-Openmwaa-Timestamp": timestamp,
            "X-Openmwaa-Nonce": nonce,
            "X-Openmwaa-Signature": hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest(),
        }
        return self._send(method, path, body, headers)

    def _send(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> HttpAnswer:
        try:
            answer = self._pool.request(
                method,
                f"{self._url}{target}",
                body=body,
                headers=headers,
                timeout=DEADLINE_S,
                pool_timeout=MAX_WAIT_S,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError:
            return HttpAnswer.of_json(503, {"message": "the scaler does not answer; try again"})
        kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        return HttpAnswer(answer.status, answer.data, answer.headers.get("Content-Type", ""), kept)
