# SPDX-License-Identifier: Apache-2.0
"""A Celery message on SQS that carries an Airflow workload, taken apart to age the token in it."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

ALGORITHMS = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}
LONG_AGO_S = 3600.0


def with_expired_token(message: str, secret: str) -> str:
    """Return the message as it would be if its token had expired an hour ago; the signature is right."""
    envelope = json.loads(base64.b64decode(message))
    arguments, *rest = json.loads(base64.b64decode(envelope["body"]))
    workload = json.loads(arguments[0])
    workload["token"] = expired(workload["token"], secret)
    envelope["body"] = _encode(json.dumps([[json.dumps(workload)], *rest]).encode())
    return _encode(json.dumps(envelope).encode())


def expired(token: str, secret: str) -> str:
    """Return a token with the same claims, whose times are an hour ago."""
    head, payload, _ = token.split(".")
    header, claims = _decode(head), _decode(payload)
    shift = claims["exp"] - time.time() + LONG_AGO_S
    aged = {name: value - shift if name in {"exp", "iat", "nbf"} else value for name, value in claims.items()}
    signed = f"{head}.{_url(json.dumps(aged).encode())}"
    signature = hmac.new(secret.encode(), signed.encode(), ALGORITHMS[header["alg"]]).digest()
    return f"{signed}.{_url(signature)}"


def _decode(part: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def _url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
