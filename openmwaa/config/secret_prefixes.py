# SPDX-License-Identifier: Apache-2.0
"""The prefixes of connections and variables in Secrets Manager and in the Parameter Store: MWAA's, or the file's."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

Kind = Literal["connections", "variables"]
MWAA_PREFIXES: Final[Mapping[Kind, str]] = {"connections": "airflow/connections", "variables": "airflow/variables"}
KWARGS: Final = ("workers.secrets_backend_kwargs", "secrets.backend_kwargs")
_PREFIX: Final = re.compile(r"/?(?!openmwaa)[A-Za-z0-9_.@-][A-Za-z0-9/_.@-]{0,62}/?")
"""The task role may read what begins with it: no wildcard, and not the secrets of an environment itself."""


def secret_prefixes(options: Mapping[str, str]) -> dict[Kind, str]:
    """Return the prefixes without slashes at the ends; without those that the options switch off."""
    own = "secrets.backend" in options and "workers.secrets_backend" not in options
    arguments = _arguments(options.get(KWARGS[own], "{}")) or {}
    found = {kind: arguments.get(f"{kind}_prefix", prefix) for kind, prefix in MWAA_PREFIXES.items()}
    return {kind: prefix.strip("/") for kind, prefix in found.items() if prefix}


def is_accepted(value: str) -> bool:
    """Return whether the arguments of a secrets backend are a JSON object with prefixes that a role can name."""
    arguments = _arguments(value)
    if arguments is None:
        return False
    prefixes = [arguments.get(f"{kind}_prefix") for kind in MWAA_PREFIXES]
    return all(not prefix or (isinstance(prefix, str) and _PREFIX.fullmatch(prefix)) for prefix in prefixes)


def _arguments(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
