# SPDX-License-Identifier: Apache-2.0
"""An HTTP request and its answer, without a web framework: Airflow 3 has FastAPI, and Airflow 2 has Flask."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class HttpRequest:
    """A request as it arrived: nothing decoded, nothing merged."""

    method: str
    raw_path: str
    """The path in the request line, still percent-encoded."""
    raw_query: str
    """The query after `?`, still percent-encoded."""
    headers: Sequence[tuple[str, str]]
    """Names in lower case; a repeated header is there repeatedly."""
    body: bytes
    peer: str
    """The address at the other end of the connection: a load balancer's, except in tests."""

    def header(self, name: str) -> str | None:
        """The value of a header that occurs once; None if it does not occur or occurs repeatedly."""
        values = self.header_values(name)
        return values[0] if len(values) == 1 else None

    def header_values(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key == name.lower()]


@dataclass(frozen=True)
class HttpAnswer:
    """An answer; `cookies` are complete values of `Set-Cookie`."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Sequence[str] = ()

    @classmethod
    def of_json(cls, status: int, content: Any, **headers: str) -> "HttpAnswer":
        """An answer with a JSON body, which no cache keeps."""
        return cls(status, json.dumps(content).encode(), headers={"Cache-Control": "no-store", **headers})
