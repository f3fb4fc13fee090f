# SPDX-License-Identifier: Apache-2.0
"""Searches stack, plan and state for the value of every generated secret.

The values are read from Secrets Manager: the secrets of the stack, and the master secret that RDS makes. The state must
hold the ARN of each secret of the stack. Without its ARN a secret is not read, and the search would prove nothing.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from tools.verify.errors import StepError

_ARN: Final = re.compile(r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:([\w/+=.@!-]+)")
_MASTER_PREFIX: Final = "rds!"
# A shorter text may occur by chance.
_MIN_CHARACTERS: Final = 12
# Fields of a database's secret that are not secret.
_PUBLIC_FIELDS: Final = frozenset({"username", "host", "port", "dbname", "engine"})


def search(stack: Mapping[str, Any], texts: Mapping[str, str], state: str, client: Any) -> tuple[int, list[str]]:
    """Return the number of values that were searched for, and each find as SECRET in TEXT.

    Raises:
        StepError: the state does not hold the ARN of every secret of the stack, or a value is too short to search for.
    """
    secrets = (stack.get("resource") or {}).get("aws_secretsmanager_secret", {})
    names = [secret.get("name") or secret["name_prefix"] for secret in secrets.values()]
    arns = {match[1]: match[0] for match in _ARN.finditer(texts[state])}
    if missing := [name for name in names if not any(found.startswith(name) for found in arns)]:
        raise StepError(f"the state does not hold the ARNs of {', '.join(missing)}: the search would prove nothing")
    generated = {name: arn for name, arn in arns.items() if name.startswith((_MASTER_PREFIX, *names))}
    values = {(name, value) for name, arn in generated.items() for value in _values(_read(client, arn))}
    found = [f"{name} in {title}" for name, value in values for title, text in texts.items() if value in text]
    return len(values), sorted(found)


def _read(client: Any, arn: str) -> str:
    try:
        text: str = client.get_secret_value(SecretId=arn)["SecretString"]
    except ClientError as error:
        # ministack returns an ARN for the master secret of an RDS instance and does not make the secret.
        if _MASTER_PREFIX in arn and error.response["Error"]["Code"] == "ResourceNotFoundException":
            return ""
        raise
    return text


def _values(secret: str) -> Iterator[str]:
    """Yield the secret values: the whole text, or the secret fields of a JSON object."""
    if not secret:
        return
    try:
        fields = json.loads(secret)
    except ValueError:
        fields = None
    hidden = (
        [str(value) for name, value in fields.items() if name not in _PUBLIC_FIELDS]
        if isinstance(fields, dict)
        else [secret]
    )
    for value in hidden:
        if len(value) < _MIN_CHARACTERS:
            raise StepError(f"a secret value has {len(value)} characters; at least {_MIN_CHARACTERS} are expected")
        yield value
