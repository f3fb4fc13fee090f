# SPDX-License-Identifier: Apache-2.0
"""The environment of programs that talk to the emulators: no certificates and no proxy on the way.

Nor this process's Python packages: the emulator has its own, and a PYTHONPATH would put ours before them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_HARMFUL = {
    "AWS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "ALL_PROXY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PYTHONPATH",
}
# The user's own account must not be reachable by mistake: everything of AWS is ours or absent.
_OWN = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.0/8,localhost",
    "no_proxy": "127.0.0.0/8,localhost",
}


def child_environment(
    more: Mapping[str, str] | None = None, *, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """This process's environment (or `base`) without what would lead a child away from the emulators, plus `more`."""
    source = os.environ if base is None else base
    kept = {name: value for name, value in source.items() if not _leads_away(name)}
    return {**kept, **_OWN, **(more or {})}


def _leads_away(name: str) -> bool:
    return name.upper() in _HARMFUL or name.startswith("AWS_")
