# SPDX-License-Identifier: Apache-2.0
"""No secret's value is in what Terraform reads or writes: stack, plan and state are searched for every one of them.

The values are those of the secrets that the stack has made, out of Secrets Manager, and of the master's, which RDS has
made. Each must be a secret whose ARN the state holds: a search that does not find those finds nothing at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from tools.verify.errors import StepError

_ARN: Final = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:([\w/+=.@!-]+)")
_MASTER: Final = "rds!"
# A text of fewer characters may be anywhere by chance, and is none that anybody generates.
_SHORTEST: Final = 12
# What a database's secret says besides its password.
_NO_SECRET: Final = frozenset({"username", "host", "port", "dbname", "engine"})


def search(stack: Mapping[str, Any], texts: Mapping[str, str], state: str, client: Any) -> tuple[int, list[str]]:
    """Return how many values were looked for, and where one was found, as SECRET in PLACE.

    Raises:
        StepError: the state does not hold the ARN of every secret of the stack, so the search would prove nothing.
    """
    made = (stack.get("resource") or {}).get("aws_secretsmanager_secret", {})
    names = [one.get("name") or one["name_prefix"] for one in made.values()]
    arns = {match[1]: match[0] for match in _ARN.finditer(texts[state])}
    unseen = [name for name in names if not any(found.startswith(name) for found in arns)]
    if unseen:
        raise StepError(f"the state does not hold the ARNs of {', '.join(unseen)}: its search would find nothing")
    ours = {name: arn for name, arn in arns.items() if name.startswith((_MASTER, *names))}
    values = {(name, value) for name, arn in ours.items() for value in _values(_read(client, arn))}
    found = [f"{name} in {place}" for name, value in values for place, text in texts.items() if value in text]
    return len(values), sorted(found)


def _read(client: Any, arn: str) -> str:
    try:
        text: str = client.get_secret_value(SecretId=arn)["SecretString"]
    except ClientError as error:
        # ministack names a secret for the master of an RDS instance and makes none; what is not cannot be seen.
        if _MASTER in arn and error.response["Error"]["Code"] == "ResourceNotFoundException":
            return ""
        raise
    return text


def _values(secret: str) -> Iterator[str]:
    """Return the parts of a secret that must not be seen: all of it, or what a JSON object holds."""
    if not secret:
        return
    try:
        parts = json.loads(secret)
    except ValueError:
        parts = None
    hidden = [str(v) for k, v in parts.items() if k not in _NO_SECRET] if isinstance(parts, dict) else [secret]
    for value in hidden:
        if len(value) < _SHORTEST:
            raise StepError(f"a secret has a value of {len(value)} characters: it is too short to be one")
        yield value
