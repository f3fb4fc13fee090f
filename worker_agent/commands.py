# SPDX-License-Identifier: Apache-2.0
"""Checks drain and resume commands: the scaler's Ed25519 signature, this task's ARN, an unused nonce, the times.

DAG code runs beside the agent and can reach its port, so unsigned commands are refused. A nonce is kept for as long as
the times allow its command, so no command works twice. A restarted agent has no nonces: a command that is then sent
again drains for one lease or resumes, and neither loses a task.
"""

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from worker_agent.errors import CommandRefusedError
from worker_agent.state_machine import Drain, Resume

SIGNATURE_HEADER: Final = "X-Openmwaa-Signature"
BODY_LIMIT: Final = 4096
CLOCK_SKEW_S: Final = 300.0
"""Amazon Time Sync keeps the clocks of Fargate. A worker whose clock differs by more works on and cannot drain."""
LONGEST_LIFE_S: Final = 900.0
LONGEST_LEASE_S: Final = 3600
NONCES_KEPT: Final = 4096
NONCE_LENGTHS: Final = range(8, 129)


class CommandVerifier:
    """Turns a signed body into a command, or refuses it. Safe to use from several threads."""

    def __init__(self, public_key: bytes | None, *, wall: Callable[[], float] = time.time) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(public_key) if public_key else None
        self._wall = wall
        self._nonces: dict[str, float] = {}  # nonce -> until when its command is valid (epoch seconds)
        self._lock = threading.Lock()

    def verify(self, command: str, body: bytes, signature: str | None, *, task_arn: str) -> Drain | Resume:
        """Return the event of `command` ("drain" or "resume"). Raises CommandRefusedError."""
        self._check_signature(body, signature)
        fields = _parse(body)
        if fields.get("version") != 1 or fields.get("command") != command:
            raise CommandRefusedError(400, f"the body is not a {command} of version 1")
        nonce, expires_at, lease_s = _nonce(fields), _timestamp(fields, "expires_at"), _lease(fields, command)
        issued_at = _timestamp(fields, "issued_at")
        if not task_arn or fields.get("task_arn") != task_arn:
            raise CommandRefusedError(403, "the command is for another task")
        now = self._wall()
        if issued_at > now + CLOCK_SKEW_S or expires_at + CLOCK_SKEW_S <= now:
            times = f"issued {issued_at - now:+.0f} s from this worker's time"
            raise CommandRefusedError(403, f"the command has expired or is not valid yet: {times}")
        if expires_at - issued_at > LONGEST_LIFE_S:
            raise CommandRefusedError(403, f"the command is valid for more than {LONGEST_LIFE_S:.0f} s")
        self._record_nonce(nonce, expires_at + CLOCK_SKEW_S, now)
        return Resume() if lease_s is None else Drain(lease_s=float(lease_s))

    def _check_signature(self, body: bytes, signature: str | None) -> None:
        if self._key is None:
            raise CommandRefusedError(401, "this agent has no public key, so it accepts no command")
        try:
            self._key.verify(base64.b64decode(signature or "", validate=True), body)
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise CommandRefusedError(401, "the signature is missing or invalid") from error

    def _record_nonce(self, nonce: str, keep_until: float, now: float) -> None:
        with self._lock:
            if nonce in self._nonces:
                raise CommandRefusedError(403, "the nonce was used before")
            if len(self._nonces) >= NONCES_KEPT:
                self._nonces = {old: until for old, until in self._nonces.items() if until > now}
            if len(self._nonces) >= NONCES_KEPT:
                raise CommandRefusedError(403, "too many commands")
            self._nonces[nonce] = keep_until


def _parse(body: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CommandRefusedError(400, "the body is not JSON") from error
    if not isinstance(fields, dict):
        raise CommandRefusedError(400, "the body is not a JSON object")
    return fields


def _nonce(fields: Mapping[str, Any]) -> str:
    nonce = fields.get("nonce")
    if not isinstance(nonce, str) or len(nonce) not in NONCE_LENGTHS:
        raise CommandRefusedError(400, "nonce must be a string of 8 to 128 characters")
    return nonce


def _timestamp(fields: Mapping[str, Any], name: str) -> float:
    try:
        time = datetime.fromisoformat(fields[name])
    except (KeyError, TypeError, ValueError) as error:
        raise CommandRefusedError(400, f"{name} must be a date and time (RFC 3339)") from error
    if time.tzinfo is None:
        raise CommandRefusedError(400, f"{name} must have a time zone")
    return time.timestamp()


def _lease(fields: Mapping[str, Any], command: str) -> int | None:
    lease_s = fields.get("lease_s")
    if command == "resume":
        return None
    if not isinstance(lease_s, int) or isinstance(lease_s, bool) or not 1 <= lease_s <= LONGEST_LEASE_S:
        raise CommandRefusedError(400, f"lease_s must be a whole number from 1 to {LONGEST_LEASE_S}")
    return lease_s
