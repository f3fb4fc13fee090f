# SPDX-License-Identifier: Apache-2.0
"""The two pages of the login: instructions, and the page that takes the token from the fragment of its URL."""

import base64
import hashlib
import html
from typing import Final

from openmwaa_runtime.auth.http_message import HttpAnswer

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}"
    "body{color:#222;background:#fff}"
    "pre{background:#f2f2f2;padding:.75rem 1rem;overflow:auto}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}pre{background:#2b2b2b}}"
)
# A fragment is not sent to the server, so the token is in no access log; the address bar loses it at once.
_SCRIPT: Final = """
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const form = document.getElementById("login");
form.elements.token.value = token;
if (token && form.dataset.confirm) { form.hidden = false; }
else if (token) { form.submit(); }
else { document.getElementById("missing").hidden = false; }
"""


def sign_in(login_path: str, *, confirm: bool) -> HttpAnswer:
    """The page of `aws-console-sso`: it posts the token of the fragment to `login_path`, at once or after a click."""
    mode = " data-confirm=1" if confirm else ""
    body = (
        f'<form id="login" method="post" action="{html.escape(login_path)}"{mode} hidden>'
        '<input type="hidden" name="token"><p>Another page has opened this one. Sign in only if you expected it.</p>'
        "<button>Sign in</button></form>"
        '<p id="missing" hidden>This address contains no token. Run <code>openmwaa login</code> again.</p>'
        f"<noscript><p>The login needs JavaScript.</p></noscript><script>{_SCRIPT}</script>"
    )
    return _page(200, "Signing in", body)


def instructions(environment: str, message: str = "", *, status: int = 200) -> HttpAnswer:
    """The page of `GET login`, with the reason of a refusal."""
    reason = f"<p><strong>{html.escape(message)}</strong></p>" if message else ""
    body = (
        f"{reason}<p>The login to {html.escape(environment)} is your AWS identity. Run this with your AWS profile:</p>"
        "<pre>openmwaa login --env environment.yaml</pre>"
        "<p>Clients of Amazon MWAA work too: their <code>CreateWebLoginToken</code> gives the same token.</p>"
    )
    return _page(status, "Sign in with AWS IAM", body)


def _page(status: int, title: str, body: str) -> HttpAnswer:
    document = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>{title}</h1>{body}</body></html>"
    )
    policy = (
        f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)};"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return HttpAnswer(status, document.encode(), "text/html; charset=utf-8", headers)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
