# SPDX-License-Identifier: Apache-2.0
"""Signed writes of overrides: POST replaces the override of a fleet, PATCH changes fields of it.

Airflow's web server checks the user and signs, in `X-Openmwaa-Signature`, the HMAC-SHA256 in hex of method, path,
SHA-256 of the body, `X-Openmwaa-Timestamp` (seconds since 1970) and `X-Openmwaa-Nonce`, each on a line. Only the web
server's container and this one have the key: with a compact control plane DAG code has the web server's task role, so
the right to write the parameters cannot be there.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import datetime

from aiohttp import web

from scaler.config.overrides import SIZE_LIMIT, OverrideDocument, OverrideDocumentError, in_force, parse
from scaler.errors import RejectedError, SourceError
from scaler.ports import WritableOverrides, rfc3339

BODY_LIMIT = 4 * SIZE_LIMIT
"""Bytes: a character has at most four."""
MAX_AGE_S = 60
MAX_AHEAD_S = 5
"""How far the web server's clock may be ahead of this one."""
NONCES_KEPT = 1000
"""More writes than these in a minute are refused: each is a version of a parameter."""
NONCE_LENGTHS = range(16, 129)


class WriteSignatures:
    """Verifies requests; each is valid once, for 60 s.

    Nonces are in memory. So a request that an earlier process may have accepted is refused: it was signed before
    `started`, or at most `MAX_AHEAD_S` later.
    """

    def __init__(self, key: str, wall: Callable[[], datetime], started: datetime) -> None:
        self._key = key.encode()
        self._wall = wall
        self._accepts_from = started.timestamp() + MAX_AHEAD_S
        self._nonces: dict[str, float] = {}

    def verify(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Raise HTTPForbidden for a request that is not signed, not recent, or not new."""
        names = ("X-Openmwaa-Timestamp", "X-Openmwaa-Nonce", "X-Openmwaa-Signature")
        timestamp, nonce, signature = (headers.get(name, "") for name in names)
        text = "\n".join((method, path, hashlib.sha256(body).hexdigest(), timestamp, nonce))
        expected = hmac.new(self._key, text.encode(errors="replace"), hashlib.sha256).hexdigest()
        # As bytes: a text with other characters than ASCII is an error of compare_digest.
        if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
            raise web.HTTPForbidden(text="the signature is not valid")
        if len(nonce) not in NONCE_LENGTHS or not (timestamp.isascii() and timestamp.isdigit()):
            raise web.HTTPForbidden(text="the signed time or nonce is not valid")
        now, at = self._wall().timestamp(), int(timestamp)
        if not -MAX_AHEAD_S <= now - at <= MAX_AGE_S:
            raise web.HTTPForbidden(text=f"the signature is not of the last {MAX_AGE_S} s")
        if at < self._accepts_from:
            raise web.HTTPServiceUnavailable(text="the scaler has just started; try again in some seconds")
        self._nonces = {old: signed for old, signed in self._nonces.items() if now - signed <= MAX_AGE_S}
        if nonce in self._nonces:
            raise web.HTTPForbidden(text="the request was sent before")
        if len(self._nonces) >= NONCES_KEPT:
            raise web.HTTPTooManyRequests(text=f"more than {NONCES_KEPT} writes in a minute")
        self._nonces[nonce] = at


class OverrideApi:
    """The handler of `/v1/overrides/FLEET`; `event` writes the log, `maxima` has the maximum of each fleet's file."""

    def __init__(
        self,
        store: WritableOverrides,
        key: str,
        wall: Callable[[], datetime],
        *,
        started: datetime,
        event: Callable[..., None],
        maxima: Callable[[], Mapping[str, int]],
    ) -> None:
        self._store = store
        self._signatures = WriteSignatures(key, wall, started)
        self._wall = wall
        self._event = event
        self._maxima = maxima
        self._lock = asyncio.Lock()

    async def handle(self, request: web.Request) -> web.Response:
        """Write the override; the log line and the parameter name the user that the web server has verified."""
        body = await request.read()
        self._signatures.verify(request.method, request.raw_path, body, request.headers)
        fleet, maxima = request.match_info["fleet"], self._maxima()
        if fleet not in maxima:
            raise web.HTTPNotFound(text=f"no fleet {fleet}; fleets: {', '.join(maxima)}")
        try:
            async with self._lock:
                base = await self._base(fleet) if request.method == "PATCH" else OverrideDocument()
                document = self._changed(base, parse(body.decode()), maxima[fleet])
                version = await self._store.write(fleet, document.to_text())
        except (UnicodeDecodeError, OverrideDocumentError, RejectedError) as error:
            raise web.HTTPBadRequest(text=f"the override is not valid: {error}") from error
        except SourceError as error:
            return web.json_response({"error": str(error)}, status=503)
        written = document.model_dump(mode="json", exclude_defaults=True)
        self._event("override_written", fleet=fleet, method=request.method, version=version, override=written)
        return web.json_response({"fleet": fleet, "version": version, "override": written})

    async def _base(self, fleet: str) -> OverrideDocument:
        stored = (await self._store.read([fleet]))[fleet]
        if isinstance(stored, SourceError):
            raise stored
        return OverrideDocument.of_core(in_force(stored, self._wall()))

    def _changed(self, base: OverrideDocument, changes: OverrideDocument, maximum: int) -> OverrideDocument:
        """Return `base` with the fields that are in `changes`; bounds end a fixed number, and the reverse."""
        fields = {name: getattr(changes, name) for name in changes.model_fields_set}
        if not fields.get("by"):
            raise OverrideDocumentError("by is missing")
        given = {name for name in ("min", "max", "fixed") if fields.get(name) is not None}
        replaced = {"min", "max", "fixed"} - given if "fixed" in given else {"fixed"} if given else ()
        values = {**base.model_dump(), **dict.fromkeys(replaced), "reason": "", **fields, "at": rfc3339(self._wall())}
        document = parse(json.dumps(values, ensure_ascii=False))
        if document.min is not None and document.max is None and document.min > maximum:
            raise OverrideDocumentError(f"min ({document.min}) is above the file's max ({maximum}); set max too")
        return document
