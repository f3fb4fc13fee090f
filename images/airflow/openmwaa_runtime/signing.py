# SPDX-License-Identifier: Apache-2.0
"""The public key of the scaler's commands. Workers get only this key, because DAG code runs beside them."""

import base64
import hashlib


def public_key(seed: str) -> str:
    """The scaler's Ed25519 public key, base64 of its 32 bytes; the private key is SHA-256 of the seed's UTF-8."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - 20 MiB, used once

    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
    return base64.b64encode(private.public_key().public_bytes_raw()).decode()
