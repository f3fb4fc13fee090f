# SPDX-License-Identifier: Apache-2.0
"""The page at `/`: one file, and a Content-Security-Policy that allows only the scripts and styles in it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Page:
    """The document and its policy."""

    body: bytes
    policy: str


def load() -> Page:
    """Read the page from the package, and build its policy from the hashes of its blocks."""
    text = files("scaler.reporting").joinpath("index.html").read_text(encoding="utf-8")
    policy = {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "script-src": _hashes(text, "script"),
        "style-src": _hashes(text, "style"),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return Page(text.encode(), "; ".join(f"{name} {value}" for name, value in policy.items()))


def _hashes(text: str, element: str) -> str:
    blocks: list[str] = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
    digests = (hashlib.sha256(block.encode()).digest() for block in blocks)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
