# SPDX-License-Identifier: Apache-2.0
"""The lines of a log: readable text, without secrets, and none longer than its destination allows."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

MASK: Final = "***"
SHORTEST_SECRET: Final = 8
"""Shorter values also appear in ordinary text."""


@dataclass(frozen=True)
class Line:
    """A line of a log, with its time, its number in the process and its size in UTF-8."""

    time_ms: int
    number: int
    text: str
    size: int


def readable(data: bytes) -> str:
    """Decode a line. Bytes that are not UTF-8 become escapes; an empty line, which CloudWatch refuses, is a blank."""
    return data.rstrip(b"\r\n").decode("utf-8", "backslashreplace") or " "


def masker(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return a function that replaces `secrets` in a line, also as parts of URLs and of JSON."""
    forms = {
        form
        for secret in secrets
        if len(secret) >= SHORTEST_SECRET
        for form in (
            secret,
            quote(secret, safe=""),
            json.dumps(secret)[1:-1],
            json.dumps(json.dumps(secret)[1:-1])[1:-1],
        )
    }
    if not forms:
        return lambda text: text
    pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    return lambda text: pattern.sub(MASK, text)


def split(text: str, limit: int) -> Iterator[str]:
    """Yield `text` in parts of at most `limit` bytes. The parts of a JSON line are JSON lines of the same level."""
    if len(text) <= limit // 4 or _size(text) <= limit:
        yield text
        return
    event = _structured(text)
    if event is None:
        yield from _cut(text, limit, lambda part, _first: part)
        return
    same: dict[str, Any] = {key: event[key] for key in ("timestamp", "level", "logger") if key in event}
    if _size(_dumps(same)) > limit // 2:  # no room for the text
        same = {}
    others = {key: value for key, value in event.items() if key != "event"}
    if isinstance(event.get("event"), str) and _size(_dumps(others)) <= limit // 4:
        yield from _cut(
            event["event"], limit, lambda part, first: _dumps({**(others if first else same), "event": part})
        )
    else:  # the long value is in another field, such as a traceback: the line itself is then the text
        yield from _cut(text, limit, lambda part, _first: _dumps({**same, "event": part}))


def notice(now: float, text: str) -> bytes:
    """Return a line of openmwaa itself, in Airflow's form."""
    at = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"timestamp": at, "level": "error", "event": text, "logger": "openmwaa"}).encode()


def _cut(text: str, limit: int, render: Callable[[str, bool], str]) -> Iterator[str]:
    start = 0
    while start < len(text):
        taken = min(limit, len(text) - start)
        while _size(part := render(text[start : start + taken], start == 0)) > limit and taken > 1:
            taken = taken // 2
        yield part
        start += taken


def _dumps(event: dict[str, Any]) -> str:
    # Half of a UTF-16 pair has no UTF-8. As an escape it stays valid JSON.
    return json.dumps(event, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))


def _structured(text: str) -> dict[str, Any] | None:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
