# SPDX-License-Identifier: Apache-2.0
"""The page at `/`: one document with its style and script, and a Content-Security-Policy that allows only these two."""

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Page:
    """The document and its policy."""

    body: bytes
    policy: str


def load() -> Page:
    """Read the page from the package, and build its policy from the hashes of style and script."""
    document, style, script = (_read(name) for name in ("index.html", "page.css", "page.js"))
    document = document.replace("<style></style>", f"<style>{style}</style>")
    document = document.replace("<script></script>", f"<script>{script}</script>")
    policy = {
        "default-src": "'none'",
        "connect-src": "'self'",
        "img-src": "data:",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return Page(document.encode(), "; ".join(f"{name} {value}" for name, value in policy.items()))


def _read(name: str) -> str:
    return files("scaler.reporting").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
