# SPDX-License-Identifier: Apache-2.0
"""Names of AWS resources: an environment's name made to fit what each service accepts.

An environment's name may have 80 characters, capitals and underscores, as in MWAA; a load balancer's has 32 and none of
these. A name that has to be changed ends in six hexadecimal digits of the whole one's SHA-256, so that two environments
whose names differ only in what a service drops never share a resource.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

PREFIX: Final = "openmwaa"
_DIGITS: Final = 6


def fitted(text: str, *, limit: int) -> str:
    """Return `text`, shortened to `limit` characters with a digest at its end when it is longer."""
    return text if len(text) <= limit else _with_digest(text, text, limit)


def host_name(text: str, *, limit: int) -> str:
    """Return `text` in lower-case letters, digits and single hyphens, as S3, RDS and load balancers want it."""
    plain = re.sub(r"-+", "-", re.sub(r"[^a-z0-9]", "-", text.lower())).strip("-")
    return plain if plain == text and len(text) <= limit else _with_digest(plain, text, limit)


def literal(text: str) -> str:
    """Return the user's `text` so that Terraform takes `${` and `%{` in it as they stand, not as its own templates."""
    return text.replace("${", "$${").replace("%{", "%%{")


def _with_digest(text: str, whole: str, limit: int) -> str:
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_DIGITS]
    return f"{text[: limit - _DIGITS - 1].rstrip('-')}-{digest}"
