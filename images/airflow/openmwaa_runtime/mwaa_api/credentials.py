# SPDX-License-Identifier: Apache-2.0
"""Short-lived keys of ours for SigV4, because the web server cannot know AWS's secret keys.

The session token is a token of the purpose `credentials`. The key id follows from the token's id, and the secret key
from the key id and the web servers' secret. So all web servers verify the same keys, and none stores a key.
"""

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

from openmwaa_runtime.auth.principal import Principal
from openmwaa_runtime.auth.tokens import Purpose, TokenIssuer

KEY_PREFIX = "OPENMWAA"
"""No key of AWS begins with it (IAM user guide, "IAM identifiers", unique prefixes)."""


def issue_credentials(tokens: TokenIssuer, principal: Principal) -> dict[str, Any]:
    """Return new keys in the format of `credential_process` (AWS SDKs and tools guide, "Process credentials")."""
    token, claims = tokens.issue(Purpose.CREDENTIALS, principal, None)
    key_id = access_key_id(claims.token_id)
    return {
        "Version": 1,
        "AccessKeyId": key_id,
        "SecretAccessKey": secret_key(tokens, key_id),
        "SessionToken": token,
        "Expiration": datetime.fromtimestamp(claims.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def access_key_id(token_id: str) -> str:
    """The key id that belongs to a session token."""
    return KEY_PREFIX + base64.b32encode(hashlib.sha256(token_id.encode()).digest()[:10]).decode()


def secret_key(tokens: TokenIssuer, key_id: str) -> str:
    """The secret key that belongs to a key id."""
    return tokens.derived_secret(f"sigv4 {key_id}")
